//! Text of bounded length, so that nothing somebody says can fill memory.

use std::fmt::{self, Write};

/// Bytes kept of one text.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 10;
const ELLIPSIS: char = '…';

/// `value` as text of at most `bytes_max` bytes. Longer text ends early, with an ellipsis.
pub(crate) fn text(value: fmt::Arguments<'_>, bytes_max: usize) -> String {
    let mut clipped = Clipped { text: String::new(), bytes_max, full: false };
    // An error means that there is more than was asked for, or that the value cannot say itself.
    let _ = clipped.write_fmt(value);
    clipped.text
}

/// Cuts `text` to at most `bytes_max` bytes, an ellipsis included.
pub(crate) fn shorten(text: &mut String, bytes_max: usize) {
    if bytes_max < text.len() {
        let end = text.floor_char_boundary(bytes_max.saturating_sub(ELLIPSIS.len_utf8()));
        text.truncate(end);
        text.shrink_to_fit();
        if end + ELLIPSIS.len_utf8() <= bytes_max {
            text.push(ELLIPSIS);
        }
    }
}

struct Clipped {
    text: String,
    bytes_max: usize,
    full: bool,
}

impl Write for Clipped {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.full {
            return Err(fmt::Error);
        }
        let room = self.bytes_max.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        // One byte too many is enough for `shorten` to see that something is missing.
        let end = more.ceil_char_boundary(room + 1);
        self.text.push_str(&more[..end]);
        shorten(&mut self.text, self.bytes_max);
        self.full = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_fits_is_kept() {
        assert_eq!(text(format_args!("{} {:?}", 1, "two"), 7), "1 \"two\"");
        assert_eq!(text(format_args!(""), 0), "");
    }

    #[test]
    fn long_text_ends_with_an_ellipsis() {
        assert_eq!(text(format_args!("{}", "abcdefgh"), 6), "abc…");
        assert_eq!(text(format_args!("abcdef"), 3), "…");
        assert_eq!(text(format_args!("abcdef"), 2), "");
    }

    #[test]
    fn a_value_is_not_asked_on_once_there_is_enough() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again and ")?;
                }
            }
        }
        assert_eq!(text(format_args!("{Endless}"), 14), "again and a…");
    }

    #[test]
    fn a_value_that_does_not_stop_adds_nothing() {
        struct Deaf;
        impl fmt::Display for Deaf {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let _ = f.write_str("0123456789");
                let _ = f.write_str("!");
                Ok(())
            }
        }
        assert_eq!(text(format_args!("{Deaf}"), 8), "01234…");
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_allowed(parts in prop::collection::vec(".{0,9}", 0..5), bytes_max in 0usize..40) {
            let whole = parts.concat();
            let mut cut = whole.clone();
            shorten(&mut cut, bytes_max);
            struct Parts<'a>(&'a [String]);
            impl fmt::Display for Parts<'_> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.iter().try_for_each(|part| f.write_str(part))
                }
            }
            prop_assert_eq!(&text(format_args!("{}", Parts(&parts)), bytes_max), &cut);
            prop_assert!(cut.len() <= bytes_max);
            match cut.strip_suffix(ELLIPSIS) {
                Some(begin) if cut != whole => prop_assert!(whole.starts_with(begin)),
                _ => prop_assert!(cut == whole || cut.is_empty()),
            }
        }
    }
}
