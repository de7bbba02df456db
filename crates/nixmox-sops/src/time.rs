//! Times as Go reads and prints them: RFC 3339 with as many fraction digits as needed.

use zeroize::Zeroizing;

/// Reads RFC 3339 (Go's layout, offset mandatory) and prints it with nanoseconds.
pub(crate) fn rfc3339(text: &str) -> Option<Zeroizing<String>> {
    let mut scan = Scan { rest: text, fixed: true };
    let date = scan.date()?;
    scan.one_of(&['T'])?;
    let (clock, fraction) = scan.clock()?;
    let offset = scan.offset()?;
    scan.rest.is_empty().then(|| print(date, clock, fraction, &offset))
}

/// Reads one of the four layouts that YAML takes for a time.
pub(crate) fn yaml_timestamp(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > 64 || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut scan = Scan { rest: text, fixed: false };
    let date = scan.date()?;
    if scan.rest.is_empty() {
        return Some(print(date, [0; 3], "", "Z"));
    }
    let separator = scan.one_of(&['T', 't', ' '])?;
    let (clock, fraction) = scan.clock()?;
    let offset = if separator == ' ' { "Z".to_owned() } else { scan.offset()? };
    scan.rest.is_empty().then(|| print(date, clock, fraction, &offset))
}

/// Drops the fraction of a printed time, as sops does before it uses `lastmodified`.
pub(crate) fn without_fraction(text: &str) -> String {
    let Some((seconds, rest)) = text.split_once('.') else { return text.to_owned() };
    let offset = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{seconds}{offset}")
}

fn print(date: [i16; 3], clock: [i16; 3], fraction: &str, offset: &str) -> Zeroizing<String> {
    let [year, month, day] = date;
    let [hour, minute, second] = clock;
    let dot = if fraction.is_empty() { "" } else { "." };
    Zeroizing::new(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{offset}"
    ))
}

struct Scan<'a> {
    rest: &'a str,
    /// Whether month, day and clock must have two digits.
    fixed: bool,
}

impl<'a> Scan<'a> {
    fn number(&mut self, least: usize, most: usize) -> Option<i16> {
        let digits = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at_checked(digits).filter(|_| digits >= least)?;
        self.rest = rest;
        number.parse().ok()
    }

    fn two(&mut self) -> Option<i16> {
        self.number(if self.fixed { 2 } else { 1 }, 2)
    }

    fn one_of(&mut self, wanted: &[char]) -> Option<char> {
        let found = self.rest.chars().next().filter(|c| wanted.contains(c))?;
        self.rest = self.rest.get(found.len_utf8()..)?;
        Some(found)
    }

    fn date(&mut self) -> Option<[i16; 3]> {
        let year = self.number(4, 4)?;
        self.one_of(&['-'])?;
        let month = self.two()?;
        self.one_of(&['-'])?;
        let day = self.two()?;
        jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        Some([year, month, day])
    }

    fn clock(&mut self) -> Option<([i16; 3], &'a str)> {
        let hour = self.two()?;
        self.one_of(&[':'])?;
        let minute = self.two()?;
        self.one_of(&[':'])?;
        let second = self.two()?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut fraction = "";
        if self.one_of(&['.', ',']).is_some() {
            let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
            let (found, rest) = self.rest.split_at_checked(digits).filter(|_| digits > 0)?;
            fraction = found.get(..9).unwrap_or(found).trim_end_matches('0');
            self.rest = rest;
        }
        Some(([hour, minute, second], fraction))
    }

    fn offset(&mut self) -> Option<String> {
        let sign = self.one_of(&['Z', '+', '-'])?;
        if sign == 'Z' {
            return Some("Z".to_owned());
        }
        let hours = self.number(2, 2).filter(|h| *h <= 24)?;
        self.one_of(&[':'])?;
        let minutes = self.number(2, 2).filter(|m| *m < 60)?;
        Some(match (hours, minutes) {
            (0, 0) => "Z".to_owned(),
            _ => format!("{sign}{hours:02}:{minutes:02}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(yaml_timestamp(text).as_deref().map(String::as_str), expect);
    }

    #[test]
    fn yaml_has_four_layouts() {
        check("2024-01-02", Some("2024-01-02T00:00:00Z"));
        check("2024-1-2T3:4:5Z", Some("2024-01-02T03:04:05Z"));
        check("2024-01-02 03:04:05", Some("2024-01-02T03:04:05Z"));
        check("2024-01-02t03:04:05.120+05:30", Some("2024-01-02T03:04:05.12+05:30"));
        check("2024-01-02 03:04:05 +02:00", None);
        check("2024-02-30", None);
        check("2024-01-02T03:04:05", None);
    }

    #[test]
    fn rfc3339_is_stricter() {
        assert_eq!(rfc3339("2024-01-02"), None);
        assert_eq!(rfc3339("2024-1-2T03:04:05Z"), None);
        assert_eq!(rfc3339("2024-01-02 03:04:05Z"), None);
        let text = rfc3339("2024-01-02T03:04:05.5+00:00").expect("a time");
        assert_eq!(text.as_str(), "2024-01-02T03:04:05.5Z");
        assert_eq!(without_fraction(&text), "2024-01-02T03:04:05Z");
    }
}
