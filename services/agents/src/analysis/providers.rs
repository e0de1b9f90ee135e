//! Values from outside the data planes: any JSON over HTTP, and Prometheus.

use std::time::Duration;

use model::spec::Provider;
use serde_json::Value;

use crate::{Error, context::Engine, error::Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a provider said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A finite number.
    Value(f64),
    /// It answered, and there was no number in it; why, without a word of the answer.
    Nothing(String),
}

/// Asks once. What was answered is never quoted: the address is the spec's choice and the answer is not ours to tell.
pub async fn ask(engine: &Engine, provider: &Provider) -> Result<Said> {
    let (url, pointer) = match provider {
        Provider::Http { url, pointer } => (url.clone(), Some(pointer)),
        Provider::Prometheus { address, query } => {
            (format!("{}/api/v1/query?query={}", address.trim_end_matches('/'), encoded(query)), None)
        }
        Provider::ErrorRate {} | Provider::Latency(_) | Provider::RequestRate {} => {
            return Err(Error::trouble("the data planes are not asked over http"));
        }
    };
    let answer = engine.http.get_named(&url, &[("accept", "application/json")], PATIENCE).await?;
    let failed = |why: String| Error::Http { url: url.clone(), why };
    match answer.status {
        200 => {}
        300..=399 => {
            return Err(failed(format!("answered {}, a redirect, which is not followed", answer.status)));
        }
        status => return Err(failed(format!("answered {status}"))),
    }
    let size = answer.body.len();
    let document: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| failed(format!("answered {size} bytes that are no JSON")))?;
    match pointer {
        Some(pointer) => match document.pointer(pointer) {
            None => Ok(Said::Nothing(format!("nothing stands at {pointer:?}"))),
            Some(value) => {
                number(value).map_err(|kind| failed(format!("{pointer:?} is {kind}, not a number")))
            }
        },
        None => instant(&document).map_err(failed),
    }
}

/// The first value of an instant query: a vector's first sample, a scalar, or a text that is a number.
fn instant(document: &Value) -> std::result::Result<Said, String> {
    if document["status"] != "success" {
        return Err("the query failed, the server says why when it is asked directly".to_owned());
    }
    let result = &document["data"]["result"];
    let sample = match document["data"]["resultType"].as_str() {
        Some("vector") => match result.get(0) {
            Some(first) => &first["value"][1],
            None => return Ok(Said::Nothing("the vector is empty".to_owned())),
        },
        Some("scalar" | "string") => &result[1],
        Some("matrix") => {
            return Err("the query gives a matrix, not a vector or scalar: leave out its range".to_owned());
        }
        Some(_) | None => return Err("the answer is none of an instant query".to_owned()),
    };
    number(sample).map_err(|kind| format!("the sample is {kind}, not a number"))
}

/// A finite number or the lack of one; the error is the kind of what can never be one.
fn number(value: &Value) -> std::result::Result<Said, &'static str> {
    let value = match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => match text.trim().parse() {
            Ok(value) => value,
            Err(_) if text.trim().is_empty() => return Ok(Said::Nothing("the text is empty".to_owned())),
            Err(_) => return Ok(Said::Nothing(format!("a text of {} bytes is no number", text.len()))),
        },
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Null => return Ok(Said::Nothing("the value is null".to_owned())),
        Value::Array(_) => return Err("a list"),
        Value::Object(_) => return Err("an object"),
    };
    Ok(match value.is_finite() {
        true => Said::Value(value),
        false if value.is_nan() => Said::Nothing("the value is NaN".to_owned()),
        false => Said::Nothing("the value is infinite".to_owned()),
    })
}

/// Percent-encoding of a query's value (RFC 3986: everything but unreserved characters).
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vector(result: Value) -> std::result::Result<Said, String> {
        instant(&json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    }

    #[test]
    fn the_first_value_of_a_query_is_read() {
        let of = |kind: &str, result: Value| {
            instant(&json!({"status": "success", "data": {"resultType": kind, "result": result}}))
        };

        assert_eq!(vector(json!([{"value": [1, "0.25"]}, {"value": [1, "9"]}])), Ok(Said::Value(0.25)));
        assert_eq!(of("scalar", json!([1, "3"])), Ok(Said::Value(3.0)));
        assert_eq!(of("string", json!([1, "7.5"])), Ok(Said::Value(7.5)));
        assert!(of("matrix", json!([])).unwrap_err().contains("matrix"));
    }

    #[test]
    fn what_is_no_finite_number_is_no_data() {
        for text in ["NaN", "+Inf", "-Inf", "Inf", "nan", "", "n/a", "twelve", "1e999"] {
            let said = vector(json!([{"value": [1, text]}])).unwrap();
            assert!(matches!(said, Said::Nothing(_)), "{text}: {said:?}");
            let said = number(&json!(text)).unwrap();
            assert!(matches!(said, Said::Nothing(_)), "{text}: {said:?}");
        }
        assert!(matches!(vector(json!([])).unwrap(), Said::Nothing(_)));
        assert!(matches!(number(&Value::Null).unwrap(), Said::Nothing(_)));
    }

    #[test]
    fn nothing_of_a_foreign_answer_is_told() {
        let secret = "s3cret-of-another";
        let told = [
            format!("{:?}", number(&json!(secret))),
            format!("{:?}", number(&json!([secret]))),
            format!("{:?}", number(&json!({secret: secret}))),
            format!("{:?}", instant(&json!({"status": "error", "error": secret}))),
            format!(
                "{:?}",
                instant(&json!({"status": "success", "data": {"resultType": secret, "result": []}}))
            ),
            format!("{:?}", vector(json!([{"value": [1, {secret: 1}]}]))),
        ];

        for told in told {
            assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("sum(rate(x[5m]))/2 > 1"), "sum%28rate%28x%5B5m%5D%29%29%2F2%20%3E%201");
    }
}
