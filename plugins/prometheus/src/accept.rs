//! Which of the two formats a scraper gets: what HTTP's header `Accept` asks for.
//!
//! The header is a list of media ranges, each with parameters and a quality between 0 and 1:
//!
//! ```text
//! application/openmetrics-text;version=1.0.0;q=0.6, text/plain;version=0.0.4;q=0.4, */*;q=0.1
//! ```
//!
//! A format's quality is that of the range that fits it best: type and subtype before `type/*` before `*/*`, and
//! those with a fitting `version` or `charset` before those without. A range with another version or charset
//! does not fit; parameters that we do not know, such as `escaping`, are passed over. The higher quality wins.
//! Between equals it is OpenMetrics, which has more to tell, if it was asked for by name, and otherwise the
//! text format, which everybody reads. So does whoever accepts neither, and a range that is none is passed over.
//!
//! Source: RFC 9110, sections 5.6.6 and 12.5.1.

/// A format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What `accept` asks for.
    pub fn accepted(accept: &str) -> Format {
        let ranges: Vec<_> = split(accept, ',').filter_map(Range::parse).collect();
        let best = |format: Format| {
            let fitting =
                ranges.iter().filter_map(|range| Some((range.fits(format)?, range.quality)));
            fitting.max().unwrap_or((Fit::default(), 0))
        };
        let (text, (fit, openmetrics)) = (best(Format::Text).1, best(Format::OpenMetrics));
        let wanted = text < openmetrics || (text == openmetrics && fit.exact && 0 < openmetrics);
        if wanted { Format::OpenMetrics } else { Format::Text }
    }

    /// The value of HTTP's header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Format::Text => ("text", "plain", "0.0.4"),
            Format::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }
}

/// How well a range fits; the greater, the better.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// It has the subtype.
    exact: bool,
    /// It has the type.
    typed: bool,
    /// How many of its parameters fit.
    parameters: usize,
}

/// One element of the header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, String)>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Range<'a>> {
        let mut parts = split(element, ';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) || (kind == "*" && subtype != "*") {
            return None;
        }
        let mut range = Range { kind, subtype, parameters: Vec::new(), quality: 1000 };
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let value = value_of(value)?;
            match name {
                "q" | "Q" => range.quality = thousandths(&value)?,
                name => range.parameters.push((name, value)),
            }
        }
        Some(range)
    }

    fn fits(&self, format: Format) -> Option<Fit> {
        let (kind, subtype, version) = format.parts();
        let exact = self.subtype.eq_ignore_ascii_case(subtype);
        let typed = self.kind.eq_ignore_ascii_case(kind);
        if !(typed || self.kind == "*") || !(exact || self.subtype == "*") {
            return None;
        }
        let mut parameters = 0;
        for (name, value) in &self.parameters {
            let wanted = match name.to_ascii_lowercase().as_str() {
                "version" => version,
                "charset" => "utf-8",
                _ => continue,
            };
            if !value.eq_ignore_ascii_case(wanted) {
                return None;
            }
            parameters += 1;
        }
        Some(Fit { exact, typed, parameters })
    }
}

/// The parts of `text` between the `separator`s outside quotation marks.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let ends = c == separator && !quoted;
        (quoted, escaped) = match c {
            _ if escaped => (quoted, false),
            '\\' => (quoted, quoted),
            '"' => (!quoted, false),
            _ => (quoted, false),
        };
        ends
    })
}

fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

/// A token as it is, a quoted text without its quotation marks and backslashes.
fn value_of(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return is_token(text).then(|| text.to_owned());
    };
    let (mut value, mut chars) = (String::new(), rest.chars());
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

/// `0.75` is 750: at most three digits after the point, and at most one in all.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let is_number = matches!(whole, "0" | "1") && digits.len() <= 3;
    if !is_number || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{whole}{digits:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Format::{OpenMetrics, Text};
    use proptest::prelude::*;

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        assert_eq!(Format::accepted(accept), expected, "{accept}");
    }

    #[test]
    fn scrapers_get_what_they_ask_for() {
        // What Prometheus sends: version 2 before it knew OpenMetrics 1.0.0, later, and version 3.
        check(
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Text,
        );
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OpenMetrics,
        );
        check("text/plain; version=0.0.4; charset=utf-8", Text);
    }

    #[test]
    fn who_asks_for_nothing_in_particular_gets_text() {
        check("", Text);
        check("*/*", Text);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text);
        check("application/json", Text);
        check("application/openmetrics-text;q=0", Text);
        check("application/openmetrics-text;version=2.0.0", Text);
        check("application/openmetrics-text;charset=latin1", Text);
    }

    #[test]
    fn the_higher_quality_wins() {
        check("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text);
        check("application/openmetrics-text;q=0.501, text/plain;q=0.5", OpenMetrics);
        check("application/openmetrics-text, text/plain", OpenMetrics);
        check("application/*", OpenMetrics);
        check("application/*, text/*", Text);
        check("text/plain;q=0.3, */*;q=0.4", OpenMetrics);
    }

    #[test]
    fn the_range_that_fits_best_has_the_say() {
        check("application/openmetrics-text;q=0, */*", Text);
        check("application/*;q=0.9, application/openmetrics-text;q=0.1, text/plain;q=0.5", Text);
        check(
            "application/openmetrics-text;q=0.1, application/openmetrics-text;version=1.0.0, text/plain;q=0.5",
            OpenMetrics,
        );
        check("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", OpenMetrics);
    }

    #[test]
    fn spelling_is_read_as_http_says() {
        check(
            " Application/OpenMetrics-Text ; VERSION=\"1.0.0\" ; Q=1.000 ,, text/plain",
            OpenMetrics,
        );
        check("text/plain;x=\"a,b;q=0\\\"\";q=0.9, application/openmetrics-text;q=0.8", Text);
    }

    #[test]
    fn what_is_no_media_range_is_passed_over() {
        for broken in [
            "openmetrics",
            "*/openmetrics-text",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=1.001",
            "application/openmetrics-text;q=0.1234",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;version",
            "application/openmetrics-text;version=\"1.0.0",
            "application/openmetrics-text;x=\"1\"2",
            "application/ openmetrics-text",
            "/",
            ";=,\"",
        ] {
            check(broken, Text);
            check(&format!("application/openmetrics-text;q=0.5, {broken}"), OpenMetrics);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(parts in prop::collection::vec(part(), 0..12), odd in any::<String>()) {
            Format::accepted(&parts.concat());
            let format = Format::accepted(&odd);
            prop_assert!(format == Text || odd.contains('/'));
        }
    }

    fn part() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "application",
            "/",
            "openmetrics-text",
            "*",
            ",",
            ";",
            "q=",
            "version=",
            "\"",
            "\\",
            " ",
            "0.5",
            "1",
            "ü",
            "1.0.0",
            "text/plain",
        ])
    }
}
