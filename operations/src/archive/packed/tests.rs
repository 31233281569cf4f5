//! Compressed log files: their bytes, and what becomes of damaged ones.

use super::*;
use proptest::prelude::*;
use sochdb_kernel::plugin::{Extension, ExtensionCapability, ExtensionInfo};
use sochdb_sim::MemoryVfs;

const NAME: &str = "archive/0000000000000040.wal.z";

/// Stores runs of one byte as their length and the byte; what it answers when it restores, `lie` may change.
struct Runs {
    name: &'static str,
    lie: fn(Vec<u8>) -> Vec<u8>,
}

impl Extension for Runs {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: self.name.to_owned(),
            version: "1".to_owned(),
            description: "for tests".to_owned(),
            author: "nobody".to_owned(),
            capabilities: vec![ExtensionCapability::Compression],
        }
    }
}

impl CompressionExtension for Runs {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        let runs = input.chunk_by(|a, b| a == b);
        Ok(runs
            .flat_map(|run| [&(run.len() as u32).to_le_bytes()[..], &run[..1]].concat())
            .collect())
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        let mut raw = Vec::new();
        for run in input.chunks(5) {
            let [a, b, c, d, byte] = *run else { return Err(KernelError::invalid("half a run")) };
            let end = raw.len().saturating_add(u32::from_le_bytes([a, b, c, d]) as usize);
            if raw_bytes < end {
                return Err(KernelError::invalid("more than was asked for"));
            }
            raw.resize(end, byte);
        }
        Ok((self.lie)(raw))
    }
}

fn runs() -> Runs {
    Runs { name: "runs", lie: |raw| raw }
}

fn codecs(codec: Runs) -> PluginManager {
    let codecs = PluginManager::default();
    codecs.register_compression(Arc::new(codec));
    codecs
}

fn disk(bytes: &[u8]) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    vfs.open(NAME, OpenMode::Create).unwrap().write_at(0, bytes).unwrap();
    vfs
}

fn restored(file: &[u8], codecs: &PluginManager) -> KernelResult<Vec<u8>> {
    let packed = Packed::open(&disk(file), NAME)?;
    packed.check(codecs, false)?;
    packed.read(codecs, 0..packed.raw_bytes())
}

/// Three blocks: one that shrinks, one that does not, and a short one.
fn raw() -> Vec<u8> {
    let size = BLOCK_BYTES as usize;
    let noise = |at: usize| (at as u32).wrapping_mul(2_654_435_761).rotate_left(9) as u8 | 1;
    let mut raw = vec![0; size];
    raw.extend((0..size).map(|at| noise(at) ^ (at as u8 & 1) << 1));
    raw.extend([7; 100]);
    raw
}

#[test]
fn the_bytes_of_a_compressed_log_file_are_these() {
    let file = pack(&runs(), &[[5; 9].as_slice(), &[0; 300]].concat()).unwrap();
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    let pieces = [
        "534f43484c4f475a", // The magic,
        "01000000",         // the version,
        "00000400",         // blocks of 256 KiB,
        "3501000000000000", // 309 bytes in all,
        "0472756e73",       // by the codec "runs".
        "0a000000",         // One block, stored in 10 bytes,
        "60965bd0",         // their checksum,
        "4b635dd0",         // and that of the 309.
        "ab79f82d",         // The checksum of all this.
        "0900000005",       // Nine times 5,
        "2c01000000",       // 300 times 0.
    ];
    assert_eq!(hex, pieces.concat());
    assert_eq!(restored(&file, &codecs(runs())).unwrap()[..10], [5, 5, 5, 5, 5, 5, 5, 5, 5, 0]);
}

#[test]
fn any_range_is_read_of_the_blocks_that_hold_it() {
    let (raw, codecs) = (raw(), codecs(runs()));
    let file = pack(&runs(), &raw).unwrap();
    assert!(file.len() < raw.len() - (200 << 10), "{} of {} bytes", file.len(), raw.len());
    let packed = Packed::open(&disk(&file), NAME).unwrap();
    assert_eq!(packed.raw_bytes(), raw.len() as u64);
    let (size, end) = (u64::from(BLOCK_BYTES), raw.len() as u64);
    for range in [
        0..end,
        0..0,
        end..end,
        5..6,
        size - 1..size + 1,
        size..2 * size,
        2 * size..end,
        9..end - 9,
    ] {
        let found = packed.read(&codecs, range.clone()).unwrap();
        assert!(found == raw[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[test]
fn a_missing_codec_is_named_with_the_file_that_needs_it() {
    let file = pack(&runs(), &raw()).unwrap();
    let error = restored(&file, &PluginManager::default()).unwrap_err();
    let KernelError::Plugin { plugin, fault, message } = error else { panic!("{error}") };
    assert_eq!((plugin.as_str(), fault), ("runs", PluginFault::Missing));
    assert!(message.contains(NAME), "{message}");
    // What is stored as it is, and the checksums, need none.
    let packed = Packed::open(&disk(&file), NAME).unwrap();
    packed.check(&PluginManager::default(), false).unwrap();
    let size = u64::from(BLOCK_BYTES);
    packed.read(&PluginManager::default(), size..2 * size).unwrap();
}

#[test]
fn a_codec_that_gives_something_else_is_found_out() {
    let file = pack(&runs(), &raw()).unwrap();
    let bomb = |_| vec![0; 64 << 20];
    let short = |mut raw: Vec<u8>| {
        raw.pop();
        raw
    };
    let other = |mut raw: Vec<u8>| {
        raw[9] ^= 1;
        raw
    };
    for lie in [bomb, short, other] {
        let error = restored(&file, &codecs(Runs { name: "runs", lie })).unwrap_err();
        assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Lied, .. }), "{error}");
    }
}

#[test]
fn forged_lengths_are_refused_before_memory_is_taken() {
    let file = pack(&runs(), &raw()).unwrap();
    let forged = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        // With a checksum that holds, where there is one.
        let end = 25 + 4 + 3 * 12;
        let sum = crc(&file[..end]);
        file[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        restored(&file, &codecs(runs())).unwrap_err().kind()
    };
    let corrupt = sochdb_kernel::ErrorKind::Corrupt;
    for block_bytes in [0, 1, (64 << 10) - 1, (1 << 20) + 1, u32::MAX] {
        assert_eq!(forged(12, &block_bytes.to_le_bytes()), corrupt);
    }
    for raw_bytes in [0, 1, RAW_BYTES_MAX, RAW_BYTES_MAX + 1, u64::MAX] {
        assert_eq!(forged(16, &raw_bytes.to_le_bytes()), corrupt);
    }
    for name_bytes in [0, 65, 255] {
        assert_eq!(forged(24, &[name_bytes]), corrupt);
    }
    for stored_bytes in [0, BLOCK_BYTES + 1, u32::MAX] {
        assert_eq!(forged(29, &stored_bytes.to_le_bytes()), corrupt);
    }
    assert_eq!(forged(8, &2_u32.to_le_bytes()), corrupt);
    assert_eq!(forged(25, &[0xff]), corrupt);
}

#[test]
fn a_bomb_of_right_checksums_meets_the_size_of_its_block() {
    // A block of 256 KiB in five bytes; what they stand for is four gibibytes.
    let mut file = pack(&runs(), &vec![0; BLOCK_BYTES as usize]).unwrap();
    let at = file.len() - 5;
    file[at..].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0]);
    let sums = [crc(&file[at..]), 0];
    file[33..37].copy_from_slice(&sums[0].to_le_bytes());
    let sum = crc(&file[..at - 4]);
    file[at - 4..at].copy_from_slice(&sum.to_le_bytes());
    let error = restored(&file, &codecs(runs())).unwrap_err();
    assert!(error.to_string().contains("more than was asked for"), "{error}");
}

#[test]
fn what_cannot_be_restored_is_zero_and_the_rest_is_saved() {
    let (raw, size) = (raw(), BLOCK_BYTES as usize);
    let mut file = pack(&runs(), &raw).unwrap();
    let at = file.len() - 5 - size / 2;
    file[at] ^= 1;
    let packed = Packed::open(&disk(&file), NAME).unwrap();
    let (saved, lost) = packed.salvage(&codecs(runs()));
    assert_eq!(lost.unwrap().kind(), sochdb_kernel::ErrorKind::Corrupt);
    assert!(saved[..size] == raw[..size] && saved[2 * size..] == raw[2 * size..]);
    assert!(saved[size..2 * size].iter().all(|&byte| byte == 0));
    let (saved, lost) = packed.salvage(&PluginManager::default());
    assert!(saved.len() == raw.len() && lost.is_some());
}

#[test]
fn nothing_and_too_much_are_not_packed() {
    assert_eq!(pack(&runs(), &[]).unwrap_err().kind(), sochdb_kernel::ErrorKind::Invalid);
}

/// A file of some hundred bytes, and what it holds.
fn small() -> (Vec<u8>, Vec<u8>) {
    let raw: Vec<u8> = (0..40_u8).flat_map(|n| vec![n; usize::from(n) * 3]).collect();
    (pack(&runs(), &raw).unwrap(), raw)
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let (file, _) = small();
    for len in 0..file.len() {
        restored(&file[..len], &codecs(runs())).unwrap_err();
    }
    restored(&[&file[..], b"x"].concat(), &codecs(runs())).unwrap_err();
}

proptest! {
    #[test]
    fn what_was_packed_comes_back(
        pieces in proptest::collection::vec((0..4_u8, 1..200_000_usize), 1..8),
    ) {
        let raw: Vec<u8> = pieces.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect();
        let file = pack(&runs(), &raw).unwrap();
        prop_assert!(restored(&file, &codecs(runs())).unwrap() == raw);
    }

    #[test]
    fn any_flipped_bit_is_noticed(at: proptest::sample::Index, flip in 1..=255_u8) {
        let (mut file, _) = small();
        let at = at.index(file.len());
        file[at] ^= flip;
        prop_assert!(restored(&file, &codecs(runs())).is_err());
    }

    /// As a fuzzer would: bytes under checksums that hold.
    #[test]
    fn forged_files_never_panic_nor_grow(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut file, _) = small();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let end = 25 + 4 + 12;
        let sum = crc(&file[..end]);
        file[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        if let Ok(raw) = restored(&file, &codecs(runs())) {
            prop_assert!(raw.len() <= 1 << 20);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, begins: bool) {
        let magic: &[u8] = if begins { b"SOCHLOGZ\x01\0\0\0\0\0\x04\0" } else { &[] };
        prop_assert!(restored(&[magic, &bytes].concat(), &codecs(runs())).is_err());
    }
}

/// Answers nothing, whatever it is given.
struct Silent(&'static str);

impl Extension for Silent {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo { name: self.0.to_owned(), ..runs().info() }
    }
}

impl CompressionExtension for Silent {
    fn compress(&self, _input: &[u8]) -> KernelResult<Vec<u8>> {
        Ok(Vec::new())
    }

    fn decompress(&self, _input: &[u8], _raw_bytes: usize) -> KernelResult<Vec<u8>> {
        Ok(Vec::new())
    }
}

#[test]
fn a_codec_that_answers_nothing_has_its_blocks_stored_as_they_are() {
    let raw = vec![7; 300_000];
    let vfs = disk(&pack(&Silent("silent"), &raw).unwrap());
    let packed = Packed::open(&vfs, NAME).unwrap();
    assert_eq!(packed.read(&PluginManager::default(), 0..300_000).unwrap(), raw);
}

#[test]
fn a_codec_whose_name_no_file_can_say_is_refused() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for name in ["", long.leak()] {
        let error = pack(&Silent(name), b"raw").unwrap_err();
        assert_eq!(error.kind(), sochdb_kernel::ErrorKind::Invalid, "{error}");
    }
}
