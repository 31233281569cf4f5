//! A codec that does what the standard library does with files, and what it cannot do with a network.
//!
//! To compress is to run one command, such as `write /data/a some text`; the answer is what it printed.

use sochdb_guest::{Codec, Error, ErrorCode, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

struct Files;

impl Codec for Files {
    fn init() -> Result<Self> {
        Ok(Files)
    }

    fn self_test(&mut self) -> Result<()> {
        Ok(())
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        let command = String::from_utf8_lossy(input);
        let answer =
            run(&command).map_err(|error| Error::new(ErrorCode::Denied, error.to_string()))?;
        Ok(answer.into_bytes())
    }

    fn decompress(&mut self, input: &[u8], _raw_bytes: usize) -> Result<Vec<u8>> {
        Ok(input.to_vec())
    }
}

fn run(command: &str) -> io::Result<String> {
    let mut words = command.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (verb, path, rest) = (word(), word(), word());
    let done = match verb {
        "read" => return fs::read_to_string(path),
        "size" => return Ok(fs::metadata(path)?.len().to_string()),
        "modified" => return Ok(format!("{:?}", fs::metadata(path)?.modified()?)),
        "list" => return list(path),
        "large" => return large(path),
        "hoard" => return Ok(hoard(path)),
        "write" => fs::write(path, rest),
        "append" => append(path, rest),
        "truncate" => OpenOptions::new().write(true).open(path)?.set_len(1),
        "mkdir" => fs::create_dir(path),
        "rmdir" => fs::remove_dir(path),
        "remove" => fs::remove_file(path),
        "rename" => fs::rename(path, rest),
        "link" => fs::hard_link(path, rest),
        "connect" => TcpStream::connect(path).map(drop),
        "listen" => TcpListener::bind(path).map(drop),
        "datagram" => UdpSocket::bind(path).map(drop),
        "resolve" => path.to_socket_addrs().map(drop),
        "forever" => loop {
            fs::read(path)?;
        },
        "sync" => {
            let file = OpenOptions::new().write(true).open(path)?;
            loop {
                file.sync_all()?;
            }
        }
        _ => Err(io::Error::other(format!("there is no command {verb:?}"))),
    };
    done.map(|()| String::new())
}

fn list(path: &str) -> io::Result<String> {
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(format!("{names:?}"))
}

fn append(path: &str, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Five times 100 KB from the end to the beginning, and all of it back: seeks and large buffers.
fn large(path: &str) -> io::Result<String> {
    const BLOCK_BYTES: usize = 100_000;
    let block = |digit: usize| vec![b'0' + digit as u8; BLOCK_BYTES];
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    for digit in (0..5).rev() {
        file.seek(SeekFrom::Start((digit * BLOCK_BYTES) as u64))?;
        file.write_all(&block(digit))?;
    }
    file.rewind()?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    assert!((0..5).all(|digit| all[digit * BLOCK_BYTES..][..BLOCK_BYTES] == block(digit)));
    Ok(all.len().to_string())
}

/// Opens the file again and again, and closes none.
fn hoard(path: &str) -> String {
    let mut open = Vec::new();
    loop {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => return format!("{} then {error}", open.len()),
        }
    }
}

sochdb_guest::export!(codec: Files);
