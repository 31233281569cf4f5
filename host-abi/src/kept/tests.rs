//! Kept plugins against replacement, removal, rot, reopening and backups.

use super::*;
use expect_test::expect;
use proptest::prelude::*;
use sochdb_kernel::{Environment, ErrorKind, Options};

fn open(world: &Environment) -> Kernel {
    Kernel::open(world.clone(), Options::default()).unwrap()
}

fn memory() -> Kernel {
    open(&sochdb_sim::memory())
}

/// A component of `bytes` bytes that depend on `seed`.
fn plugin(name: &str, seed: u8, bytes: usize) -> KeptPlugin<'static> {
    let component = (0..bytes).map(|at| seed ^ (at % 251) as u8 ^ (at >> 16) as u8).collect();
    let manifest = format!("[plugin]\nname = \"{name}\"\nversion = \"{seed}.0.0\"\n");
    let signature = seed.is_multiple_of(2).then(|| format!("signature of {name}"));
    KeptPlugin { name: name.to_owned(), manifest, signature, component: Cow::Owned(component) }
}

/// How many pieces are there, of how many components.
fn pieces(kernel: &Kernel) -> (usize, usize) {
    let rows = kernel.begin_read().unwrap().scan(COMPONENTS_TABLE, ..).unwrap();
    let mut hashes: Vec<_> = rows.map(|row| row.unwrap().0[..32].to_vec()).collect();
    let count = hashes.len();
    hashes.dedup();
    (count, hashes.len())
}

fn refused<T: std::fmt::Debug>(result: KernelResult<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn what_was_kept_comes_back() {
    let kernel = memory();
    for (number, bytes) in
        [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 1_000_000].iter().enumerate()
    {
        let kept = plugin(&format!("p{number}"), number as u8, *bytes);
        assert!(keep(&kernel, &kept).unwrap());
        assert_eq!(load(&kernel, &kept.name).unwrap(), kept);
    }
    let listed = list(&kernel).unwrap();
    let names: Vec<_> = listed.iter().map(|kept| (&kept.name[..], kept.component_bytes)).collect();
    assert_eq!(
        names,
        [
            ("p0", 0),
            ("p1", 1),
            ("p2", 262_143),
            ("p3", 262_144),
            ("p4", 262_145),
            ("p5", 1_000_000)
        ]
    );
    let one = plugin("p5", 5, 1_000_000);
    assert_eq!(listed[5].blake3, blake3::hash(&one.component).to_string());
    assert_eq!((&listed[5].manifest, &listed[5].signature), (&one.manifest, &None));
    assert_eq!(listed[4].signature.as_deref(), Some("signature of p4"));
}

/// The rows of both tables, in hex.
fn rows(kernel: &Kernel) -> String {
    let tx = kernel.begin_read().unwrap();
    let mut text = String::new();
    for table in [PLUGINS_TABLE, COMPONENTS_TABLE] {
        for row in tx.scan(table, ..).unwrap() {
            let (key, value) = row.unwrap();
            let hex =
                |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            text += &format!("{table}\n  {}\n  {}\n", hex(&key), hex(&value));
        }
    }
    text
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// What [`ROW_OF_VERSION_1`] says.
fn unsigned() -> KeptPlugin<'static> {
    KeptPlugin {
        name: "lz4".into(),
        manifest: "[plugin]\n".into(),
        signature: None,
        component: Cow::Borrowed(COMPONENT),
    }
}

/// A row as it was written before there were signatures.
const ROW_OF_VERSION_1: &str = "0100000048d3a2e8a9b0cde6293ba7f68824a97d069d096f44335a9e86aee55238dcdcb8\
    08000000000000005b706c7567696e5d0a";

fn row_of_version_1() -> Vec<u8> {
    let digits = ROW_OF_VERSION_1.as_bytes().chunks(2);
    digits.map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rows_have_these_bytes() {
    let kernel = memory();
    keep(&kernel, &unsigned()).unwrap();
    expect![[r#"
        sochdb.plugins
          6c7a34
          0200000048d3a2e8a9b0cde6293ba7f68824a97d069d096f44335a9e86aee55238dcdcb80800000000000000090000005b706c7567696e5d0a
        sochdb.components
          48d3a2e8a9b0cde6293ba7f68824a97d069d096f44335a9e86aee55238dcdcb800000000
          0061736d0d000100
    "#]].assert_eq(&rows(&kernel));
    keep(&kernel, &KeptPlugin { signature: Some("sig".into()), ..unsigned() }).unwrap();
    expect![[r#"
        sochdb.plugins
          6c7a34
          0200000048d3a2e8a9b0cde6293ba7f68824a97d069d096f44335a9e86aee55238dcdcb80800000000000000090000005b706c7567696e5d0a736967
        sochdb.components
          48d3a2e8a9b0cde6293ba7f68824a97d069d096f44335a9e86aee55238dcdcb800000000
          0061736d0d000100
    "#]].assert_eq(&rows(&kernel));
}

#[test]
fn a_row_from_before_there_were_signatures_is_read() {
    let world = sochdb_sim::memory();
    let kernel = open(&world);
    keep(&kernel, &unsigned()).unwrap();
    kernel.run(|tx| tx.put(PLUGINS_TABLE, b"lz4", &row_of_version_1())).unwrap();
    assert_eq!(load(&kernel, "lz4").unwrap(), unsigned());
    assert_eq!(list(&kernel).unwrap()[0].signature, None);
    // It says the same, so nothing is written, which a read-only database would refuse.
    kernel.close().unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let kernel = Kernel::open(world.clone(), options).unwrap();
    assert!(!keep(&kernel, &unsigned()).unwrap());
    kernel.close().unwrap();
    let kernel = open(&world);
    let signed = KeptPlugin { signature: Some("sig".into()), ..unsigned() };
    assert!(keep(&kernel, &signed).unwrap());
    assert_eq!(load(&kernel, "lz4").unwrap(), signed);
    assert!(keep(&kernel, &unsigned()).unwrap());
    assert!(!keep(&kernel, &KeptPlugin { signature: Some("".into()), ..unsigned() }).unwrap());
    remove(&kernel, "lz4").unwrap();
    assert_eq!(pieces(&kernel), (0, 0));
}

#[test]
fn keeping_the_same_again_writes_nothing() {
    let world = sochdb_sim::memory();
    let kernel = open(&world);
    let kept = plugin("p", 1, 1000);
    assert!(keep(&kernel, &kept).unwrap());
    let before = kernel.begin_read().unwrap().snapshot();
    assert!(!keep(&kernel, &kept).unwrap());
    assert_eq!(kernel.begin_read().unwrap().snapshot(), before);
    // So it may be said on a read-only database too, where anything else is refused.
    kernel.close().unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let kernel = Kernel::open(world, options).unwrap();
    assert!(!keep(&kernel, &kept).unwrap());
    assert!(keep(&kernel, &plugin("p", 2, 1000)).is_err());
    assert!(remove(&kernel, "p").is_err());
    assert_eq!(load(&kernel, "p").unwrap(), kept);
}

#[test]
fn a_replaced_component_leaves_nothing_behind() {
    let kernel = memory();
    keep(&kernel, &plugin("p", 1, 3 * PIECE_BYTES)).unwrap();
    assert_eq!(pieces(&kernel), (3, 1));
    keep(&kernel, &plugin("p", 2, 2 * PIECE_BYTES)).unwrap();
    assert_eq!(pieces(&kernel), (2, 1));
    // Another manifest for the same component.
    let mut changed = plugin("p", 2, 2 * PIECE_BYTES);
    changed.manifest += "# changed\n";
    assert!(keep(&kernel, &changed).unwrap());
    assert_eq!(load(&kernel, "p").unwrap(), changed);
    assert_eq!(pieces(&kernel), (2, 1));
}

#[test]
fn a_removed_plugin_takes_its_component_along_unless_another_has_it() {
    let kernel = memory();
    for name in ["one", "two"] {
        keep(&kernel, &KeptPlugin { name: name.into(), ..plugin("shared", 1, 1000) }).unwrap();
    }
    keep(&kernel, &plugin("other", 2, 1000)).unwrap();
    assert_eq!(pieces(&kernel), (2, 2));
    remove(&kernel, "one").unwrap();
    assert_eq!(pieces(&kernel), (2, 2));
    assert_eq!(load(&kernel, "two").unwrap().component, plugin("shared", 1, 1000).component);
    assert_eq!(refused(load(&kernel, "one")), ErrorKind::NotFound);
    remove(&kernel, "two").unwrap();
    assert_eq!(pieces(&kernel), (1, 1));
    remove(&kernel, "other").unwrap();
    assert_eq!(pieces(&kernel), (0, 0));
    assert_eq!(refused(remove(&kernel, "other")), ErrorKind::NotFound);
    assert!(list(&kernel).unwrap().is_empty());
}

#[test]
fn a_database_without_kept_plugins_has_no_tables_for_them() {
    let world = sochdb_sim::memory();
    let kernel = open(&world);
    assert!(list(&kernel).unwrap().is_empty());
    assert_eq!(refused(load(&kernel, "p")), ErrorKind::NotFound);
    assert_eq!(refused(remove(&kernel, "p")), ErrorKind::NotFound);
    assert!(kernel.begin_read().unwrap().tables().unwrap().is_empty());
    kernel.close().unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let kernel = Kernel::open(world, options).unwrap();
    assert!(list(&kernel).unwrap().is_empty());
    assert_eq!(refused(load(&kernel, "p")), ErrorKind::NotFound);
}

#[test]
fn what_is_too_large_or_has_no_name_is_refused() {
    let kernel = memory();
    let small = plugin("p", 1, 10);
    let name = |name: String| refused(keep(&kernel, &KeptPlugin { name, ..small.clone() }));
    assert_eq!(name(String::new()), ErrorKind::Invalid);
    assert_eq!(name("n".repeat(1025)), ErrorKind::Invalid);
    let manifest = "#".repeat(MANIFEST_BYTES_MAX as usize + 1);
    assert_eq!(refused(keep(&kernel, &KeptPlugin { manifest, ..small.clone() })), ErrorKind::Limit);
    let signature = Some("#".repeat(SIGNATURE_BYTES_MAX as usize + 1));
    assert_eq!(
        refused(keep(&kernel, &KeptPlugin { signature, ..small.clone() })),
        ErrorKind::Limit
    );
    let component = Cow::Owned(vec![0; COMPONENT_BYTES_MAX as usize + 1]);
    assert_eq!(
        refused(keep(&kernel, &KeptPlugin { component, ..small.clone() })),
        ErrorKind::Limit
    );
    assert_eq!(refused(load(&kernel, &"n".repeat(1025))), ErrorKind::NotFound);
    keep(&kernel, &KeptPlugin { name: "n".repeat(1024), ..small }).unwrap();
}

#[test]
fn the_largest_component_is_kept_in_one_transaction() {
    let kernel = memory();
    let largest = plugin("p", 1, COMPONENT_BYTES_MAX as usize);
    keep(&kernel, &largest).unwrap();
    assert!(load(&kernel, "p").unwrap() == largest);
}

#[test]
fn rotten_pieces_and_rows_are_corrupt() {
    type Spoil<'a> = (&'a str, &'a dyn Fn(&mut Transaction, &blake3::Hash) -> KernelResult<()>);
    let spoils: [Spoil<'_>; 12] = [
        ("a changed piece", &|tx, hash| {
            let key = piece_key(hash, 1);
            let mut piece = tx.get(COMPONENTS_TABLE, &key)?.unwrap().to_vec();
            piece[77] ^= 1;
            tx.put(COMPONENTS_TABLE, &key, &piece)
        }),
        ("a missing piece", &|tx, hash| tx.delete(COMPONENTS_TABLE, &piece_key(hash, 0))),
        ("a short piece", &|tx, hash| tx.put(COMPONENTS_TABLE, &piece_key(hash, 0), b"short")),
        ("a long piece", &|tx, hash| {
            tx.put(COMPONENTS_TABLE, &piece_key(hash, 2), &vec![0; PIECE_BYTES])
        }),
        ("a short row", &|tx, _| tx.put(PLUGINS_TABLE, b"p", b"short")),
        ("a row of another version", &|tx, _| tx.put(PLUGINS_TABLE, b"p", &[3; 60])),
        ("a row that says too much", &|tx, _| {
            tx.put(PLUGINS_TABLE, b"p", &[&1u32.to_le_bytes()[..], &[0xFF; 40]].concat())
        }),
        ("a manifest that is no text", &|tx, _| {
            let row = [&1u32.to_le_bytes()[..], &[0; 32], &[0; 8], b"\xFF"].concat();
            tx.put(PLUGINS_TABLE, b"p", &row)
        }),
        ("no size of the manifest", &|tx, _| {
            let row = [&2u32.to_le_bytes()[..], &[0; 32], &[0; 8], b"\0\0\0"].concat();
            tx.put(PLUGINS_TABLE, b"p", &row)
        }),
        ("a manifest that ends too early", &|tx, _| {
            let row = [&2u32.to_le_bytes()[..], &[0; 32], &[0; 8], &[2, 0, 0, 0, b'm']].concat();
            tx.put(PLUGINS_TABLE, b"p", &row)
        }),
        ("a signed manifest that is no text", &|tx, _| {
            let row = [&2u32.to_le_bytes()[..], &[0; 32], &[0; 8], &[1, 0, 0, 0, 0xFF]].concat();
            tx.put(PLUGINS_TABLE, b"p", &row)
        }),
        ("a signature that is no text", &|tx, _| {
            let row = [&2u32.to_le_bytes()[..], &[0; 32], &[0; 8], &[1, 0, 0, 0, b'm', 0xFF]];
            tx.put(PLUGINS_TABLE, b"p", &row.concat())
        }),
    ];
    for (what, spoil) in spoils {
        let kernel = memory();
        let kept = plugin("p", 1, 2 * PIECE_BYTES + 100);
        keep(&kernel, &kept).unwrap();
        kernel.run(|tx| spoil(tx, &blake3::hash(&kept.component))).unwrap();
        assert_eq!(refused(load(&kernel, "p")), ErrorKind::Corrupt, "{what}");
        // Removed and kept again, it is whole.
        remove(&kernel, "p").unwrap();
        keep(&kernel, &kept).unwrap();
        assert_eq!(load(&kernel, "p").unwrap(), kept, "{what}");
    }
}

#[test]
fn kept_plugins_survive_checkpoint_and_reopening() {
    let world = sochdb_sim::memory();
    let kernel = open(&world);
    keep(&kernel, &plugin("p", 1, 600_000)).unwrap();
    kernel.checkpoint().unwrap();
    keep(&kernel, &plugin("q", 2, 600_000)).unwrap();
    kernel.close().unwrap();
    let kernel = open(&world);
    for kept in [plugin("p", 1, 600_000), plugin("q", 2, 600_000)] {
        assert_eq!(load(&kernel, &kept.name).unwrap(), kept);
    }
}

#[test]
fn a_backup_carries_them() {
    let kernel = memory();
    keep(&kernel, &plugin("p", 1, 600_000)).unwrap();
    kernel.checkpoint().unwrap();
    keep(&kernel, &plugin("q", 2, 600_000)).unwrap();
    let copy = sochdb_sim::memory();
    sochdb_operations::backup(&kernel, &*copy.vfs, &mut |_| {}).unwrap();
    let copy = open(&copy);
    assert_eq!(list(&copy).unwrap(), list(&kernel).unwrap());
    assert_eq!(load(&copy, "p").unwrap(), plugin("p", 1, 600_000));
    assert_eq!(load(&copy, "q").unwrap(), plugin("q", 2, 600_000));
}

#[test]
fn two_who_share_a_component_and_change_at_once_lose_nothing() {
    let kernel = memory();
    let shared = |name: &str| KeptPlugin { name: name.into(), ..plugin("shared", 1, 1000) };
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let kernel = kernel.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    keep(&kernel, &shared(name)).unwrap();
                    assert_eq!(load(&kernel, name).unwrap(), shared(name));
                    remove(&kernel, name).unwrap();
                }
                keep(&kernel, &shared(name)).unwrap();
            });
        }
    });
    assert_eq!(pieces(&kernel), (1, 1));
    for name in ["one", "two", "three", "four"] {
        assert_eq!(load(&kernel, name).unwrap(), shared(name));
    }
}

proptest! {
    #[test]
    fn a_row_comes_back_and_arbitrary_bytes_never_panic(
        hash in any::<[u8; 32]>(), bytes in 0..=COMPONENT_BYTES_MAX, manifest in ".{0,40}",
        signature in ".{0,40}", version in 0u32..4,
        noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let (manifest, signature) = (&manifest[..], &signature[..]);
        let record = Record { blake3: hash.into(), bytes, manifest, signature };
        prop_assert!(Record::decode(&record.encode()).unwrap() == record);
        let _ = Record::decode(&noise);
        let _ = Record::decode(&[&version.to_le_bytes()[..], &hash, &[0; 8], &noise].concat());
    }
}
