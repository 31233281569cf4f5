//! Somebody at a port of this machine who takes what is posted and keeps it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One request.
pub struct Got {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    /// The header `name`, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Collector {
    address: SocketAddr,
    got: Arc<parking_lot::Mutex<Vec<Got>>>,
}

impl Collector {
    pub fn new() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<parking_lot::Mutex<Vec<Got>>>::default();
        let keep = got.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let keep = keep.clone();
                std::thread::spawn(move || {
                    while let Some(got) = take(&connection) {
                        keep.lock().push(got);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        if (&connection).write_all(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Collector { address, got }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock())
    }
}

/// The next request, with a body of the length it says.
fn take(mut connection: &TcpStream) -> Option<Got> {
    connection.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let len = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; len];
    connection.read_exact(&mut body).ok()?;
    Some(Got { path, headers, body })
}
