//! What may be sent, and where to.
//!
//! An address is accepted only in a form that everybody reads alike: what a policy compares with its prefixes is what
//! the connection goes to.

use super::PostError;
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Bytes of an address.
const URL_BYTES_MAX: usize = 2048;
const HEADERS_MAX: usize = 32;
/// Bytes of the names and values of all headers of one payload.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// What belongs to the connection, and not to the payload.
const OF_THE_HOST: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Where payloads go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The whole address; one queue each.
    pub(super) url: String,
    /// The same without what follows its question mark, which may be a secret.
    pub(super) label: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, PostError> {
        let refuse = |why: &str| {
            let shown: String = url.chars().take(200).flat_map(char::escape_default).collect();
            PostError::Invalid(format!("{shown} cannot be sent to: {why}"))
        };
        if URL_BYTES_MAX < url.len() {
            return Err(refuse(&format!("it is longer than {URL_BYTES_MAX} bytes")));
        }
        let odd = |c: char| !c.is_ascii_graphic() || "\\\"<>^`{|}".contains(c);
        if url.contains(odd) {
            return Err(refuse("it has a character that must be written as % and two digits"));
        }
        if url.contains('#') {
            return Err(refuse("what follows a # is never sent"));
        }
        let uri: Uri = url.parse().map_err(|why| refuse(&format!("{why}")))?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => {
                return Err(refuse(
                    "there is no TLS here; send over http to a collector on this machine that forwards by https",
                ));
            }
            _ => return Err(refuse("it does not begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        let (host, whole) = (authority.host(), authority.as_str());
        if whole.contains('@') {
            return Err(refuse("it has a user name, which belongs into a header"));
        }
        if host.is_empty() || host == "[]" || whole.contains('%') {
            return Err(refuse("it names no host"));
        }
        let port = whole.strip_prefix(host).ok_or_else(|| refuse("it names no host"))?;
        let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse::<u16>().ok());
        if !port.is_empty() && number.is_none_or(|number| number == 0) {
            return Err(refuse("its port is not a number from 1 to 65535"));
        }
        if uri.path().split('/').any(is_dots) {
            return Err(refuse("its path has a part . or .., which not everybody reads alike"));
        }
        let label = format!("http://{}{}", whole.to_ascii_lowercase(), uri.path());
        let url = uri.query().map_or(label.clone(), |query| format!("{label}?{query}"));
        Ok(Target { url, label })
    }
}

/// Whether a part of a path is one or two dots, however they are written.
fn is_dots(part: &str) -> bool {
    let part = part.to_ascii_lowercase().replace("%2e", ".");
    part == "." || part == ".."
}

/// The headers of a payload.
pub(super) fn headers(headers: &[(String, String)]) -> Result<HeaderMap, PostError> {
    if HEADERS_MAX < headers.len() {
        return Err(PostError::Invalid(format!("more than {HEADERS_MAX} headers")));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if HEADER_BYTES_MAX < bytes {
        return Err(PostError::Invalid(format!("headers of more than {HEADER_BYTES_MAX} bytes")));
    }
    let mut checked = HeaderMap::new();
    for (name, value) in headers {
        let refuse = |why| PostError::Invalid(format!("the header {name:?} {why}"));
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refuse("has a name that is none"))?;
        if OF_THE_HOST.contains(&known.as_str()) || known.as_str().starts_with("proxy-") {
            return Err(refuse("belongs to the host"));
        }
        let value = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii());
        let value =
            value.ok_or_else(|| refuse("has a character in its value that no header may have"))?;
        if checked.insert(known, value).is_some() {
            return Err(refuse("is there twice"));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::{Target, headers};
    use crate::PostError;
    use proptest::prelude::*;

    fn url(url: &str) -> Result<String, String> {
        match Target::parse(url) {
            Ok(target) => Ok(target.url),
            Err(PostError::Invalid(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_taken_in_one_form() {
        for (written, read) in [
            ("http://127.0.0.1:4318/v1/metrics", "http://127.0.0.1:4318/v1/metrics"),
            ("http://LocalHost:4318", "http://localhost:4318/"),
            ("HTTP://a/B?c=D", "http://a/B?c=D"),
            ("http://a?b", "http://a/?b"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("http://a.example/x/...y/.z", "http://a.example/x/...y/.z"),
        ] {
            assert_eq!(url(written).as_deref(), Ok(read));
        }
    }

    #[test]
    fn what_follows_the_question_mark_is_not_shown() {
        let target = Target::parse("http://a/b?token=secret").unwrap();
        assert_eq!(target.label, "http://a/b");
    }

    #[test]
    fn addresses_that_make_no_sense_are_refused_with_the_reason() {
        for (written, why) in [
            ("", "empty"),
            ("/v1/metrics", "http://"),
            ("localhost:4318", "http://"),
            ("ftp://a/", "http://"),
            ("https://a/", "no TLS"),
            ("http:///x", ""),
            ("http://:80/", "host"),
            ("http://[]:80/", ""),
            ("http://user@a/", "user name"),
            ("http://user:word@a/", "user name"),
            ("http://a/#b", "#"),
            ("http://a:0/", "port"),
            ("http://a:/", "port"),
            ("http://a:65536/", "port"),
            ("http://a:+1/", ""),
            ("http://a:1:2/", ""),
            ("http://a/ b", "%"),
            ("http://a/\r\nX: y", "%"),
            ("http://a\\b/", "%"),
            ("http://\u{e4}/", "%"),
            ("http://a/v1/../admin", ".."),
            ("http://a/v1/%2E%2e/admin", ".."),
            ("http://a/.", "."),
            ("http://a%2fb/", ""),
        ] {
            let refused = url(written).expect_err(written);
            assert!(refused.contains(why), "{written}: {refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
        assert!(url(&format!("http://a/{}", "x".repeat(3000))).is_err());
    }

    fn header(name: &str, value: &str) -> Result<(), String> {
        let given = [(name.to_owned(), value.to_owned())];
        headers(&given).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_that_could_change_the_request_are_refused() {
        for name in ["Host", "content-length", "Transfer-Encoding", "proxy-authorization", "TE"] {
            assert!(header(name, "x").unwrap_err().contains("belongs to the host"), "{name}");
        }
        for value in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u{7f}", "\u{e4}"] {
            assert!(header("x-a", value).is_err(), "{value:?}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "\u{e4}"] {
            assert!(header(name, "x").is_err(), "{name:?}");
        }
        let twice = ["x-a", "X-A"].map(|name| (name.to_owned(), "1".to_owned()));
        assert!(headers(&twice).unwrap_err().to_string().contains("twice"));
        let many: Vec<_> = (0..33).map(|i| (format!("x-{i}"), String::new())).collect();
        assert!(headers(&many).is_err() && headers(&many[1..]).is_ok());
        assert!(header("x-long", &"x".repeat(9000)).is_err());
        assert_eq!(header("Content-Type", "application/x-protobuf"), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "(http://)?[ -~\\PC]{0,60}") {
            if let Ok(target) = Target::parse(&text) {
                let again = Target::parse(&target.url);
                prop_assert_eq!(again, Ok(target));
            }
        }

        #[test]
        fn any_text_is_a_header_or_refused(name in ".{0,20}", value in ".{0,40}") {
            if header(&name, &value).is_ok() {
                prop_assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']));
            }
        }
    }
}
