//! The benchmarks.
//!
//! | room        | whose functions                                                    |
//! |-------------|--------------------------------------------------------------------|
//! | `kernel`    | transactions, checkpoints, recovery, on a disk in memory           |
//! | `bytes`     | checksums, varints, frames of the log, rows and keys               |
//! | `columns`   | `lscs`: segments, and every encoding of a column                   |
//! | `codecs`    | `lz4` and `zstd`                                                   |
//! | `indexes`   | distances, graphs, the ordered index                               |
//! | `around`    | what is counted and timed; claims                                  |
//! | `data`      | rows, keys and texts that follow from their number                 |
//!
//! A name is `room.what`. It is what the file of counts knows a benchmark by: a new meaning is a new name.

mod around;
mod bytes;
mod codecs;
mod columns;
mod data;
mod indexes;
mod kernel;

/// What is measured, ready to go. It is called once, or often by the clock where that is the same each time.
pub type Run = Box<dyn FnMut()>;

/// One benchmark.
pub struct Micro {
    /// `room.what`.
    pub name: &'static str,
    /// How many of what the name says one run does.
    pub operations: u64,
    /// Makes what is needed; none of that is measured.
    pub prepare: fn() -> Run,
}

impl Micro {
    const fn new(name: &'static str, operations: u64, prepare: fn() -> Run) -> Micro {
        Micro { name, operations, prepare }
    }
}

/// All of them, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Micro> {
    let rooms = [
        kernel::MICROS,
        bytes::MICROS,
        columns::MICROS,
        codecs::MICROS,
        indexes::MICROS,
        around::MICROS,
    ];
    rooms.into_iter().flatten()
}

/// The one called `name`.
pub fn find(name: &str) -> Option<&'static Micro> {
    all().find(|micro| micro.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_say_their_room_and_are_used_once() {
        let names: Vec<&str> = all().map(|micro| micro.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        for name in names {
            assert!(name.contains('.') && !name.contains(char::is_whitespace), "{name}");
        }
    }

    #[test]
    fn every_benchmark_finds_what_it_expects() {
        for micro in all() {
            println!("{}", micro.name);
            assert!(0 < micro.operations);
            crate::measured(&mut *(micro.prepare)());
        }
    }
}
