//! Code that is too much, not whole, or not the code that was looked at.

use crate::guest::{Bench, Codec, manifest};
use sochdb_host_abi::limits::COMPONENT_BYTES_MAX;
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Loads these bytes as a codec, which must fail soon and as this kind of error; afterwards the host
/// loads and runs another one.
#[track_caller]
fn refused(bytes: &[u8], kinds: &[ErrorKind]) -> KernelError {
    let bench = Bench::new();
    let began = Instant::now();
    let Err(error) = bench.load(bytes, "") else { panic!("it was loaded") };
    let took = began.elapsed();
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(error.to_string().len() < 4000, "{} bytes of words", error.to_string().len());
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(bench.host.list().is_empty());
    assert_eq!(bench.load_neighbour().compress(b"good").unwrap(), b"good");
    error
}

#[test]
fn two_hundred_megabytes_are_not_read() {
    let bench = Bench::new();
    let file = fs::File::create(bench.folder.path().join("guest.wasm")).unwrap();
    file.set_len(200 << 20).unwrap();
    let began = Instant::now();
    let Err(error) = bench.load_manifest(&manifest("path = \"guest.wasm\"", "")) else {
        panic!("it was loaded")
    };
    let KernelError::Limit { bound, .. } = error else { panic!("{error}") };
    assert_eq!(bound, COMPONENT_BYTES_MAX);
    assert!(began.elapsed() < Duration::from_secs(10));
    bench.load(&Codec::default().build(), "").unwrap().compress(b"good").unwrap();
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let whole = Codec::default().build();
    let bench = Bench::new();
    for cut in (0..whole.len()).step_by(7) {
        let Err(error) = bench.load(&whole[..cut], "") else { panic!("{cut} bytes were loaded") };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{cut} bytes: {error}");
    }
    assert_eq!(bench.load(&whole, "").unwrap().compress(b"good").unwrap(), b"good");
}

#[test]
fn a_component_that_changes_while_it_is_loaded_is_the_pinned_one_or_none() {
    let good = Codec::default().build();
    let evil = Codec { compress: "(call $same (i32.const 0) (i32.const 0))", ..Codec::default() };
    let evil = evil.build();
    let bench = Bench::new();
    let path = bench.folder.path().join("guest.wasm");
    let pinned = blake3::hash(&good);
    let text = manifest(&format!("path = \"guest.wasm\"\nblake3 = \"{pinned}\""), "");
    fs::write(&path, &good).unwrap();
    let done = AtomicBool::new(false);
    let mut counts = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // In place, so that a reader sees a mixture, and by renaming, so that it sees another file.
            let aside = bench.folder.path().join("aside.wasm");
            while !done.load(Ordering::Relaxed) {
                fs::write(&path, &evil).unwrap();
                fs::write(&path, &good).unwrap();
                fs::write(&aside, &evil).unwrap();
                fs::rename(&aside, &path).unwrap();
                fs::write(&aside, &good).unwrap();
                fs::rename(&aside, &path).unwrap();
            }
        });
        let load = || -> KernelResult<()> {
            let codec = bench.load_manifest(&text)?;
            assert_eq!(codec.compress(b"good").unwrap(), b"good", "code that nobody has pinned");
            assert_eq!(bench.host.list()[0].blake3, pinned.to_string());
            Ok(())
        };
        let began = Instant::now();
        while (counts[0] == 0 || counts[1] == 0 || counts[0] + counts[1] < 100)
            && began.elapsed() < Duration::from_secs(20)
        {
            match load() {
                Ok(()) => counts[0] += 1,
                Err(KernelError::Plugin { fault: PluginFault::Denied, message, .. }) => {
                    assert!(message.contains("pins"), "{message}");
                    counts[1] += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(counts[0] > 0 && counts[1] > 0, "loaded and denied: {counts:?}");
}

/// A LEB128 number.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// Sections of a component.
const CORE_MODULE: u8 = 1;
const NESTED: u8 = 4;
const TYPES: u8 = 7;

/// A component around this.
fn around(sections: &[u8]) -> Vec<u8> {
    [COMPONENT, sections].concat()
}

#[test]
fn components_in_components_are_bounded() {
    for depth in [100, 1_000, 20_000] {
        // From the innermost outwards; each is one longer than the one in it.
        let mut nested = Vec::new();
        for _ in 0..depth {
            nested = section(NESTED, &around(&nested));
        }
        refused(&around(&nested), &[ErrorKind::Limit]);
    }
    let siblings = section(NESTED, COMPONENT).repeat(20_000);
    refused(&around(&siblings), &[ErrorKind::Limit]);
    let modules = section(CORE_MODULE, MODULE).repeat(20_000);
    refused(&around(&modules), &[ErrorKind::Limit]);
}

/// A core module with this many functions, each with this body.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let declared = section(3, &[leb(count), vec![0; count]].concat());
    let body = [leb(body.len()), body.to_vec()].concat();
    let code = section(10, &[leb(count), body.repeat(count)].concat());
    [MODULE, &types, &declared, &code].concat()
}

#[test]
fn types_without_end_are_bounded() {
    let anything = [ErrorKind::Invalid, ErrorKind::Limit];
    // list<list<list<...>>>, a thousand deep, and tuples that double at each step.
    let lists = |count: usize| {
        let mut types = vec![0x70, 0x7d];
        for number in 1..count {
            types.push(0x70);
            types.extend(leb(number - 1));
        }
        section(TYPES, &[leb(count), types].concat())
    };
    refused(&around(&lists(1_000)), &anything);
    refused(&around(&lists(100_000)), &anything);
    let mut types = vec![0x6f, 2, 0x7d, 0x7d];
    for number in 1_usize..60 {
        types.extend([0x6f, 2]);
        types.extend([leb(number - 1), leb(number - 1)].concat());
    }
    refused(&around(&section(TYPES, &[leb(60), types].concat())), &anything);
}

#[test]
fn a_function_of_millions_of_operators_or_locals_is_bounded() {
    let anything = [ErrorKind::Invalid, ErrorKind::Limit];
    let locals = [&[2][..], &leb(0xffff_ffff), &[0x7f], &leb(0xffff_ffff), &[0x7e, 0x0b]].concat();
    refused(&around(&section(CORE_MODULE, &functions(1, &locals))), &anything);
    let long = [&[0][..], &vec![0x01; 8_000_000], &[0x0b]].concat();
    refused(&around(&section(CORE_MODULE, &functions(1, &long))), &[ErrorKind::Limit]);
    // Blocks in blocks.
    let deep = [&[0][..], &[0x02, 0x40].repeat(1_000_000), &vec![0x0b; 1_000_001]].concat();
    refused(&around(&section(CORE_MODULE, &functions(1, &deep))), &[ErrorKind::Limit]);
    let deep = [&[0][..], &[0x02, 0x40].repeat(60_000), &vec![0x0b; 60_001]].concat();
    refused(&around(&section(CORE_MODULE, &functions(1, &deep))), &[ErrorKind::Limit]);
}

#[test]
fn a_million_functions_are_too_many() {
    let bomb = around(&section(CORE_MODULE, &functions(1_000_000, &[0, 0x0b])));
    refused(&bomb, &[ErrorKind::Limit]);
}

#[test]
fn counts_without_anything_behind_them_are_refused() {
    let anything = [ErrorKind::Invalid, ErrorKind::Limit];
    for id in 0..=12 {
        for count in [1_000_000, 0xffff_ffff] {
            refused(&around(&section(id, &leb(count))), &anything);
            let module = [MODULE, &section(id, &leb(count))].concat();
            refused(&around(&section(CORE_MODULE, &module)), &anything);
        }
    }
}

#[test]
fn what_a_module_does_before_it_is_called_is_bounded() {
    for (items, words) in [
        (r#"(data (i32.const -1) "x")"#, "out of bounds memory"),
        (
            "(table $t 1 funcref) (func $f) (elem (table $t) (i32.const 9) func $f)",
            "out of bounds table",
        ),
        ("(func $s unreachable) (start $s)", "unreachable"),
    ] {
        let guest = Codec { items, ..Codec::default() };
        let Err(error) = Bench::new().load(&guest.build(), "") else { panic!("it was loaded") };
        super::check_fault(&error, PluginFault::Trapped, &["self-test", words]);
    }
    let codec: Arc<dyn CompressionExtension> =
        Bench::new().load(&Codec::default().build(), "").unwrap();
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
}
