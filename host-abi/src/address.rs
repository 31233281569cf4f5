//! Addresses that the host sends a plugin's payloads to, as manifests, policies and guests write them.
//!
//! ```text
//!   http://127.0.0.1:4318/v1/metrics      what a guest opens
//!   http://127.0.0.1:4318/                what covers it: the same host and port, and a path that it goes on from
//! ```
//!
//! What can be sent to at all, the outbox says. Of the ways to write it one is an address, so that comparing texts is
//! comparing addresses: `http://`, a host in lower case, its port unless it is 80, and a path of plain parts. No user,
//! no query, no fragment, nothing encoded by `%`, no `.` and `..`. Names are not resolved before they are compared:
//! whoever allows a name trusts those who say where it leads.

use serde::{Serialize, Serializer};
use sochdb_observability::Outbox;
use std::fmt;

/// Bytes of one address.
pub const ADDRESS_BYTES_MAX: usize = 512;

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    text: String,
    /// Where the path begins.
    path_at: usize,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong =
            |why: &str| format!("{text:?} is no address such as http://127.0.0.1:4318/: {why}");
        if ADDRESS_BYTES_MAX < text.len() {
            return Err(format!("an address has at most {ADDRESS_BYTES_MAX} bytes"));
        }
        let read = Outbox::check(text).map_err(|why| wrong(&why.to_string()))?;
        if read != text {
            return Err(wrong(&format!("it is written {read:?}")));
        }
        let rest = text.strip_prefix("http://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let in_authority =
            |c: char| matches!(c, '0'..='9' | 'a'..='z' | '-' | '.' | ':' | '[' | ']');
        if !authority.chars().all(in_authority) {
            return Err(wrong(
                "its host is not written in lower case letters, digits, '-' and '.'",
            ));
        }
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        if !authority.ends_with(']') && (port == "80" || port.starts_with('0')) {
            return Err(wrong("its port begins with 0, or is 80, which is not written"));
        }
        let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        if !path.chars().all(in_path) || path.contains("//") {
            return Err(wrong(
                "its path has more than letters, digits, '-', '.', '_' and '~' in its parts",
            ));
        }
        Ok(Address { text: text.to_owned(), path_at: text.len() - path.len() })
    }

    /// How it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `other` is this address, or goes on from it: this one's path ends in `/`, or `other` goes on with one.
    pub fn covers(&self, other: &Address) -> bool {
        let Some(rest) = other.text.strip_prefix(&self.text) else { return false };
        self.path_at == other.path_at
            && (rest.is_empty() || self.text.ends_with('/') || rest.starts_with('/'))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn an_address_is_written_in_one_way() {
        for good in [
            "http://127.0.0.1:4318/",
            "http://collector/v1/metrics",
            "http://otel.example.org:65535/a-b/c_d.e~f",
            "http://[::1]:4318/",
            "http://[::1]/",
        ] {
            assert_eq!(address(good).as_str(), good);
        }
        for bad in [
            "",
            "http://",
            "http:///",
            "http://host",
            "https://host/",
            "HTTP://host/",
            "file:///etc/passwd",
            "http://Host/",
            "http://user@host/",
            "http://user:pass@host/",
            "http://host:/",
            "http://host:80/",
            "http://host:0/",
            "http://host:04318/",
            "http://host:65536/",
            "http://host:4318:1/",
            "http://host/a?b",
            "http://host/a#b",
            "http://host/a%2fb",
            "http://host/a/../b",
            "http://host/./b",
            "http://host//b",
            "http://host/a b",
            "http://host/a\r\nX: y",
            "http://host\\@evil/",
            "http://[::1/",
            "http://[::1]4318/",
            "http://[::1]:/",
            "http://hö/",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(Address::parse("https://host/").unwrap_err().contains("TLS"));
        assert!(Address::parse(&format!("http://host/{}", "a".repeat(600))).is_err());
    }

    #[test]
    fn an_address_covers_what_goes_on_from_it_and_nothing_else() {
        let covers = |a: &str, b: &str| address(a).covers(&address(b));
        assert!(covers("http://h:4318/", "http://h:4318/"));
        assert!(covers("http://h:4318/", "http://h:4318/v1/metrics"));
        assert!(covers("http://h/v1", "http://h/v1/metrics"));
        assert!(!covers("http://h/v1", "http://h/v10"));
        assert!(!covers("http://h/v1/", "http://h/v1"));
        assert!(!covers("http://h/", "http://h.evil/"));
        assert!(!covers("http://h/", "http://h:4318/"));
        assert!(!covers("http://h:43/", "http://h:4318/"));
        assert!(!covers("http://h/v1/metrics", "http://h/"));
    }
}
