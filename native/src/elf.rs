//! Whether an ELF library is as long as it says.
//!
//! A dynamic linker maps the parts of a library that its program headers name, without comparing them with
//! the file's length; the first look at a part that is not there ends the process. A library that was cut
//! off on its way here is the likeliest broken one, so that is asked before.
//!
//! | field of the ELF header | 64 bits | 32 bits | | field of a program header | 64 bits | 32 bits |
//! |-------------------------|--------:|--------:|-|---------------------------|--------:|--------:|
//! | `e_phoff`               |      32 |      28 | | `p_type`, u32             |       0 |       0 |
//! | `e_phentsize`, u16      |      54 |      42 | | `p_offset`                |       8 |       4 |
//! | `e_phnum`, u16          |      56 |      44 | | `p_filesz`                |      32 |      16 |
//!
//! Source: the System V ABI, chapters 4 and 5. Fields without a type are as wide as a pointer.

const MAGIC: &[u8] = b"\x7fELF";
const PT_LOAD: u32 = 1;
const WORD: usize = size_of::<usize>();
/// The table above without `p_type`, for this machine.
const AT: [usize; 5] = if WORD == 8 { [32, 54, 56, 8, 32] } else { [28, 42, 44, 4, 16] };

/// Whether `bytes` have all that their headers say is to be loaded. What is no ELF file is left to the
/// dynamic linker.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    !bytes.starts_with(MAGIC) || parts_are_there(bytes) == Some(true)
}

/// `None` when a header itself is not there.
fn parts_are_there(bytes: &[u8]) -> Option<bool> {
    let word = |at: usize| -> Option<usize> {
        Some(usize::from_ne_bytes(*bytes.get(at..)?.first_chunk::<WORD>()?))
    };
    let half = |at: usize| -> Option<usize> {
        Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?).into())
    };
    let [phoff, phentsize, phnum, offset, filesz] = AT;
    let (first, size, count) = (word(phoff)?, half(phentsize)?, half(phnum)?);
    for index in 0..count {
        let header = first.checked_add(index * size)?;
        let kind = u32::from_ne_bytes(*bytes.get(header..)?.first_chunk()?);
        let end = word(header + offset)?.checked_add(word(header + filesz)?)?;
        if kind == PT_LOAD && bytes.len() < end {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_program_is_whole_and_half_of_its_headers_are_not() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_whole(&bytes));
        for len in [4, 20, 60, 64, 100, 4096] {
            assert!(!is_whole(&bytes[..len]), "{len} bytes");
        }
    }

    #[test]
    fn headers_that_lie_are_no_panic() {
        assert!(is_whole(b"text"));
        let mut bytes = [0xff; 128];
        bytes[..4].copy_from_slice(MAGIC);
        assert!(!is_whole(&bytes));
    }
}
