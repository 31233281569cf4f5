//! Which span, in which trace: two numbers, and their text.
//!
//! | chars | text of `traceparent`, lower case                                                       |
//! |------:|------------------------------------------------------------------------------------------|
//! |     2 | the version: `00`; later ones begin the same way                                         |
//! |    32 | after a `-`: the trace                                                                   |
//! |    16 | after a `-`: the span                                                                    |
//! |     2 | after a `-`: flags; bit 0 says that the span is recorded, and we speak of no others      |
//!
//! Source: W3C Trace Context, level 1.

use std::fmt;

/// Which span, in which trace. Both numbers are random and never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// Shared by everything that one request led to.
    pub trace_id: u128,
    /// One piece of work.
    pub span_id: u64,
}

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:016x}", self.trace_id, self.span_id)
    }
}

impl SpanContext {
    /// Reads the header `traceparent`: the span that a caller is in. `None` when the text makes no sense, and when
    /// it says that the caller's span is not recorded, so that nothing can be part of it.
    ///
    /// ```
    /// use sochdb_telemetry::SpanContext;
    ///
    /// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let caller = SpanContext::parse_traceparent(text).unwrap();
    /// assert_eq!((caller.span_id, caller.to_traceparent()), (0xf067aa0ba902b7, text.to_owned()));
    /// ```
    pub fn parse_traceparent(text: &str) -> Option<SpanContext> {
        let mut parts = text.split('-');
        let mut number = |digits| hex(parts.next()?, digits);
        let (version, trace_id) = (number(2)?, number(32)?);
        let (span_id, flags) = (number(16)? as u64, number(2)?);
        let whole = parts.next().is_none();
        let known = version == 0 && whole || 0 < version && version < 0xff;
        let context = SpanContext { trace_id, span_id };
        (known && trace_id != 0 && span_id != 0 && flags & 1 == 1).then_some(context)
    }

    /// The header `traceparent` for whoever is called from this span.
    pub fn to_traceparent(&self) -> String {
        self.to_string()
    }
}

/// Exactly so many digits of lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && text.len() == digits).then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for SpanContext {
    /// As the header `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{self:?}-01")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn text_of_a_context_reads_as_itself() {
        for (trace_id, span_id) in [(1, 1), (u128::MAX, u64::MAX), (1 << 127, 7), (7, 1 << 63)] {
            let context = SpanContext { trace_id, span_id };
            assert_eq!(context.to_traceparent().len(), TEXT.len());
            assert_eq!(SpanContext::parse_traceparent(&context.to_traceparent()), Some(context));
        }
    }

    #[test]
    fn later_versions_may_say_more() {
        let known = SpanContext::parse_traceparent(TEXT);
        assert!(known.is_some());
        assert_eq!(SpanContext::parse_traceparent(&TEXT.replacen("00", "01", 1)), known);
        assert_eq!(SpanContext::parse_traceparent(&format!("cc{}-what-ever", &TEXT[2..])), known);
        assert_eq!(
            SpanContext::parse_traceparent(&format!("{}ff", &TEXT[..53])),
            known,
            "other flags"
        );
    }

    #[test]
    fn a_caller_that_is_not_recorded_is_no_parent() {
        assert_eq!(SpanContext::parse_traceparent(&format!("{}00", &TEXT[..53])), None);
        assert_eq!(SpanContext::parse_traceparent(&format!("{}fe", &TEXT[..53])), None);
    }

    #[test]
    fn text_that_makes_no_sense_is_refused() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for text in [
            String::new(),
            "-".repeat(55),
            TEXT.to_uppercase(),
            TEXT.replacen("00", "ff", 1),
            TEXT.replacen("00", "+0", 1),
            TEXT.replacen('-', "_", 1),
            TEXT.replacen(trace, &"0".repeat(32), 1),
            TEXT.replacen(span, &"0".repeat(16), 1),
            format!("{TEXT}-"),
            format!("{TEXT}-00"),
            format!("{TEXT} "),
            format!(" {TEXT}"),
            format!("{TEXT}0"),
            format!("01{}0", &TEXT[2..]),
            format!("00-{trace}0-{span}-01"),
            format!("00-{}-{span}-01", &trace[1..]),
            format!("00-{trace}-{}-01", &span[1..]),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-"),
            TEXT.replacen('4', "\u{664}", 1),
        ] {
            assert_eq!(SpanContext::parse_traceparent(&text), None, "{text}");
        }
        for cut in 0..TEXT.len() {
            assert_eq!(SpanContext::parse_traceparent(&TEXT[..cut]), None, "{cut}");
        }
    }
}
