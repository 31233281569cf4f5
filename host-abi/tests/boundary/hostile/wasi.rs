//! WASI: what was not granted is not there, and what is there costs the host nothing.

use super::{check_fault, compress_fails, evil};
use crate::guest::{Bench, Codec};
use sochdb_kernel::PluginFault;
use sochdb_kernel::plugin::CompressionExtension;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Imports of a clock, random numbers, and what one can wait for.
const WASI: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
    (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $sleep (param i64) (result i32)))
    (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $wait (param i32)))"#;

/// A codec that answers the number `value` to everything, loaded with these capabilities.
fn number(value: &str, capabilities: &str) -> impl Fn() -> u64 {
    let compress =
        format!("(i64.store (i32.const 200) {value}) (call $same (i32.const 200) (i32.const 8))");
    let guest = Codec { imports: WASI, compress: &compress, ..Codec::default() };
    let bench = Bench::new();
    let codec =
        bench.load(&guest.build(), &format!("max_instances = 1\n[capabilities]\n{capabilities}"));
    let codec = codec.unwrap();
    move || u64::from_le_bytes(codec.compress(b"eight or more bytes").unwrap().try_into().unwrap())
}

#[test]
fn a_clock_stands_still_unless_it_is_granted() {
    let clock = number("(call $now)", "");
    let before = clock();
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!((before, clock()), (0, 0));
    let clock = number("(call $now)", "clock = true");
    let before = clock();
    std::thread::sleep(Duration::from_millis(3));
    let after = clock();
    assert!(before < after && after.is_multiple_of(1_000_000), "{before} {after}");
}

#[test]
fn random_numbers_repeat_unless_they_are_granted() {
    let first = |capabilities| number("(call $random)", capabilities)();
    assert_eq!(first(""), first(""));
    assert_ne!(first("random = true"), first("random = true"));
}

#[test]
fn a_guest_cannot_wait() {
    let guest = Codec {
        imports: WASI,
        compress: &evil("(call $wait (call $sleep (i64.const 3600000000000)))"),
        ..Codec::default()
    };
    compress_fails(&guest, "", PluginFault::Trapped, &["a plugin cannot wait"]);
}

#[test]
fn a_trap_is_reported_with_what_the_guest_said_on_standard_error() {
    let guest = Codec {
        imports: r#"
            (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
            (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))"#,
        items: r#"(data (i32.const 200) "panicked: \1b no pages left")"#,
        compress: &evil(
            "(call $write (call $stderr) (i32.const 200) (i32.const 25) (i32.const 128)) unreachable",
        ),
        ..Codec::default()
    };
    let words = ["unreachable", "; it said: panicked: \\u{1b} no pages left; in "];
    compress_fails(&guest, "", PluginFault::Trapped, &words);
}

#[test]
fn a_guest_that_exits_ends_only_itself() {
    let imports = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
    for status in [0, 1] {
        let exits = format!("(call $exit (i32.const {status}))");
        let guest = Codec { imports, compress: &evil(&exits), ..Codec::default() };
        compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
    }
}

#[test]
fn there_is_no_environment_no_argument_and_no_directory() {
    // Each answers a list; the length of it is what the codec answers.
    for (interface, function) in [
        ("wasi:cli/environment@0.2.0", "get-environment"),
        ("wasi:cli/environment@0.2.0", "get-arguments"),
        ("wasi:filesystem/preopens@0.2.0", "get-directories"),
    ] {
        let imports = format!(r#"(import "{interface}" "{function}" (func $ask (param i32)))"#);
        let compress = "(i32.store (i32.const 132) (i32.const -1)) (call $ask (i32.const 128))
            (call $same (i32.const 132) (i32.const 4))";
        let guest = Codec { imports: &imports, compress, ..Codec::default() };
        let codec = Bench::new().load(&guest.build(), "").unwrap();
        assert_eq!(codec.compress(b"how many?").unwrap(), [0; 4], "{function}");
    }
}

#[test]
fn standard_input_is_at_its_end_and_standard_output_goes_nowhere() {
    let imports = r#"
        (import "wasi:cli/stdin@0.2.0" "get-stdin" (func $stdin (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read"
            (func $read (param i32 i64 i32)))
        (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.write"
            (func $write (param i32 i32 i32 i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes"
            (func $zeroes (param i32 i64 i32)))"#;
    let reads = "(call $read (call $stdin) (i64.const -1) (i32.const 128))
        (if (i32.ne (i32.load8_u (i32.const 128)) (i32.const 1)) (then unreachable))";
    let compress = format!("{reads} {}", Codec::default().compress);
    let guest = Codec { imports, compress: &compress, ..Codec::default() };
    let codec = Bench::new().load(&guest.build(), "").unwrap();
    assert_eq!(codec.compress(b"abc").unwrap(), b"abc", "standard input is closed");
    // A flood of output ends with the deadline, and is kept nowhere.
    let writes = "(local $out i32) (local.set $out (call $stdout))
        (loop (call $write (local.get $out) (i32.const 0) (i32.const 4096) (i32.const 128)) (br 0))";
    let items = format!("(func $flood {writes})");
    let guest =
        Codec { imports, items: &items, compress: &evil("(call $flood)"), ..Codec::default() };
    let resources = "fuel_limit = 1_000_000_000_000\ntimeout_ms = 50";
    let began = Instant::now();
    compress_fails(&guest, resources, PluginFault::Exhausted, &["timeout_ms of 50"]);
    assert!(began.elapsed() < Duration::from_secs(5));
    // Zeroes without end would be the host's memory.
    let zeroes = "(call $zeroes (call $stdout) (i64.const 0x7fffffffffffffff) (i32.const 128))
        (if (i32.load8_u (i32.const 128)) (then unreachable))";
    let guest = Codec { imports, compress: &evil(zeroes), ..Codec::default() };
    compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
}

#[test]
fn random_bytes_without_end_are_refused() {
    let imports = r#"(import "wasi:random/random@0.2.0" "get-random-bytes"
        (func $bytes (param i64 i32)))"#;
    for count in ["4097", "0xffffffff", "-1"] {
        let asks = format!("(call $bytes (i64.const {count}) (i32.const 128))");
        let guest = Codec { imports, compress: &evil(&asks), ..Codec::default() };
        compress_fails(&guest, "", PluginFault::Trapped, &["compress"]);
    }
}

#[test]
fn what_a_guest_shouts_on_standard_error_is_cut() {
    let imports = r#"
        (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))"#;
    let shouts = "(local $out i32) (local $n i32) (local.set $out (call $stderr))
        (memory.fill (i32.const 4096) (i32.const 66) (i32.const 4096))
        (loop
            (call $write (local.get $out) (i32.const 4096) (i32.const 4096) (i32.const 128))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000))))
        unreachable";
    let items = format!("(func $shout {shouts})");
    let guest =
        Codec { imports, items: &items, compress: &evil("(call $shout)"), ..Codec::default() };
    let bench = Bench::new();
    let codec: Arc<dyn CompressionExtension> = bench.load(&guest.build(), "").unwrap();
    let error = codec.compress(b"!").unwrap_err();
    check_fault(&error, PluginFault::Trapped, &["unreachable", "; it said: BBB"]);
    assert!(error.to_string().len() < 2000, "{} bytes", error.to_string().len());
    assert_eq!(codec.compress(b"good").unwrap(), b"good");
}
