//! How a string is written: the choice that go-yaml's encoder and libyaml's emitter make together.

use super::resolve::{Plain, plain};

/// How a string is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// Chooses the style of a string.
pub(super) fn style_of(text: &str) -> Style {
    if is_sealed_word(text) || is_name(text) {
        return Style::Plain;
    }
    analyzed(text)
}

fn analyzed(text: &str) -> Style {
    let seen = Seen::of(text);
    if text.contains('\n') {
        let block = !seen.trailing_space && !seen.space_break && !seen.special;
        return if block { Style::Literal } else { Style::Double };
    }
    if !matches!(plain(text), Plain::Str) || is_old(text) {
        return Style::Double;
    }
    let single = !seen.break_space && !seen.space_break && !seen.tab && !seen.special;
    let bare = single && !seen.edge_space && !seen.breaks && !seen.indicators;
    match (bare, single) {
        (true, _) => Style::Plain,
        (false, true) => Style::Single,
        (false, false) => Style::Double,
    }
}

/// Tells a sealed value, which is by far the most common string, without the full analysis.
fn is_sealed_word(text: &str) -> bool {
    // Ranges without branches, over all bytes: the compiler turns that into vectors.
    let fits = |b: u8| {
        let letter = (b | 0x20).wrapping_sub(b'a') < 26;
        let digit = b.wrapping_sub(b'/') < 12;
        let sign =
            (b == b'+') | (b == b',') | (b == b'=') | (b == b'[') | (b == b']') | (b == b'_');
        letter | digit | sign
    };
    text.starts_with("ENC[")
        && text.bytes().fold(true, |all, b| all & fits(b))
        && !text.ends_with(':')
}

/// Tells a usual key or a recipient without the full analysis: a small letter, then small letters, digits, `-` and
/// `_`, and more of them than any word that YAML takes for something else.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    text.len() > 5 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(fits)
}

/// What stands in a string, as libyaml's `analyze_scalar` sees it.
#[derive(Default)]
struct Seen {
    indicators: bool,
    special: bool,
    tab: bool,
    breaks: bool,
    edge_space: bool,
    trailing_space: bool,
    break_space: bool,
    space_break: bool,
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut seen = Self {
            indicators: text.starts_with("---") || text.starts_with("..."),
            ..Self::default()
        };
        let (mut before, mut chars) = (None, text.chars().peekable());
        while let Some(c) = chars.next() {
            let followed = chars.peek().is_none_or(|next| is_blank(*next));
            let preceded = before.is_none_or(is_blank);
            seen.indicators |= match c {
                ':' => followed,
                '#' => preceded,
                '?' | '-' => before.is_none() && followed,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => before.is_none(),
                _ => false,
            };
            seen.tab |= c == '\t';
            seen.special |= c != '\t' && !is_printable(c);
            let edge = before.is_none() || chars.peek().is_none();
            if c == ' ' {
                seen.edge_space |= edge;
                seen.trailing_space |= chars.peek().is_none();
                seen.break_space |= before.is_some_and(is_break);
            } else if is_break(c) {
                seen.breaks = true;
                seen.edge_space |= edge;
                seen.space_break |= before == Some(' ');
            }
            before = Some(c);
        }
        seen
    }
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t') || is_break(c)
}

pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

/// Tells what only YAML 1.1 takes for a truth value or a number to the base of sixty.
fn is_old(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let cased = |word: &str| {
        text == word || text == word.to_ascii_uppercase() || {
            let mut chars = word.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(chars).eq(text.chars())
        }
    };
    text.len() <= 3 && WORDS.into_iter().any(cased) || is_base60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base60(text: &str) -> bool {
    let size = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = size.split(':');
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !digits(first) {
        return false;
    }
    let sixty = |part: &str| match part.as_bytes() {
        [b] => b.is_ascii_digit(),
        [b'0'..=b'5', b] => b.is_ascii_digit(),
        _ => false,
    };
    let Some((last, middle)) =
        parts.collect::<Vec<_>>().split_last().map(|(l, m)| (*l, m.to_vec()))
    else {
        return false;
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.into_iter().all(sixty) && sixty(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, style: Style) {
        assert_eq!(style_of(text), style, "{text:?}");
    }

    #[test]
    fn the_short_way_says_what_the_long_one_does() {
        let letters: Vec<char> = "aefnostyxzENC09:-_,[]=+/# .".chars().collect();
        let mut state = 1_u64;
        let mut short = 0;
        for round in 0..400_000 {
            let mut text = String::from(if round % 2 == 0 { "" } else { "ENC[" });
            for _ in 0..1 + round % 9 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 40).unwrap_or_default() % letters.len();
                text.extend(letters.get(at));
            }
            if is_sealed_word(&text) || is_name(&text) {
                short += 1;
                assert_eq!(analyzed(&text), Style::Plain, "{text:?}");
            }
        }
        assert!(short > 10_000, "{short}");
    }

    #[test]
    fn strings_are_quoted_as_go_yaml_does() {
        check("hello", Style::Plain);
        check("", Style::Double);
        check(" ", Style::Single);
        check("x: y", Style::Single);
        check("x #y", Style::Single);
        check("it's", Style::Plain);
        check("'it", Style::Single);
        check("yes", Style::Double);
        check("Off", Style::Double);
        check("oFF", Style::Plain);
        check("1:30", Style::Double);
        check("1:60:1", Style::Plain);
        check("2024-01-02", Style::Double);
        check("<<", Style::Double);
        check("a\tb", Style::Double);
        check("a\nb", Style::Literal);
        check("a \nb", Style::Double);
        check("a\r\nb", Style::Double);
        check("---x", Style::Single);
        check("😀", Style::Double);
        check("é", Style::Plain);
        check("ENC[AES256_GCM,data:a+/=,iv:b=,tag:c=,type:str]", Style::Plain);
    }
}
