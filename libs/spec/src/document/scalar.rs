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
