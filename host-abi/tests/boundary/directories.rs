//! A plugin (`test-guests/guests/files`) and the directories it was granted: what is in them, and never
//! anything beside them.

use crate::guest::manifest;
use sochdb_host_abi::{HostOptions, PluginHost, Policy};
use sochdb_kernel::plugin::{CompressionExtension, PluginManager};
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use sochdb_test_guests::FILES;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A machine with a directory to grant, things in it, and something beside it.
struct Machine {
    folder: TempDir,
}

/// How the guest calls a granted directory, and whether it may write there.
const READ: (&str, bool) = ("/data", false);
const WRITE: (&str, bool) = ("/data", true);

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("granted/sub")).unwrap();
        fs::write(at("granted/a"), "one").unwrap();
        fs::write(at("granted/sub/b"), "two").unwrap();
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("files.wasm"), FILES).unwrap();
        Machine { folder }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn directory(&self, (guest, write): (&str, bool)) -> String {
        let host = self.folder.path().join("granted");
        format!("directories = [{{ host = {host:?}, guest = {guest:?}, write = {write} }}]\n")
    }

    /// The guest, which wants one thing and is allowed another; `more` goes to its `[resources]`.
    fn guest(&self, wanted: &str, allowed: &str, more: &str) -> KernelResult<Guest> {
        let policy = Policy::parse("policy.toml", &format!("[allow]\n{allowed}"))?;
        let options = HostOptions { policy, ..HostOptions::default() };
        let (host, plugins) = (PluginHost::with(options)?, PluginManager::default());
        let more = format!("max_instances = 1\n{more}\n[capabilities]\n{wanted}");
        let path = self.folder.path().join("guest.toml");
        fs::write(&path, manifest("path = \"files.wasm\"", &more)).unwrap();
        host.load_manifest(&path, &plugins)?;
        Ok(Guest { codec: plugins.compression("guest")?, _host: host })
    }

    /// The guest, which gets what it wants.
    fn granted(&self, directory: (&str, bool)) -> Guest {
        let directory = self.directory(directory);
        self.guest(&directory, &directory, "").unwrap()
    }
}

struct Guest {
    codec: Arc<dyn CompressionExtension>,
    _host: PluginHost,
}

impl Guest {
    fn run(&self, command: &str) -> KernelResult<String> {
        let answer = self.codec.compress(command.as_bytes())?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[track_caller]
    fn ok(&self, command: &str) -> String {
        self.run(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The guest was told no, and lived to say so.
    #[track_caller]
    fn refused(&self, command: &str) {
        match self.run(command) {
            Err(KernelError::Plugin { fault: PluginFault::Refused, .. }) => {}
            other => panic!("{command}: {other:?}"),
        }
    }
}

#[test]
fn a_granted_directory_is_read_with_the_standard_library() {
    let machine = Machine::new();
    let guest = machine.granted(READ);
    assert_eq!(guest.ok("read /data/a"), "one");
    assert_eq!(guest.ok("read /data/sub/b"), "two");
    assert_eq!(guest.ok("read /data/sub/../a"), "one", "within the directory");
    assert_eq!(guest.ok("size /data/sub/b"), "3");
    assert_eq!(guest.ok("list /data"), r#"["a", "sub"]"#);
    guest.refused("read /data/missing");
    guest.refused("read /data/sub");
}

#[test]
fn a_granted_directory_is_written_with_the_standard_library() {
    let machine = Machine::new();
    let guest = machine.granted(WRITE);
    guest.ok("write /data/new some text");
    assert_eq!(machine.text("granted/new"), "some text");
    guest.ok("append /data/new  more");
    assert_eq!(guest.ok("read /data/new"), "some text more");
    guest.ok("truncate /data/new");
    assert_eq!(machine.text("granted/new"), "s");
    guest.ok("mkdir /data/deep");
    guest.ok("rename /data/new /data/deep/new");
    assert_eq!(machine.text("granted/deep/new"), "s");
    guest.refused("rmdir /data/deep");
    guest.ok("remove /data/deep/new");
    guest.ok("rmdir /data/deep");
    assert_eq!(guest.ok("large /data/large"), "500000");
    assert_eq!(machine.text("granted/large").len(), 500_000);
}

#[test]
fn what_was_granted_for_reading_cannot_be_changed() {
    let machine = Machine::new();
    let directory = machine.directory(WRITE);
    let read_only = machine.guest(&directory, &machine.directory(READ), "").unwrap();
    for guest in [machine.granted(READ), read_only] {
        for command in [
            "write /data/a changed",
            "write /data/new text",
            "append /data/a more",
            "truncate /data/a",
            "mkdir /data/deep",
            "rmdir /data/sub",
            "remove /data/a",
            "rename /data/a /data/c",
            "link /data/a /data/c",
            "large /data/a",
        ] {
            guest.refused(command);
        }
        assert_eq!(guest.ok("list /data"), r#"["a", "sub"]"#);
        assert_eq!(guest.ok("read /data/a"), "one");
    }
}

#[test]
fn nothing_is_there_unless_it_is_wanted_and_allowed() {
    let machine = Machine::new();
    let (wanted, other) = (machine.directory(READ), machine.directory(("/other", false)));
    for (wanted, allowed) in [("", ""), (&*wanted, ""), ("", &*wanted), (&*wanted, &*other)] {
        let guest = machine.guest(wanted, allowed, "").unwrap();
        let host = machine.folder.path().join("granted/a").display().to_string();
        for path in ["/data/a", "/", ".", "a", "/etc/passwd", "/proc/self/environ", &host] {
            for verb in ["read", "list", "size", "mkdir"] {
                guest.refused(&format!("{verb} {path}"));
            }
        }
    }
}

#[test]
fn no_path_leads_out_of_a_granted_directory() {
    let machine = Machine::new();
    let guest = machine.granted(WRITE);
    let outside = machine.folder.path().join("secret").display().to_string();
    for path in [
        "/data/../secret",
        "/data/sub/../../secret",
        "/data/./../secret",
        "/data//../secret",
        "/data/missing/../../secret",
        "/data/a/../../secret",
        "/../secret",
        "../secret",
        "/secret",
        "/data/..",
        &outside,
        &format!("/data/{outside}"),
    ] {
        guest.refused(&format!("read {path}"));
        guest.refused(&format!("write {path} changed"));
        guest.refused(&format!("rename /data/sub/b {path}"));
        guest.refused(&format!("link /data/sub/b {path}"));
        guest.refused(&format!("remove {path}"));
    }
    assert_eq!(machine.text("secret"), "secret");
    assert_eq!(guest.ok("list /data"), r#"["a", "sub"]"#);
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_a_granted_directory() {
    use std::os::unix::fs::symlink;
    let machine = Machine::new();
    let at = |name: &str| machine.folder.path().join(name);
    symlink("../secret", at("granted/relative")).unwrap();
    symlink(at("secret"), at("granted/absolute")).unwrap();
    symlink("..", at("granted/parent")).unwrap();
    symlink("sub/../../secret", at("granted/roundabout")).unwrap();
    symlink("sub/b", at("granted/inside")).unwrap();
    symlink("loop", at("granted/loop")).unwrap();
    let guest = machine.granted(WRITE);
    for path in ["relative", "absolute", "parent/secret", "roundabout", "loop"] {
        guest.refused(&format!("read /data/{path}"));
        guest.refused(&format!("write /data/{path} changed"));
    }
    guest.refused("list /data/parent");
    assert_eq!(guest.ok("read /data/inside"), "two");
    guest.ok("write /data/inside three");
    assert_eq!(
        (machine.text("granted/sub/b"), machine.text("secret")),
        ("three".into(), "secret".into())
    );
}

#[cfg(unix)]
#[test]
fn only_files_and_directories_are_opened() {
    let machine = Machine::new();
    let pipe = machine.folder.path().join("granted/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket =
        std::os::unix::net::UnixListener::bind(machine.folder.path().join("granted/s")).unwrap();
    let guest = machine.granted(WRITE);
    let began = Instant::now();
    for command in ["read /data/pipe", "write /data/pipe x", "read /data/s"] {
        guest.refused(command);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waited for a writer");
}

#[test]
fn the_handle_counts_not_what_lies_at_the_path_later() {
    let machine = Machine::new();
    let guest = machine.granted(READ);
    let at = |name: &str| machine.folder.path().join(name);
    fs::rename(at("granted"), at("moved")).unwrap();
    fs::create_dir(at("granted")).unwrap();
    fs::write(at("granted/a"), "another").unwrap();
    assert_eq!(guest.ok("read /data/a"), "one");
}

#[cfg(target_os = "linux")]
#[test]
fn files_start_no_asynchronous_runtime() {
    let machine = Machine::new();
    let guest = machine.granted(WRITE);
    guest.ok("large /data/large");
    guest.ok("list /data");
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    let names: Vec<_> = names.filter(|name| name.starts_with("tokio")).collect();
    assert_eq!(names, [""; 0]);
}

#[test]
fn nobody_is_granted_a_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let machine = Machine::new();
    let guest = machine.granted(WRITE);
    for _ in 0..3 {
        guest.refused(&format!("connect {address}"));
        guest.refused("listen 127.0.0.1:0");
        guest.refused("datagram 127.0.0.1:0");
        guest.refused("resolve localhost:80");
    }
    assert_eq!(guest.ok("read /data/a"), "one", "it lives on");
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_granted_directory_that_is_missing_is_an_error_at_loading() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.folder.path().join("granted")).unwrap();
    let directory = machine.directory(READ);
    let Err(error) = machine.guest(&directory, &directory, "") else { panic!("it was loaded") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("granted"), "{error}");
    machine.guest(&directory, "", "").unwrap();
}

#[test]
fn times_of_files_are_for_those_who_were_granted_the_clock() {
    let machine = Machine::new();
    let directory = machine.directory(READ);
    let modified = |more: &str| {
        let wanted = format!("{directory}{more}");
        machine.guest(&wanted, &wanted, "").unwrap().ok("modified /data/a")
    };
    let year_zero = modified("");
    let now = modified("clock = true");
    assert_ne!(year_zero, now);
    fs::write(machine.folder.path().join("granted/a"), "changed").unwrap();
    assert_eq!(modified(""), year_zero);
}

#[test]
fn files_cost_fuel_and_end_with_the_call() {
    let machine = Machine::new();
    let directory = machine.directory(WRITE);
    let failed = |command: &str, more: &str| {
        let guest = machine.guest(&directory, &directory, more).unwrap();
        let began = Instant::now();
        let error = guest.run(command).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{command}: {:?}", began.elapsed());
        assert_eq!(guest.ok("read /data/a"), "one", "the next call works");
        error
    };
    for (command, more, word) in [
        ("forever /data/a", "fuel_limit = 20_000_000\ntimeout_ms = 10_000", "fuel_limit"),
        ("sync /data/a", "fuel_limit = 20_000_000\ntimeout_ms = 10_000", "fuel_limit"),
        ("forever /data/a", "timeout_ms = 50\nfuel_limit = 1_000_000_000_000", "timeout_ms"),
    ] {
        let error = failed(command, more);
        let KernelError::Plugin { fault: PluginFault::Exhausted, .. } = &error else {
            panic!("{command}: {error}")
        };
        assert!(error.to_string().contains(word), "{command}: {error}");
    }
}

#[test]
fn an_instance_cannot_hoard_open_files() {
    let machine = Machine::new();
    let guest = machine.granted(READ);
    for _ in 0..3 {
        let answer = guest.ok("hoard /data/a");
        let (open, _) = answer.split_once(' ').unwrap();
        assert!((10..=64).contains(&open.parse().unwrap()), "{answer}");
        assert_eq!(guest.ok("read /data/a"), "one", "they were closed");
    }
}
