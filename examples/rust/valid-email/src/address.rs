//! What a well-formed e-mail address is, and its one tidy form.
//!
//! The rules are those of the mail addresses that people have: RFC 5321 without quoted names, comments and
//! addresses of machines in brackets. Whether anybody reads the mail, only sending one tells.

/// Bytes of the part before the `@`, of the part behind it, and of one word between its dots; by RFC 5321.
const NAME_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

// ANCHOR: tidy
/// The address without spaces around it, and its domain in lower case, as no mail server tells the cases apart there.
///
/// # Errors
/// Why it is no address.
pub fn tidy(text: &str) -> Result<String, &'static str> {
    let (name, domain) = text.trim().rsplit_once('@').ok_or("it has no @")?;
    let domain = domain.to_lowercase();
    if name.is_empty() || NAME_BYTES_MAX < name.len() {
        return Err("before the @ there is nothing, or too much");
    }
    if !name.split('.').all(is_word) {
        return Err("before the @ there is a character or a dot that does not belong there");
    }
    if DOMAIN_BYTES_MAX < domain.len() || domain.split('.').count() < 2 {
        return Err("behind the @ there is no domain");
    }
    if !domain.split('.').all(is_label) {
        return Err("behind the @ there is a character or a dot that does not belong there");
    }
    Ok(format!("{name}@{domain}"))
}
// ANCHOR_END: tidy

fn is_word(word: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    !word.is_empty() && word.chars().all(belongs)
}

fn is_label(label: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || c == '-';
    let ends = label.starts_with('-') || label.ends_with('-');
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && !ends && label.chars().all(belongs)
}

#[cfg(test)]
mod tests {
    use super::*;

    // ANCHOR: tidy_tests
    #[test]
    fn addresses_are_tidied() {
        for (text, wanted) in [
            ("ada@example.org", "ada@example.org"),
            ("  Ada.Lovelace+mail@Example.ORG\n", "Ada.Lovelace+mail@example.org"),
            ("jürgen@münchen.example", "jürgen@münchen.example"),
        ] {
            assert_eq!(tidy(text).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_told_why() {
        for (text, word) in [
            ("", "no @"),
            ("ada", "no @"),
            ("@example.org", "before"),
            ("ada lovelace@example.org", "before"),
            ("ada..lovelace@example.org", "before"),
            ("ada@@example.org", "before"),
            ("ada@example", "no domain"),
            ("ada@example..org", "behind"),
            ("ada@-example.org", "behind"),
            ("ada@exa mple.org", "behind"),
        ] {
            let why = tidy(text).expect_err(text);
            assert!(why.contains(word), "{text}: {why}");
        }
        assert!(tidy(&format!("{}@example.org", "a".repeat(65))).is_err());
        assert!(tidy(&format!("ada@{}.org", "a".repeat(64))).is_err());
    }
    // ANCHOR_END: tidy_tests
}
