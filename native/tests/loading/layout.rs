//! The header and the Rust types are one interface: sizes, offsets and numbers, as each compiler has them.

use crate::plugins::compile;
use sochdb_native::abi::{ABI_VERSION, Bytes, PluginTable, Text, kind, status};
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;

/// What `plugins/layout.c` prints, by Rust.
fn layout() -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: usize| writeln!(lines, "{name} {value}").expect("a string");
    line("sochdb_bytes", size_of::<Bytes>());
    line("sochdb_text", size_of::<Text>());
    line("sochdb_plugin_table", size_of::<PluginTable>());
    line("bytes.len", offset_of!(Bytes, len));
    line("text.len", offset_of!(Text, len));
    macro_rules! fields {
        ($($name:ident)*) => { $(line(stringify!($name), offset_of!(PluginTable, $name));)* };
    }
    fields!(abi_version table_bytes kind reserved name version description author);
    fields!(init shutdown free_text compress decompress ingest render);
    for (name, value) in [
        ("SOCHDB_PLUGIN_ABI_VERSION", ABI_VERSION),
        ("SOCHDB_KIND_CODEC", kind::CODEC),
        ("SOCHDB_KIND_OBSERVER", kind::OBSERVER),
        ("SOCHDB_OK", status::OK),
        ("SOCHDB_INTERNAL", status::INTERNAL),
        ("SOCHDB_INVALID", status::INVALID),
        ("SOCHDB_LIMIT", status::LIMIT),
        ("SOCHDB_CORRUPT", status::CORRUPT),
    ] {
        line(name, value as usize);
    }
    lines
}

#[test]
fn c_and_rust_lay_the_interface_out_the_same() {
    let Some(program) = compile("tests/loading/plugins/layout.c", &["-std=c99", "-pedantic"])
    else {
        return;
    };
    let output = Command::new(program.path()).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), layout());
}

#[test]
fn a_released_table_never_changes() {
    // On machines with pointers of eight bytes. New fields come behind these.
    #[cfg(target_pointer_width = "64")]
    {
        assert_eq!(offset_of!(PluginTable, name), 16);
        assert_eq!(offset_of!(PluginTable, init), 80);
        assert_eq!(offset_of!(PluginTable, render), 128);
        assert_eq!(PluginTable::BYTES, 136);
    }
}
