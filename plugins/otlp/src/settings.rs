//! The settings, and their checks.
//!
//! `headers` and `resource` are lists as the variables `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`
//! of OpenTelemetry have them: `name=value,name2=value2`, with spaces around either, and with anything else
//! (commas, equals signs, percent signs) as `%` and two hexadecimal digits.

use crate::payload::Protocol;
use sochdb_guest::{Error, Result, config};

/// Headers that say how a payload is sent: they are the host's, and the content's type is ours.
const RESERVED_HEADERS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is sent, where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Without a slash at its end.
    pub endpoint: String,
    /// The encoding.
    pub protocol: Protocol,
    /// Sent with each payload.
    pub headers: Vec<(String, String)>,
    /// Added to what the batch says all of it is about.
    pub resource: Vec<(String, String)>,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether log lines are sent.
    pub logs: bool,
}

impl Settings {
    /// Those of the manifest.
    ///
    /// # Errors
    /// `Invalid` for one that makes no sense.
    pub fn read() -> Result<Settings> {
        Ok(Settings {
            endpoint: endpoint(&config::text("endpoint")?),
            protocol: protocol(&config::text("protocol")?)?,
            headers: headers(&config::text("headers")?)?,
            resource: pairs("resource", &config::text("resource")?)?,
            metrics: config::boolean("metrics")?,
            traces: config::boolean("traces")?,
            logs: config::boolean("logs")?,
        })
    }
}

/// What the paths of the signals are put behind. Whether that makes addresses says the host, which has to send to
/// them.
pub fn endpoint(text: &str) -> String {
    text.trim_end_matches('/').to_owned()
}

/// The encoding by its name in OpenTelemetry.
pub fn protocol(text: &str) -> Result<Protocol> {
    match text {
        "http/protobuf" => Ok(Protocol::Protobuf),
        "http/json" => Ok(Protocol::Json),
        other => Err(Error::invalid(format!(
            "the setting 'protocol' is {other:?}, there are \"http/protobuf\" and \"http/json\""
        ))),
    }
}

/// Headers that HTTP takes, and that are not said otherwise.
pub fn headers(text: &str) -> Result<Vec<(String, String)>> {
    let headers = pairs("headers", text)?;
    for (name, value) in &headers {
        let in_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let refused =
            |why| Err(Error::invalid(format!("the setting 'headers' has {name:?}, {why}")));
        if !name.bytes().all(in_token) {
            return refused("which is no name of a header");
        }
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return refused("which is set for each payload");
        }
        if !value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
            return refused("whose value has characters that no header has");
        }
    }
    Ok(headers)
}

/// Names and values of the setting `key`. Names are different, whatever their case.
pub fn pairs(key: &str, text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::<(String, String)>::new();
    for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        let refused =
            |why| Err(Error::invalid(format!("the setting '{key}' has {element:?}, which {why}")));
        let Some((name, value)) = element.split_once('=') else {
            return refused("is no name=value");
        };
        let (Some(name), Some(value)) = (decode(name.trim()), decode(value.trim())) else {
            return refused("is not encoded as it should be: a percent sign is %25");
        };
        if name.is_empty() {
            return refused("has no name");
        }
        if pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            return refused("is there twice");
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// `text` with each `%` and two hexadecimal digits as the byte they are.
fn decode(text: &str) -> Option<String> {
    let (mut decoded, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(match byte {
            b'%' => (digit()? << 4 | digit()?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_guest::ErrorCode;

    fn list(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("api-key=secret", &[("api-key", "secret")]),
            (" a = 1 ,, b=2=3 ,", &[("a", "1"), ("b", "2=3")]),
            (
                "authorization=Basic%20dXNlcjpwYXNz%3D%2c",
                &[("authorization", "Basic dXNlcjpwYXNz=,")],
            ),
            ("empty=", &[("empty", "")]),
        ] {
            assert_eq!(headers(text).unwrap(), list(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "a",
            "=1",
            "a b=1",
            "ä=1",
            "a=%",
            "a=%2",
            "a=%zz",
            "a=%+1",
            "a=%0A",
            "a=ü",
            "a=%ff",
            "a=1,A=2",
            "Host=x",
            "content-type=text/plain",
            "a=%00",
            "%3A=1",
        ] {
            let refused = headers(text).expect_err(text);
            assert_eq!(refused.code, ErrorCode::Invalid, "{text}");
        }
    }

    #[test]
    fn a_resource_has_any_text() {
        let found = pairs("resource", "service.namespace=shop, team=B%C3%BCcher%2Cb%0A").unwrap();
        assert_eq!(found, list(&[("service.namespace", "shop"), ("team", "Bücher,b\n")]));
    }

    #[test]
    fn slashes_behind_the_endpoint_make_no_empty_part() {
        assert_eq!(endpoint("http://127.0.0.1:4318"), "http://127.0.0.1:4318");
        assert_eq!(endpoint("http://collector/otlp//"), "http://collector/otlp");
    }

    #[test]
    fn protocols_have_the_names_of_opentelemetry() {
        assert_eq!(protocol("http/protobuf"), Ok(Protocol::Protobuf));
        assert_eq!(protocol("http/json"), Ok(Protocol::Json));
        assert!(protocol("grpc").is_err());
    }

    proptest! {
        #[test]
        fn any_text_can_be_encoded(name in "[a-z.]{1,8}", value in any::<String>(), odd in any::<String>()) {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(pairs("resource", &format!("{name}={encoded},")), Ok(vec![(name, value)]));
            // Whatever it is, it is answered.
            let _: Result<_> = headers(&odd);
        }
    }
}
