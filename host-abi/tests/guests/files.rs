//! A codec that does what the standard library does with files. It is compiled by the test that loads it.
//!
//! To compress is to run one command, such as `write /data/a some text`; the answer is what it printed.

#![allow(unsafe_code, reason = "the contract's exports are written out by hand, to need no crate")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Instant;

fn run(command: &str) -> std::io::Result<String> {
    let mut words = command.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (verb, path, rest) = (word(), word(), word());
    match verb {
        "read" => fs::read_to_string(path),
        "size" => Ok(fs::metadata(path)?.len().to_string()),
        "modified" => Ok(format!("{:?}", fs::metadata(path)?.modified()?)),
        "list" => {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
            names.sort();
            Ok(format!("{names:?}"))
        }
        "write" => fs::write(path, rest).map(|()| String::new()),
        "append" => {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(rest.as_bytes())?;
            file.sync_all()?;
            Ok(String::new())
        }
        "truncate" => OpenOptions::new().write(true).open(path)?.set_len(1).map(|()| String::new()),
        "mkdir" => fs::create_dir(path).map(|()| String::new()),
        "rmdir" => fs::remove_dir(path).map(|()| String::new()),
        "remove" => fs::remove_file(path).map(|()| String::new()),
        "rename" => fs::rename(path, rest).map(|()| String::new()),
        "link" => fs::hard_link(path, rest).map(|()| String::new()),
        // Five times 100 KB, from the end to the beginning: every seek and every large buffer.
        "large" => {
            let block = |n: usize| vec![b'0' + n as u8; 100_000];
            let mut file = File::options().read(true).write(true).create(true).open(path)?;
            for n in (0..5).rev() {
                file.seek(SeekFrom::Start(n as u64 * 100_000))?;
                file.write_all(&block(n))?;
            }
            file.rewind()?;
            let mut all = Vec::new();
            file.read_to_end(&mut all)?;
            assert!((0..5).all(|n| all[n * 100_000..][..100_000] == block(n)));
            Ok(all.len().to_string())
        }
        // Opens the file again and again, and closes none.
        "hoard" => {
            let mut open = Vec::new();
            loop {
                match File::open(path) {
                    Ok(file) => open.push(file),
                    Err(error) => return Ok(format!("{} then {error}", open.len())),
                }
            }
        }
        "forever" => loop {
            fs::read(path)?;
        },
        "sync" => {
            let file = OpenOptions::new().write(true).open(path)?;
            let began = Instant::now();
            loop {
                file.sync_all()?;
                std::hint::black_box(began);
            }
        }
        _ => Err(std::io::Error::other(format!("no command {verb:?}"))),
    }
}

/// A `result` of the contract: its tag, then a list or an error.
#[repr(C)]
struct Answer {
    tag: u32,
    list_or_code: usize,
    len_or_text: usize,
    text_len: usize,
}

fn leak(answer: Answer) -> *const Answer {
    Box::leak(Box::new(answer))
}

fn ok(bytes: Vec<u8>) -> *const Answer {
    let bytes = bytes.leak();
    leak(Answer {
        tag: 0,
        list_or_code: bytes.as_ptr() as usize,
        len_or_text: bytes.len(),
        text_len: 0,
    })
}

#[unsafe(export_name = "sochdb:plugin/lifecycle@0.1.0#init")]
extern "C" fn init() -> *const Answer {
    ok(Vec::new())
}

#[unsafe(export_name = "sochdb:plugin/lifecycle@0.1.0#self-test")]
extern "C" fn self_test() -> *const Answer {
    ok(Vec::new())
}

#[unsafe(export_name = "sochdb:plugin/lifecycle@0.1.0#shutdown")]
extern "C" fn shutdown() -> *const Answer {
    ok(Vec::new())
}

#[unsafe(export_name = "sochdb:plugin/codec@0.1.0#compress")]
extern "C" fn compress(at: *const u8, len: usize) -> *const Answer {
    // SAFETY: the host has written `len` bytes at `at`, in memory that `cabi_realloc` gave it.
    let command = unsafe { std::slice::from_raw_parts(at, len) };
    match run(std::str::from_utf8(command).expect("the test writes text")) {
        Ok(text) => ok(text.into_bytes()),
        Err(error) => {
            let text = error.to_string().leak();
            let (len_or_text, text_len) = (text.as_ptr() as usize, text.len());
            leak(Answer { tag: 1, list_or_code: 3, len_or_text, text_len })
        }
    }
}

#[unsafe(export_name = "sochdb:plugin/codec@0.1.0#decompress")]
extern "C" fn decompress(at: *const u8, len: usize, _: u32) -> *const Answer {
    compress(at, len)
}

/// Memory for what the host passes in; never given back, so an instance lives for a few thousand calls.
#[unsafe(export_name = "cabi_realloc")]
extern "C" fn allocate(_: *mut u8, _: usize, align: usize, len: usize) -> *mut u8 {
    let layout =
        std::alloc::Layout::from_size_align(len.max(1), align).expect("as the contract says");
    // SAFETY: the layout has at least one byte.
    unsafe { std::alloc::alloc(layout) }
}
