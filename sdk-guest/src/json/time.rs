//! Moments as text: microseconds since 1970 to RFC 3339, and back.
//!
//! Days are counted in the proleptic Gregorian calendar, from 1 March on, so that the odd day is a year's last.
//!
//! Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// Digits of a fraction that count; what follows is cut.
const FRACTION_DIGITS: usize = 6;

/// `us` in UTC, such as `2023-11-14T22:13:20.123456Z`; `None` outside of the years 0 to 9999, which is all that
/// RFC 3339 can say.
pub(super) fn to_text(us: i64) -> Option<String> {
    let (seconds, fraction) = (us.div_euclid(US_PER_SECOND), us.rem_euclid(US_PER_SECOND));
    let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = date(days);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match fraction {
        0 => String::new(),
        us => format!(".{us:06}").trim_end_matches('0').to_owned(),
    };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// The moment that an RFC 3339 text says; `None` when it is none.
pub(super) fn of_text(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = after(&mut rest, &['-']).and_then(|()| digits(&mut rest, 2))?;
    let day = after(&mut rest, &['-']).and_then(|()| digits(&mut rest, 2))?;
    let hour = after(&mut rest, &['T', 't', ' ']).and_then(|()| digits(&mut rest, 2))?;
    let minute = after(&mut rest, &[':']).and_then(|()| digits(&mut rest, 2))?;
    let second = after(&mut rest, &[':']).and_then(|()| digits(&mut rest, 2))?;
    let fraction = match after(&mut rest, &['.']) {
        Some(()) => fraction(&mut rest)?,
        None => 0,
    };
    let offset = offset(rest)?;
    let days = days(year, month, day);
    // A leap second is the last one of its minute; what comes back another day was none.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if !is_time || date(days) != (year, month, day) {
        return None;
    }
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second.min(59) - offset;
    Some(seconds * US_PER_SECOND + fraction)
}

/// Takes one of `wanted` from the front.
fn after(rest: &mut &str, wanted: &[char]) -> Option<()> {
    *rest = rest.strip_prefix(wanted)?;
    Some(())
}

/// Takes exactly `count` digits from the front.
fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let (number, left) = rest.split_at_checked(count)?;
    *rest = left;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

/// Takes the digits behind a point, in microseconds.
fn fraction(rest: &mut &str) -> Option<i64> {
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, left) = rest.split_at(count);
    *rest = left;
    let number = &number[..count.min(FRACTION_DIGITS)];
    format!("{number:0<FRACTION_DIGITS$}").parse().ok().filter(|_| 0 < count)
}

/// The seconds by which `Z`, `+02:00` or the like is ahead of UTC.
fn offset(mut rest: &str) -> Option<i64> {
    if rest.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    after(&mut rest, &['+', '-'])?;
    let hours = digits(&mut rest, 2)?;
    let minutes = after(&mut rest, &[':']).and_then(|()| digits(&mut rest, 2))?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Year, month and day of a day since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970; of a date that there is not, some other one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if 2 < month { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_said_in_utc_and_read_with_any_offset() {
        assert_eq!(to_text(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(to_text(-1).as_deref(), Some("1969-12-31T23:59:59.999999Z"));
        assert_eq!(to_text(1_709_164_800_500_000).as_deref(), Some("2024-02-29T00:00:00.5Z"));
        assert_eq!(to_text(i64::MAX), None);
        for text in [
            "2023-11-14T22:13:20Z",
            "2023-11-14t22:13:20z",
            "2023-11-15T00:13:20+02:00",
            "2023-11-14 17:43:20.0000009-04:30",
        ] {
            assert_eq!(of_text(text), Some(1_700_000_000_000_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T24:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-13-01T22:13:20Z",
            "2023-00-01T22:13:20Z",
            "2023-11-14T22:13:20Z ",
            "2023-11-14T22:13:20+2:00",
            "2023-11-14T22:13:20+99:00",
            "+023-11-14T22:13:20Z",
            "2023-11-1éT22:13:20Z",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn another_implementation_agrees(us in -62_167_219_200_000_000..253_370_764_800_000_000_i64) {
            let theirs = jiff::Timestamp::from_microsecond(us).unwrap().to_string();
            prop_assert_eq!(to_text(us), Some(theirs.clone()));
            prop_assert_eq!(of_text(&theirs), Some(us));
        }
    }
}
