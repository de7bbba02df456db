//! Numbers and truth values as Go reads and prints them.

use zeroize::Zeroizing;

/// Prints the shortest decimal without an exponent: what sops seals and hashes.
pub(crate) fn plain_float(number: f64) -> Zeroizing<String> {
    Zeroizing::new(if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{number}")
    })
}

/// Prints a number as YAML: the shortest form, with an exponent from 1e6 on and below 1e-4.
pub(crate) fn yaml_float(number: f64) -> Zeroizing<String> {
    if number.is_nan() {
        return Zeroizing::new(".nan".to_owned());
    }
    if number.is_infinite() {
        return Zeroizing::new(if number > 0.0 { ".inf" } else { "-.inf" }.to_owned());
    }
    let (mantissa, exponent) = scientific(number);
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Zeroizing::new(format!("{}e{sign}{:02}", *mantissa, exponent.abs()));
    }
    Zeroizing::new(format!("{number}"))
}

/// Prints a number as JSON, with an exponent below 1e-6 and from 1e21 on; `None` for what JSON lacks.
pub(crate) fn json_float(number: f64) -> Option<Zeroizing<String>> {
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let (mantissa, exponent) = scientific(number);
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(Zeroizing::new(format!("{}e{sign}{}", *mantissa, exponent.abs())));
    }
    Some(Zeroizing::new(format!("{number}")))
}

fn scientific(number: f64) -> (Zeroizing<String>, i32) {
    let text = Zeroizing::new(format!("{number:e}"));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (Zeroizing::new(mantissa.to_owned()), exponent.parse().unwrap_or(0))
}

/// Reads what Go's `Atoi` reads.
pub(crate) fn go_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Reads what Go's `ParseFloat` reads: exponents, hexadecimal floats, infinities, digit separators.
pub(crate) fn go_float(text: &str) -> Option<f64> {
    let (sign, size) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    let lower = Zeroizing::new(size.to_ascii_lowercase().replace('_', ""));
    match lower.as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return Some(sign * hex_float(hex)?);
    }
    let digits =
        lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    let number: f64 = lower.parse().ok().filter(|_| digits)?;
    number.is_finite().then_some(sign * number)
}

/// Reads `h.hp±d`; sixteen digits are more than a float can hold, further ones only count as places.
fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once('p')?;
    let mut exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() < 5_000)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 16 {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    exponent -= 4 * i32::try_from(fraction.len()).ok()?;
    let number = value * 2.0_f64.powi(exponent);
    number.is_finite().then_some(number)
}

/// Reads what Go's `ParseBool` reads.
pub(crate) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: f64, plain: &str, yaml: &str, json: &str) {
        assert_eq!(*plain_float(number), plain);
        assert_eq!(*yaml_float(number), yaml);
        assert_eq!(json_float(number).expect("finite").as_str(), json);
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        check(2.75, "2.75", "2.75", "2.75");
        check(1.0, "1", "1", "1");
        check(-0.0, "-0", "-0", "-0");
        check(1e-7, "0.0000001", "1e-07", "1e-7");
        check(100_000.0, "100000", "100000", "100000");
        check(1e6, "1000000", "1e+06", "1000000");
        check(1e21, "1000000000000000000000", "1e+21", "1e+21");
        check(1.5e300, &format!("15{}", "0".repeat(299)), "1.5e+300", "1.5e+300");
    }

    #[test]
    fn go_float_reads_the_odd_spellings() {
        assert_eq!(go_float("0x1p-2"), Some(0.25));
        assert_eq!(go_float("1_000.5"), Some(1000.5));
        assert_eq!(go_float(".5"), Some(0.5));
        assert_eq!(go_float("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(go_float("1e400"), None);
        assert_eq!(go_float(""), None);
        assert_eq!(go_float("0x"), None);
        assert_eq!(go_float("infinite"), None);
    }

    #[test]
    fn go_int_has_no_other_spellings() {
        assert_eq!(go_int("+5"), Some(5));
        assert_eq!(go_int("007"), Some(7));
        assert_eq!(go_int("1_000"), None);
        assert_eq!(go_int("9223372036854775808"), None);
    }
}
