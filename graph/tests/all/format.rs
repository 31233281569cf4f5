//! A graph's bytes: what was written, what was changed, and what never was a graph.

use super::*;
use proptest::prelude::*;
use sochdb_graph::{Blob, Error, FOOTER_BYTES, GONE, MAGIC, VERSION};
use std::sync::OnceLock;

const COUNT: usize = 300;

/// Random vectors and their graphs.
fn sound() -> &'static (Vectors, [Bytes; 2]) {
    static SOUND: OnceLock<(Vectors, [Bytes; 2])> = OnceLock::new();
    SOUND.get_or_init(|| {
        let vectors = Vectors::random(COUNT, 6, 1);
        let graphs = quick().map(|options| built(&vectors, &options, &[]));
        (vectors, graphs)
    })
}

/// Opens and searches `bytes` in both ways, whatever they are, and takes them over.
fn try_all(bytes: &Bytes, kind: usize) -> Result<(), Error> {
    let (vectors, _) = sound();
    let options = quick()[kind];
    let numbers: Vec<u32> = (0..COUNT as u32).collect();
    let part = Part { graph: &bytes, numbers: &numbers };
    let merged = build(&mut &*vectors, &options, &[part]).expect("a bad part is left out");
    assert_eq!(merged.len(), COUNT as u32);
    let mut failed = Ok(());
    for memory in [Memory::Whole, Memory::Bytes(1024)] {
        let opened = Searcher::open(bytes, options.kind(), COUNT as u32, memory);
        let found = opened.and_then(|mut searcher| {
            let query = vectors.row(7);
            let all = searcher.search(&mut vectors.query(query), 5, 10, &[])?;
            let some = searcher.search(&mut vectors.query(query), 3, 3, &[!0; 5])?;
            Ok((all, some))
        });
        match found {
            Ok((all, some)) => {
                assert!(all.iter().chain(&some).all(|&number| number < COUNT as u32));
            }
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
                failed = Err(error);
            }
        }
    }
    failed
}

#[test]
fn a_footer_has_the_bytes_that_its_table_says() {
    let (_, [hnsw, vamana]) = sound();
    for (bytes, kind, slots) in [(hnsw, 1, 16), (vamana, 2, 24)] {
        let footer = &bytes.0[bytes.0.len() - FOOTER_BYTES..];
        let word = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("4 bytes"));
        assert_eq!(&footer[..8], MAGIC);
        assert_eq!((word(8), word(12), word(16), word(20)), (VERSION, kind, COUNT as u32, slots));
        let upper = u64::from_le_bytes(footer[40..48].try_into().expect("8 bytes")) as usize;
        assert_eq!(bytes.0.len(), COUNT * slots as usize * 4 + upper + FOOTER_BYTES);
        assert_eq!(upper == 0, kind == 2, "only HNSW has upper layers");
    }
}

#[test]
fn the_smallest_graphs_have_these_bytes() {
    let vectors = Vectors { dim: 2, values: vec![1.0, 0.0, 0.0, 1.0] };
    let options = Options::Vamana(Vamana { r: 2, l: 4, alpha: 1.2, seed: 0 });
    let bytes = built(&vectors, &options, &[]);
    let hex: String = bytes.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "01000000ffffffff00000000ffffffff534f434847525048010000000200000002000000020000000000000000000000\
         000000008e697bd30000000000000000000000000200000000000000bd2dfc75"
    );
}

#[test]
fn a_graph_of_another_kind_or_size_is_refused() {
    let (_, [hnsw, vamana]) = sound();
    let options = quick();
    let refused = |bytes: &Bytes, kind: usize, count: u32| {
        let opened = Searcher::open(bytes, options[kind].kind(), count, Memory::Whole);
        assert!(matches!(opened, Err(Error::Corrupt { .. })));
    };
    refused(hnsw, 1, COUNT as u32);
    refused(vamana, 0, COUNT as u32);
    refused(hnsw, 0, COUNT as u32 - 1);
    refused(vamana, 1, COUNT as u32 + 1);
}

/// A blob that cannot be read.
struct Gone;

impl Blob for Gone {
    fn len(&self) -> u64 {
        1000
    }

    fn read(&self, _: u64, _: u32) -> Result<Vec<u8>, Error> {
        Err(Error::failed("not mounted"))
    }
}

#[test]
fn a_part_that_cannot_be_had_fails_the_merge() {
    let (vectors, _) = sound();
    let part = Part { graph: &Gone, numbers: &[GONE, 1] };
    let failed = build(&mut &*vectors, &quick()[0], &[part]);
    assert_eq!(failed.expect_err("the disk says no").to_string(), "not mounted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_changed_byte_is_noticed_or_does_no_harm(
        kind in 0..2_usize, at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = sound().1[kind].clone();
        let at = at.index(bytes.0.len());
        bytes.0[at] ^= flip;
        // Whoever reads all of it notices every change.
        prop_assert!(try_all(&bytes, kind).is_err(), "byte {at}");
    }

    #[test]
    fn any_cut_is_noticed(kind in 0..2_usize, len in any::<prop::sample::Index>()) {
        let mut bytes = sound().1[kind].clone();
        bytes.0.truncate(len.index(bytes.0.len()));
        prop_assert!(try_all(&bytes, kind).is_err());
    }

    #[test]
    fn arbitrary_bytes_behind_a_sound_checksum_never_panic(
        kind in 0..2_usize, at in 8..60_usize, value in any::<u32>(), links in any::<[u32; 8]>(),
    ) {
        let mut bytes = sound().1[kind].clone();
        for (index, link) in links.iter().enumerate() {
            bytes.0[index * 40..][..4].copy_from_slice(&(link % 512).to_le_bytes());
        }
        let from = bytes.0.len() - FOOTER_BYTES;
        let footer = &mut bytes.0[from..];
        let at = at.min(56);
        footer[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let crc = crc32c::crc32c(&footer[..60]);
        footer[60..].copy_from_slice(&crc.to_le_bytes());
        let _ = try_all(&bytes, kind);
    }

    #[test]
    fn bytes_that_never_were_a_graph_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(try_all(&Bytes(bytes), 0).is_err());
    }
}
