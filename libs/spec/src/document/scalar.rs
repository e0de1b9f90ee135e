//! Plain scalars by YAML 1.2's core schema (section 10.3.2 of its specification): `no`, `on` and `12:30` are text.

use serde_json::Number;

use super::Kind;

/// What an unquoted scalar means.
pub(crate) fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => number(text).unwrap_or_else(|| Kind::Text(text.to_owned())),
    }
}

/// What an unquoted scalar of a Compose file means: numbers are also those of YAML 1.1, such as `0755` and `1_000`, as
/// the library that Compose reads with takes them. `yes` and `12:30` are texts there too.
pub(super) fn compose(text: &str) -> Kind {
    match plain(text) {
        Kind::Text(_) if as_compose(text).is_some() => {
            Kind::Number { number: None, written: text.to_owned() }
        }
        kind => kind,
    }
}

/// How Compose writes out an unquoted number; none when it is no number there. `0755` is 493 and `1.10` is 1.1.
pub(crate) fn as_compose(text: &str) -> Option<String> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let digits = text.replace('_', "");
    let (sign, bare) = match digits.strip_prefix(['-', '+']) {
        Some(bare) if digits.starts_with('-') => ("-", bare),
        Some(bare) => ("", bare),
        None => ("", digits.as_str()),
    };
    let prefixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0", 8)];
    let (bare, radix) = prefixes
        .iter()
        .find_map(|(prefix, radix)| {
            Some((bare.strip_prefix(prefix).filter(|rest| !rest.is_empty())?, *radix))
        })
        .unwrap_or((bare, 10));
    if is_digits(bare, radix) {
        let value = u64::from_str_radix(bare, radix).ok()?;
        return Some(if value == 0 { "0".to_owned() } else { format!("{sign}{value}") });
    }
    let value: f64 = if is_float(&digits) { digits.parse().ok()? } else { return None };
    // As Go's `%v` does: an exponent from 21 digits on, and below a ten-thousandth.
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    Some(if (-4..21).contains(&exponent) { format!("{value}") } else { format!("{value:e}") })
}

/// Whether an unquoted scalar would not be read as text.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    !matches!(plain(text), Kind::Text(_))
}

fn number(text: &str) -> Option<Kind> {
    let number = if is_integer(text) {
        integer(text)
    } else if let Some(digits) = text.strip_prefix("0o").filter(|d| is_digits(d, 8)) {
        u64::from_str_radix(digits, 8).ok().map(Number::from)
    } else if let Some(digits) = text.strip_prefix("0x").filter(|d| is_digits(d, 16)) {
        u64::from_str_radix(digits, 16).ok().map(Number::from)
    } else if is_float(text) {
        text.parse().ok().and_then(Number::from_f64)
    } else if is_beyond(text) {
        None
    } else {
        return None;
    };
    Some(Kind::Number { number, written: text.to_owned() })
}

fn integer(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn is_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

fn is_integer(text: &str) -> bool {
    is_digits(unsigned(text), 10)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let text = unsigned(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let whole = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction, 10),
        Some((digits, fraction)) => is_digits(digits, 10) && (fraction.is_empty() || is_digits(fraction, 10)),
        None => is_digits(mantissa, 10),
    };
    whole && exponent.is_none_or(|digits| is_digits(unsigned(digits), 10))
}

fn is_beyond(text: &str) -> bool {
    matches!(unsigned(text), ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norway_stays_a_country() {
        for text in
            ["no", "NO", "yes", "on", "off", "y", "12:30", "1_000", "0b1", "1.2.3", "-", ".", "e5", "+-1"]
        {
            assert_eq!(plain(text), Kind::Text(text.to_owned()));
        }
    }

    #[test]
    fn compose_reads_the_numbers_of_yaml_1_1_too() {
        for (text, value) in [
            ("0755", "493"),
            ("0o755", "493"),
            ("089", "89"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("-07", "-7"),
            ("+7", "7"),
            ("1.10", "1.1"),
            ("3.0", "3"),
            ("1e3", "1000"),
            ("0", "0"),
        ] {
            assert_eq!(as_compose(text).as_deref(), Some(value), "{text}");
            assert!(matches!(compose(text), Kind::Number { .. }), "{text}");
        }
        for text in ["no", "on", "12:30", "1.2.3", "-", "_1", "v1", "0755x"] {
            assert_eq!(compose(text), Kind::Text(text.to_owned()));
        }
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        let number = |text: &str| match plain(text) {
            Kind::Number { number, .. } => number.map(|n| n.to_string()),
            other => panic!("{text} is {other:?}"),
        };
        for (text, value) in
            [("0", "0"), ("+7", "7"), ("-2", "-2"), ("010", "10"), ("0o17", "15"), ("0xff", "255")]
        {
            assert_eq!(number(text).as_deref(), Some(value));
        }
        for (text, value) in [("1.5", "1.5"), (".5", "0.5"), ("1.", "1.0"), ("1e3", "1000.0")] {
            assert_eq!(number(text).as_deref(), Some(value));
        }
        for beyond in [".nan", "-.inf", "1e999", "99999999999999999999", "0xffffffffffffffffff"] {
            assert_eq!(number(beyond), None);
        }
    }
}
