//! A strict reader of both formats, for tests: it knows nothing of how the pages are written.
//!
//! OpenMetrics is read by the rules of its grammar, and by what its text says beside the grammar about names, units,
//! buckets and exemplars; the text format by the same rules as far as it has them.

use crate::accept::Format;
use std::collections::{BTreeMap, BTreeSet};

/// What stands below one `# TYPE`.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    pub name: String,
    pub kind: String,
    pub unit: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    pub exemplar: Option<ReadExemplar>,
}

#[derive(Debug, PartialEq)]
pub struct ReadExemplar {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    pub seconds: f64,
}

/// The families of `page`, or what is wrong with it and where.
pub fn read(page: &str, format: Format) -> Result<Vec<Read>, String> {
    let page = match format {
        Format::Text => page,
        Format::OpenMetrics => page.strip_suffix("# EOF\n").ok_or("it has no end")?,
    };
    let lines = match page.strip_suffix('\n') {
        Some(lines) => lines.split('\n').collect(),
        None if page.is_empty() => Vec::new(),
        None => return Err("the last line has no end".to_owned()),
    };
    let mut families = Vec::<Read>::new();
    for line in lines {
        read_line(&mut families, line, format).map_err(|why| format!("{why}: {line:?}"))?;
    }
    let mut names = BTreeSet::new();
    for family in &families {
        check(family, format, &mut names).map_err(|why| format!("{why}: {family:?}"))?;
    }
    Ok(families)
}

fn read_line(families: &mut Vec<Read>, line: &str, format: Format) -> Result<(), String> {
    let mut rest = Rest(line);
    if !rest.take("# ") {
        let sample = rest.sample(format)?;
        let family = families.last_mut().ok_or("a sample of no family")?;
        family.samples.push(sample);
        return Ok(());
    }
    let keyword = ["TYPE ", "UNIT ", "HELP "].into_iter().find(|keyword| rest.take(keyword));
    let keyword = keyword.ok_or("no keyword")?;
    let name = rest.name(true)?;
    rest.expect(" ")?;
    if families.last().is_none_or(|family| family.name != name) {
        families.push(Read { name, ..Read::default() });
    }
    let family = families.last_mut().expect("at least that one");
    if !family.samples.is_empty() {
        return Err("it comes after samples".to_owned());
    }
    let (field, value) = match keyword {
        "TYPE " => (&mut family.kind, rest.0.to_owned()),
        "UNIT " => (&mut family.unit, rest.name(true)?),
        _ => (&mut family.help, rest.escaped(format == Format::OpenMetrics)?),
    };
    if !field.is_empty() {
        return Err("twice".to_owned());
    }
    *field = value;
    Ok(())
}

fn check(family: &Read, format: Format, names: &mut BTreeSet<String>) -> Result<(), String> {
    let openmetrics = format == Format::OpenMetrics;
    let suffixes: &[&str] = match (family.kind.as_str(), openmetrics) {
        ("counter", true) => &["_total", "_created"],
        ("counter", false) | ("gauge", _) | ("unknown", true) => &[""],
        ("histogram", true) => &["_bucket", "_sum", "_count", "_created"],
        ("histogram", false) => &["_bucket", "_sum", "_count"],
        (kind, _) => return Err(format!("there is no type {kind:?}")),
    };
    for name in suffixes.iter().chain(&[""]).collect::<BTreeSet<_>>() {
        if !names.insert(format!("{}{name}", family.name)) {
            return Err("another family has its name".to_owned());
        }
    }
    if !family.unit.is_empty() && !family.name.ends_with(&format!("_{}", family.unit)) {
        return Err("its unit is not in its name".to_owned());
    }
    let mut series = BTreeSet::new();
    for sample in &family.samples {
        let suffix = sample.name.strip_prefix(&family.name).ok_or("a sample of another family")?;
        if !suffixes.contains(&suffix) {
            return Err("a sample of another family".to_owned());
        }
        if !series.insert((&sample.name, &sample.labels)) {
            return Err("one series twice".to_owned());
        }
        let only_grows = openmetrics && !matches!(suffix, "");
        if only_grows && (sample.value.is_nan() || sample.value < 0.0) {
            return Err("a total that is none".to_owned());
        }
        let may_have = openmetrics && matches!(suffix, "_bucket" | "_total");
        if sample.exemplar.is_some() && !may_have {
            return Err("an exemplar where none may be".to_owned());
        }
    }
    if family.kind == "histogram" { check_histograms(family, openmetrics) } else { Ok(()) }
}

/// Each histogram is a run of samples: buckets that grow, the last of them `+Inf`, then sum and count.
fn check_histograms(family: &Read, openmetrics: bool) -> Result<(), String> {
    let without_le = |sample: &Sample| {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        labels
    };
    let runs = family.samples.chunk_by(|a, b| without_le(a) == without_le(b));
    let mut seen = BTreeSet::new();
    for run in runs {
        if !seen.insert(without_le(&run[0])) {
            return Err("a histogram in pieces".to_owned());
        }
        let (mut above, mut counted, mut is_negative) = (f64::NEG_INFINITY, 0.0, false);
        let (buckets, others): (Vec<_>, Vec<_>) =
            run.iter().partition(|sample| sample.name.ends_with("_bucket"));
        for bucket in buckets {
            let le = bucket.labels.get("le").ok_or("a bucket without a bound")?;
            let bound: f64 = le.parse().map_err(|_| "a bound that is no number")?;
            if openmetrics && !le.contains(['.', 'e', 'I']) {
                return Err(format!("a bound spelt {le}"));
            }
            if bound.is_nan()
                || bound <= above
                || bucket.value < counted
                || bucket.value % 1.0 != 0.0
            {
                return Err("buckets that do not grow".to_owned());
            }
            if let Some(exemplar) = &bucket.exemplar
                && !(above < exemplar.value && exemplar.value <= bound)
            {
                return Err("an exemplar of another bucket".to_owned());
            }
            is_negative |= bound < 0.0;
            (above, counted) = (bound, bucket.value);
        }
        if above != f64::INFINITY {
            return Err("a histogram without its last bucket".to_owned());
        }
        let suffix = |sample: &&Sample| sample.name[family.name.len()..].to_owned();
        let suffixes: Vec<_> = others.iter().map(suffix).collect();
        match suffixes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] if openmetrics => {}
            ["_sum", "_count"] if others[1].value == counted && !(openmetrics && is_negative) => {}
            _ => return Err("sum or count are wrong".to_owned()),
        }
    }
    Ok(())
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) { Ok(()) } else { Err(format!("no {text:?} before {:?}", self.0)) }
    }

    fn name(&mut self, colons: bool) -> Result<String, String> {
        let is_in = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colons);
        let len = self.0.find(|c| !is_in(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(len);
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err(format!("no name before {:?}", self.0));
        }
        self.0 = rest;
        Ok(name.to_owned())
    }

    /// A text up to a quotation mark or the end; quotation marks need a backslash where `quotes` says so.
    fn escaped(&mut self, quotes: bool) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.0.chars();
        loop {
            let rest = chars.as_str();
            match chars.next() {
                None => break,
                Some('"') if quotes => {
                    self.0 = rest;
                    return Ok(text);
                }
                Some('\\') => text.push(match chars.next() {
                    Some('n') => '\n',
                    Some('\\') => '\\',
                    Some('"') if quotes => '"',
                    other => return Err(format!("a backslash before {other:?}")),
                }),
                Some(c) => text.push(c),
            }
        }
        self.0 = "";
        Ok(text)
    }

    fn labels(&mut self) -> Result<BTreeMap<String, String>, String> {
        let mut labels = BTreeMap::new();
        if !self.take("{") {
            return Ok(labels);
        }
        while !self.take("}") {
            if !labels.is_empty() {
                self.expect(",")?;
            }
            let name = self.name(false)?;
            self.expect("=\"")?;
            let value = self.escaped(true)?;
            self.expect("\"")?;
            if labels.insert(name, value).is_some() {
                return Err("one label twice".to_owned());
            }
        }
        Ok(labels)
    }

    fn number(&mut self) -> Result<f64, String> {
        let len = self.0.find(' ').unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
        let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((&unsigned, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let is_real = digits(whole) && digits(fraction) && digits(exponent);
        let is_number =
            is_real && !(whole.is_empty() && fraction.is_empty()) && !exponent.is_empty();
        if !is_number && !matches!(unsigned.as_str(), "inf" | "infinity" | "nan") {
            return Err(format!("{text:?} is no number"));
        }
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    fn sample(&mut self, format: Format) -> Result<Sample, String> {
        let (name, labels) = (self.name(true)?, self.labels()?);
        self.expect(" ")?;
        let value = self.number()?;
        let exemplar = (format == Format::OpenMetrics && self.take(" # ")).then(|| self.exemplar());
        let exemplar = exemplar.transpose()?;
        if !self.0.is_empty() {
            return Err(format!("there is more: {:?}", self.0));
        }
        Ok(Sample { name, labels, value, exemplar })
    }

    fn exemplar(&mut self) -> Result<ReadExemplar, String> {
        let labels = self.labels()?;
        let chars = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
        if 128 < chars.sum::<usize>() {
            return Err("an exemplar's labels are too long".to_owned());
        }
        self.expect(" ")?;
        let value = self.number()?;
        self.expect(" ")?;
        Ok(ReadExemplar { labels, value, seconds: self.number()? })
    }
}
