//! Guests that take all they can get: whatever came of it, what they had is given back.

use crate::guest::{Bench, Codec};
use crate::process::Process;

/// Runs in `compress` when the input begins with `!`.
fn evil(evil: &str) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then {evil}))
         (call $same (local.get $at) (local.get $len))"
    )
}

#[test]
fn memory_and_addresses_come_back() {
    let _alone = crate::alone();
    let touch = "(memory.fill (i32.const 0) (i32.const 1)
        (i32.mul (memory.size) (i32.const 65536)))";
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))";
    let table = "(loop (br_if 0 (i32.ne
        (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1))))";
    let memories = "(memory $a 100) (memory $b 100) (memory $c 100)";
    let handles = "(loop (drop (call $stderr)) (br 0))";
    let bombs = [
        ("", format!("{grow} {touch} unreachable")),
        ("", format!("{grow} {touch} (loop (br 0))")),
        ("(table $t 1 funcref)", format!("{table} unreachable")),
        (
            memories,
            "(memory.fill $c (i32.const 0) (i32.const 1) (i32.const 6000000)) unreachable"
                .to_owned(),
        ),
        ("", "(drop (call $compress (local.get $at) (local.get $len)))".to_owned()),
        ("", handles.to_owned()),
        // It answers all it has.
        ("", format!("{grow} (return (call $same (i32.const 0) (i32.const 60000000)))")),
    ];
    let bombs = bombs.map(|(items, bomb)| {
        let imports =
            r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))"#;
        Codec { imports, items, compress: &evil(&bomb), ..Codec::default() }.build()
    });
    let resources = "memory_limit_mb = 64\nfuel_limit = 100_000_000";
    let bench = Bench::new();
    let round = || {
        for bomb in &bombs {
            let codec = bench.load(bomb, resources).unwrap();
            for _ in 0..2 {
                codec.compress(b"!").unwrap_err();
            }
        }
        // The last one is replaced by one that has next to nothing.
        bench.load(&Codec::default().build(), resources).unwrap().compress(b"good").unwrap();
    };
    round();
    let Some(before) = Process::now() else { return };
    for _ in 0..5 {
        round();
    }
    let grown = before.check_no_leak();
    println!("bombs: {} instances that took all they could, {grown}", 5 * 2 * bombs.len());
}
