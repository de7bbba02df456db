//! Spans of time as people write them: `12h`, `90d`, `6w`, `2y`.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

const UNITS: [(char, u32); 4] =
    [('y', 365 * 86_400), ('w', 7 * 86_400), ('d', 86_400), ('h', 3_600)];

/// A span of time, in seconds; a year has 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u32);

impl Span {
    /// A number of days.
    pub(crate) const fn days(days: u32) -> Self {
        Self(days * 86_400)
    }

    /// Reads a number and a unit; at most 100 years.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let digits = text.strip_suffix(unit)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = digits.parse().ok().filter(|n| plain && *n > 0)?;
        number.checked_mul(*seconds).filter(|s| *s <= 100 * 365 * 86_400).map(Self)
    }

    /// A third of it, when a certificate of this validity is renewed before its end.
    pub(crate) fn third(self) -> Self {
        Self(self.0 / 3)
    }

    /// Returns the moment this much after another; the last there is when it is too far away.
    pub(crate) fn after(self, start: Timestamp) -> Timestamp {
        start.checked_add(self.duration()).unwrap_or(Timestamp::MAX)
    }

    /// Returns the moment this much before another.
    pub(crate) fn before(self, end: Timestamp) -> Timestamp {
        end.checked_sub(self.duration()).unwrap_or(Timestamp::MIN)
    }

    fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, seconds): &&(char, u32)| self.0.is_multiple_of(*seconds);
        match UNITS.iter().find(fits) {
            Some((unit, seconds)) => write!(f, "{}{unit}", self.0 / seconds),
            None => write!(f, "{}s", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<u32>) {
        assert_eq!(Span::parse(text).map(|span| span.0), seconds, "{text:?}");
    }

    #[test]
    fn a_number_and_a_unit() {
        check("12h", Some(43_200));
        check("90d", Some(7_776_000));
        check("2w", Some(1_209_600));
        check("100y", Some(3_153_600_000));
        for bad in ["", "d", "0d", "-1d", "+1d", "1.5d", "90", "1m", "101y", "99999999999y", "1é"]
        {
            check(bad, None);
        }
        assert_eq!(Span::parse("365d").map(|s| s.to_string()).as_deref(), Some("1y"));
    }
}
