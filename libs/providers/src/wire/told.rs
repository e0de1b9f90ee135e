//! What an error is, from all that vendors tell: the status, and a type, a code and a message in the body.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::text;
use crate::{
    failure::{Class, Failure},
    wait,
};

/// Words by which a prompt that is too long is known where no code says so.
const TOO_LONG: [&str; 8] = [
    "context_length_exceeded",
    "maximum context length",
    "prompt is too long",
    "exceeds the context window",
    "context window exceeds",
    "input token count",
    "exceeds the maximum number of tokens",
    "exceed context limit",
];

/// Words for credit or a quota that does not come back while we wait.
const USED_UP: [&str; 9] = [
    "insufficient_quota",
    "credit_balance",
    "credit balance",
    "billing_error",
    "spend_limit",
    "spending limit",
    "insufficient balance",
    "insufficient_credits",
    "payment_required",
];

/// Words for a filter.
const FILTERED: [&str; 6] =
    ["content_policy", "content_filter", "content-filter", "moderation", "guardrail", "bio_policy"];

/// The failure behind an answer with this status.
pub(super) fn failure(status: u16, headers: &HeaderMap, body: &Value) -> Failure {
    let told = Told::of(body);
    let mut failure = Failure::new(told.class(Some(status)), told.message);
    failure.wait = wait::asked(headers, body);
    failure.retry = wait::should_retry(headers);
    // OpenRouter's 402 is a passing one when our own requests in flight hold the credit.
    if status == 402 && told.words.contains("in_flight_budget") && failure.wait.is_some() {
        failure.class = Class::RateLimited;
    }
    failure
}

/// The failure behind an error that came with status 200, whole or in the middle of a stream.
pub(super) fn within(body: &Value) -> Failure {
    let told = Told::of(body);
    let status = told.status();
    let mut failure = Failure::new(told.class(status), told.message);
    failure.http = status;
    failure.wait = wait::asked(&HeaderMap::new(), body);
    failure
}

struct Told<'a> {
    /// Type, code, status and details in small letters.
    words: String,
    code: Option<u16>,
    message: &'a str,
}

impl<'a> Told<'a> {
    fn of(body: &'a Value) -> Told<'a> {
        // Gemini's streams put the error into an array.
        let body = body.get(0).unwrap_or(body);
        // Ollama's error is a text, OpenAI's stream error stands without a wrapper.
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let message = error.as_str().unwrap_or_else(|| text(error, "/message"));
        let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let mut words = String::new();
        for part in ["/type", "/code", "/status"] {
            words.push_str(text(error, part));
            words.push(' ');
        }
        for part in ["/metadata", "/details"] {
            if let Some(part) = error.pointer(part) {
                words.push_str(&part.to_string());
                words.push(' ');
            }
        }
        words.make_ascii_lowercase();
        Told { words, code, message }
    }

    /// The status that belongs to an error without one.
    fn status(&self) -> Option<u16> {
        if let Some(code) = self.code {
            return Some(code);
        }
        let statuses = [
            ("overloaded", 529),
            ("rate_limit", 429),
            ("resource_exhausted", 429),
            ("authentication", 401),
            ("permission", 403),
            ("not_found", 404),
            ("timeout", 504),
            ("deadline_exceeded", 504),
            ("unavailable", 503),
            ("invalid_request", 400),
            ("invalid_argument", 400),
            ("invalid_prompt", 400),
        ];
        statuses.iter().find(|(word, _)| self.words.contains(word)).map(|(_, status)| *status)
    }

    fn class(&self, status: Option<u16>) -> Class {
        let message = self.message.to_ascii_lowercase();
        let says =
            |words: &[&str]| words.iter().any(|word| self.words.contains(word) || message.contains(word));
        let status = status.unwrap_or(500);
        // A server's own trouble is no matter of the words in its page.
        if status < 500 && says(&TOO_LONG) {
            return Class::ContextTooLong;
        }
        if says(&USED_UP) || (status == 429 && self.words.contains("perday")) {
            return Class::Quota;
        }
        if matches!(status, 400 | 403) && says(&FILTERED) {
            return Class::Blocked;
        }
        match status {
            401 | 403 => Class::Auth,
            402 => Class::Quota,
            404 => Class::NotFound,
            413 => Class::ContextTooLong,
            429 => Class::RateLimited,
            503 | 529 => Class::Overloaded,
            // A conflict passes (Anthropic's own client asks again).
            408 | 409 | 499 => Class::Upstream,
            500.. if self.words.contains("overloaded") => Class::Overloaded,
            500.. => Class::Upstream,
            _ => Class::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_vendors_errors_fall_into_their_class() {
        let openai = |kind: &str, code: &str, message: &str| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        let anthropic =
            |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
        let per_day = json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
             "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}});
        let router = |code: u16, kind: &str| json!({"error": {"code": code, "message": "m", "metadata": {"error_type": kind}}});
        let cases = [
            (401, openai("invalid_request_error", "invalid_api_key", "Incorrect API key"), Class::Auth),
            (429, openai("rate_limit_error", "slow_down", "slow down"), Class::RateLimited),
            (429, openai("insufficient_quota", "credit_balance_exhausted", "You exceeded"), Class::Quota),
            (
                400,
                openai("invalid_request_error", "context_length_exceeded", "too long"),
                Class::ContextTooLong,
            ),
            (400, openai("invalid_request_error", "unsupported_value", "temperature"), Class::BadRequest),
            (404, openai("invalid_request_error", "model_not_found", "no model"), Class::NotFound),
            (503, openai("service_unavailable_error", "server_is_overloaded", "busy"), Class::Overloaded),
            (
                400,
                anthropic("invalid_request_error", "prompt is too long: 9 tokens > 5 maximum"),
                Class::ContextTooLong,
            ),
            (400, anthropic("invalid_request_error", "Your credit balance is too low"), Class::Quota),
            (402, anthropic("billing_error", "pay"), Class::Quota),
            (413, anthropic("request_too_large", "32 MB"), Class::ContextTooLong),
            (
                429,
                json!({"error": {"type": "rate_limit_error", "message": "m",
                "details": {"error_code": "enforced_spend_limit_reached"}}}),
                Class::Quota,
            ),
            (500, anthropic("api_error", "oops"), Class::Upstream),
            (529, anthropic("overloaded_error", "Overloaded"), Class::Overloaded),
            (429, per_day, Class::Quota),
            (
                403,
                json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "m"}}),
                Class::Auth,
            ),
            (403, router(403, "content_policy_violation"), Class::Blocked),
            (502, router(502, "provider_unavailable"), Class::Upstream),
            (524, router(524, "timeout"), Class::Upstream),
            (404, json!({"error": "model 'x' not found"}), Class::NotFound),
            (
                503,
                json!({"error": "server busy, please try again.  maximum pending requests exceeded"}),
                Class::Overloaded,
            ),
            (500, Value::Null, Class::Upstream),
            (418, json!("teapot"), Class::BadRequest),
        ];

        for (status, body, class) in cases {
            assert_eq!(failure(status, &HeaderMap::new(), &body).class, class, "{status} {body}");
        }
    }

    #[test]
    fn an_error_within_a_200_is_classed_by_its_own_words() {
        let overloaded =
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        let router = json!({"error": {"code": 502, "message": "upstream"}});
        let bare = json!({"type": "error", "code": "rate_limit_exceeded", "message": "Try again in 2s", "param": null});

        assert_eq!(within(&overloaded).class, Class::Overloaded);
        assert_eq!(within(&router).class, Class::Upstream);
        assert_eq!(within(&json!({"error": "out of memory"})).class, Class::Upstream);
        let limited = within(&bare);
        assert_eq!(
            (limited.class, limited.wait),
            (Class::RateLimited, Some(std::time::Duration::from_secs(2)))
        );
    }
}
