//! Whether two opinions are the same.

use model::expert::Opinion;
use serde_json::Value;

/// How far two numbers may differ: reading a number back from JSON may change its last bits, and nothing more.
const TOLERANCE: f64 = 1e-9;

/// Everything that is said is the same, and every number but for the last bits of its writing.
pub fn alike(one: &Opinion, other: &Opinion) -> bool {
    match (serde_json::to_value(one), serde_json::to_value(other)) {
        (Ok(one), Ok(other)) => same(&one, &other),
        _ => false,
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion() -> Opinion {
        opinion::weigh(&Default::default(), &[], &Default::default(), &Default::default())
    }

    #[test]
    fn last_bits_are_writing_and_anything_more_is_another_opinion() {
        let mut bits = opinion();
        bits.effective_votes += 1e-13;
        let mut more = opinion();
        more.effective_votes += 1e-3;
        let mut words = opinion();
        words.reason.push('!');

        assert!(alike(&opinion(), &bits));
        assert!(!alike(&opinion(), &more));
        assert!(!alike(&opinion(), &words));
    }
}
