//! Values from outside the data planes: any JSON over HTTP, and Prometheus.

use std::time::Duration;

use model::spec::Provider;
use serde_json::Value;

use crate::{Error, error::Result, http::Http};

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks once; none when there is an answer without a value.
pub async fn ask(http: &Http, provider: &Provider) -> Result<Option<f64>> {
    let (url, pointer) = match provider {
        Provider::Http { url, pointer } => (url.clone(), Some(pointer)),
        Provider::Prometheus { address, query } => {
            (format!("{}/api/v1/query?query={}", address.trim_end_matches('/'), encoded(query)), None)
        }
        Provider::ErrorRate {} | Provider::Latency(_) | Provider::RequestRate {} => {
            return Err(Error::trouble("the data planes are not asked over http"));
        }
    };
    let answer = http.get(&url, &[("accept", "application/json")], PATIENCE).await?;
    let failed = |why: String| Error::Http { url: url.clone(), why };
    if answer.status != 200 {
        return Err(failed(format!("answered {}", answer.status)));
    }
    let document: Value =
        serde_json::from_slice(&answer.body).map_err(|error| failed(format!("is no JSON: {error}")))?;
    match pointer {
        Some(pointer) => match document.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => number(value)
                .map(Some)
                .ok_or_else(|| failed(format!("{pointer} is {value}, which is no number"))),
        },
        None => instant(&document).map_err(failed),
    }
}

/// The first value of an instant query: a vector's first sample, or a scalar.
fn instant(document: &Value) -> std::result::Result<Option<f64>, String> {
    if document["status"] != "success" {
        return Err(format!(
            "the query failed: {}",
            document["error"].as_str().unwrap_or("without a reason")
        ));
    }
    let result = &document["data"]["result"];
    let sample = match document["data"]["resultType"].as_str() {
        Some("vector") => match result.get(0) {
            Some(first) => &first["value"][1],
            None => return Ok(None),
        },
        Some("scalar") => &result[1],
        other => {
            return Err(format!("the query gives a {}, not a vector or scalar", other.unwrap_or("nothing")));
        }
    };
    number(sample).map(Some).ok_or_else(|| format!("{sample} is no number"))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
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

    #[test]
    fn the_first_value_of_a_query_is_read() {
        let vector =
            |result: Value| json!({"status": "success", "data": {"resultType": "vector", "result": result}});

        assert_eq!(instant(&vector(json!([{"value": [1, "0.25"]}, {"value": [1, "9"]}]))), Ok(Some(0.25)));
        assert_eq!(instant(&vector(json!([]))), Ok(None));
        assert_eq!(
            instant(&json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}})),
            Ok(Some(3.0))
        );
        assert!(instant(&json!({"status": "error", "error": "bad"})).unwrap_err().contains("bad"));
        assert!(
            instant(&json!({"status": "success", "data": {"resultType": "matrix", "result": []}})).is_err()
        );
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("sum(rate(x[5m]))/2 > 1"), "sum%28rate%28x%5B5m%5D%29%29%2F2%20%3E%201");
    }
}
