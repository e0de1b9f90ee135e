//! `< 0.05`, `>= 99`, `in 1..5`: when a value is good or bad.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A condition on one number. Not-a-number never holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Condition {
    /// `< x`
    Less(f64),
    /// `<= x`
    AtMost(f64),
    /// `> x`
    Greater(f64),
    /// `>= x`
    AtLeast(f64),
    /// `== x`
    Equal(f64),
    /// `in a..b`, both ends included.
    Within(f64, f64),
}

/// The text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a condition: {why}; write such as \"< 0.05\", \">= 100\", \"== 0\" or \"in 1..5\"")]
pub struct BadCondition {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Condition {
    /// Whether the value satisfies it.
    pub fn holds(&self, value: f64) -> bool {
        match *self {
            Condition::Less(limit) => value < limit,
            Condition::AtMost(limit) => value <= limit,
            Condition::Greater(limit) => value > limit,
            Condition::AtLeast(limit) => value >= limit,
            Condition::Equal(limit) => value == limit,
            Condition::Within(low, high) => (low..=high).contains(&value),
        }
    }

    /// Its ends, low and high; one that is not there is open. Whether an end belongs to the range is not said.
    pub fn range(&self) -> (Option<f64>, Option<f64>) {
        match *self {
            Condition::Less(limit) | Condition::AtMost(limit) => (None, Some(limit)),
            Condition::Greater(limit) | Condition::AtLeast(limit) => (Some(limit), None),
            Condition::Equal(value) => (Some(value), Some(value)),
            Condition::Within(low, high) => (Some(low), Some(high)),
        }
    }
}

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        parse(text).map_err(|why| BadCondition { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Condition, String> {
    let trimmed = text.trim();
    // The longer signs first, so that `<=` is not read as `<`.
    for (sign, make) in [
        ("<=", Condition::AtMost as fn(f64) -> Condition),
        (">=", Condition::AtLeast),
        ("==", Condition::Equal),
        ("<", Condition::Less),
        (">", Condition::Greater),
    ] {
        if let Some(rest) = trimmed.strip_prefix(sign) {
            return Ok(make(number(rest)?));
        }
    }
    let range = trimmed.strip_prefix("in ").ok_or("it begins with none of < <= > >= == in")?;
    let (low, high) = range.split_once("..").ok_or("a range has two ends")?;
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        return Err(format!("the range begins at {low}, after its end at {high}"));
    }
    Ok(Condition::Within(low, high))
}

fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ if text.is_empty() => Err("a number is missing".to_owned()),
        _ => Err(format!("{text:?} is not a finite number")),
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Less(limit) => write!(f, "< {limit}"),
            Condition::AtMost(limit) => write!(f, "<= {limit}"),
            Condition::Greater(limit) => write!(f, "> {limit}"),
            Condition::AtLeast(limit) => write!(f, ">= {limit}"),
            Condition::Equal(limit) => write!(f, "== {limit}"),
            Condition::Within(low, high) => write!(f, "in {low}..{high}"),
        }
    }
}

impl TryFrom<String> for Condition {
    type Error = BadCondition;
    fn try_from(text: String) -> Result<Self, BadCondition> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conditions_read_back_as_written() {
        for text in ["< 0.05", "<= 250", "> 1", ">= 0.99", "== 0", "in 1..5", "in -1.5..-0.5"] {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_cure() {
        for (text, why) in [
            ("", "none of"),
            ("0.05", "none of"),
            ("=> 1", "none of"),
            ("!= 1", "none of"),
            ("< ", "a number is missing"),
            ("< x", "\"x\" is not a finite number"),
            ("< nan", "\"nan\" is not a finite number"),
            ("> inf", "\"inf\" is not a finite number"),
            ("in 5..1", "begins at 5, after its end at 1"),
            ("in 5", "two ends"),
        ] {
            let error = text.parse::<Condition>().unwrap_err().to_string();

            assert!(error.starts_with(&format!("{text:?} is not a condition")), "{error}");
            assert!(error.contains(why) && error.contains("write such as"), "{error}");
        }
    }

    #[test]
    fn borders_belong_to_or_equal_and_to_ranges() {
        let holds = |text: &str, value: f64| text.parse::<Condition>().unwrap().holds(value);

        assert!(!holds("< 1", 1.0) && holds("<= 1", 1.0) && !holds("> 1", 1.0) && holds(">= 1", 1.0));
        assert!(holds("in 1..5", 1.0) && holds("in 1..5", 5.0) && !holds("in 1..5", 5.1));
    }

    #[test]
    fn not_a_number_never_holds() {
        for text in ["< 1", "<= 1", "> 1", ">= 1", "== 1", "in 0..1"] {
            assert!(!text.parse::<Condition>().unwrap().holds(f64::NAN));
        }
    }

    #[test]
    fn it_is_text_in_json() {
        let condition: Condition = serde_json::from_str("\"<  0.05 \"").unwrap();

        assert_eq!(serde_json::to_string(&condition).unwrap(), "\"< 0.05\"");
        assert!(serde_json::from_str::<Condition>("\"0.05\"").is_err());
    }

    proptest! {
        #[test]
        fn any_limit_reads_back_exactly(limit in -1e12..1e12_f64) {
            let condition = Condition::AtMost(limit);

            prop_assert_eq!(condition.to_string().parse::<Condition>().unwrap(), condition);
        }

        #[test]
        fn any_text_is_a_condition_or_refused(text in ".*") {
            let _ = text.parse::<Condition>();
        }
    }
}
