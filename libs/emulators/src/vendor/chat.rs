//! Chat Completions as OpenAI, DeepSeek, OpenRouter and Ollama's OpenAI layer speak it.

use serde_json::{Value, json};

use super::{
    Call, Counted, Data, Ending, Event, Format, Question, Say, Wrong, key, message_of, messages, not_strict,
    novelty, pieces, required, status_of, unknown,
};
use crate::scenario::Vendor;

pub(super) struct Chat(pub Vendor);

const OPENAI_FIELDS: [&str; 34] = [
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "n",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "service_tier",
    "store",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "modalities",
    "audio",
    "prediction",
    "user",
    "web_search_options",
    "functions",
];

/// OpenAI's newest models take these at their defaults only.
const SAMPLING: [(&str, f64); 4] =
    [("temperature", 1.0), ("top_p", 1.0), ("frequency_penalty", 0.0), ("presence_penalty", 0.0)];

/// Where the schema of the answer stands.
const SCHEMA: &str = "/response_format/json_schema/schema";

fn refuse<T>(name: &str, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Parameter { name: name.into(), message: message.into() })
}

/// What OpenAI refuses that others overlook.
fn only_known_fields(body: &Value, model: &str) -> Result<(), Wrong> {
    if let Some(name) = unknown(body, &OPENAI_FIELDS) {
        return refuse(name, format!("Unknown parameter: '{name}'."));
    }
    if !reasons(model) {
        return Ok(());
    }
    if body.get("max_tokens").is_some() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                       'max_completion_tokens' instead.";
        return refuse("max_tokens", message);
    }
    for (name, only) in SAMPLING {
        if body.get(name).and_then(Value::as_f64).is_some_and(|value| value != only) {
            return refuse(
                name,
                format!("Unsupported value: '{name}' does not support other than the default."),
            );
        }
    }
    Ok(())
}

impl Chat {
    /// Whether the vendor gives the form of answer that is asked for with this prompt.
    fn form(&self, body: &Value, prompt: &str) -> Result<(), Wrong> {
        let format = body.pointer("/response_format/type").and_then(Value::as_str).unwrap_or("text");
        match (self.0, format) {
            (Vendor::Deepseek, "json_schema") => {
                refuse("response_format", "This response_format type is unavailable now")
            }
            (Vendor::Deepseek | Vendor::Openai, "json_object")
                if !prompt.to_ascii_lowercase().contains("json") =>
            {
                let message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type \
                               'json_object'.";
                refuse("messages", message)
            }
            (Vendor::Openai | Vendor::Openrouter, "json_schema") => {
                let name = body.pointer("/response_format/json_schema/name").and_then(Value::as_str);
                let Some(name) = name else {
                    return refuse("response_format.json_schema.name", "Missing required parameter.");
                };
                let strict = body.pointer("/response_format/json_schema/strict") == Some(&Value::Bool(true));
                match body.pointer(SCHEMA).filter(|_| strict).and_then(not_strict) {
                    Some(why) => refuse(
                        "response_format",
                        format!("Invalid schema for response_format '{name}': {why}"),
                    ),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Format for Chat {
    fn read(&self, call: &Call) -> Result<Question, Wrong> {
        if self.0 != Vendor::Ollama && !key(call, "authorization") {
            return Err(Wrong::Key);
        }
        let body = &call.body;
        let model = required(body, "model")?;
        if body.get("messages").and_then(Value::as_array).is_none_or(|all| all.is_empty()) {
            return refuse("messages", "Missing required parameter: 'messages'.");
        }
        if self.0 == Vendor::Openai {
            only_known_fields(body, &model)?;
        }
        let system = messages(body, &["system", "developer"]);
        let user = messages(body, &["user"]);
        self.form(body, &format!("{system}{user}"))?;
        Ok(Question {
            model,
            system,
            user,
            stream: body.get("stream") == Some(&Value::Bool(true)),
            schema: body.pointer(SCHEMA).cloned(),
            counts: body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
            array: false,
            keep: match self.0 {
                Vendor::Openai => body.get("prompt_cache_key").is_some(),
                Vendor::Openrouter => body.to_string().contains("\"cache_control\""),
                Vendor::Deepseek => true,
                Vendor::Anthropic | Vendor::Gemini | Vendor::Ollama => false,
            },
        })
    }

    fn whole(&self, _: &Question, say: &Say) -> Value {
        let refused = say.ending == Ending::Refused;
        let content = match (refused, say.parts) {
            (true, _) => Value::Null,
            (false, false) => say.text.clone().into(),
            (false, true) => {
                let thought =
                    json!({"type": "thinking", "thinking": [{"type": "text", "text": "{Let} me see…"}]});
                let text = pieces(&say.text).into_iter().map(|text| json!({"type": "text", "text": text}));
                [thought].into_iter().chain(text).collect()
            }
        };
        let mut message = json!({"role": "assistant", "content": content});
        if self.0 == Vendor::Openai {
            message["refusal"] = if refused { say.text.clone().into() } else { Value::Null };
            message["annotations"] = json!([]);
        } else if refused {
            message["refusal"] = say.text.clone().into();
        }
        if say.thinking {
            message[self.thoughts()] = "Let me see…".into();
        }
        let mut choice =
            json!({"index": 0, "message": message, "finish_reason": self.reason(say), "logprobs": null});
        if self.0 == Vendor::Openrouter {
            choice["native_finish_reason"] = self.reason(say).into();
        }
        let mut body = self.head(say, "chat.completion");
        body["choices"] = json!([choice]);
        if let Some(usage) = self.usage(say) {
            body["usage"] = usage;
        }
        body
    }

    fn events(&self, question: &Question, say: &Say) -> Vec<Event> {
        let chunk = |choices: Value| {
            let mut body = self.head(say, "chat.completion.chunk");
            body["choices"] = choices;
            if question.counts {
                body["usage"] = Value::Null;
            }
            body
        };
        let delta = |delta: Value, reason: Value| {
            chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]))
        };
        let mut first = json!({"role": "assistant", "content": ""});
        if self.0 == Vendor::Openai {
            first["refusal"] = Value::Null;
        }
        let mut events = vec![delta(first, Value::Null)];
        if say.thinking {
            events.push(delta(json!({ self.thoughts(): "Let me see…" }), Value::Null));
        }
        if say.novelties {
            events.push(chunk(json!([])));
        }
        let field = if say.ending == Ending::Refused { "refusal" } else { "content" };
        let in_parts = say.parts && field == "content";
        events.extend(pieces(&say.text).into_iter().map(|text| {
            let content = if in_parts { json!([{"type": "text", "text": text}]) } else { text.into() };
            delta(json!({ field: content }), Value::Null)
        }));
        events.push(delta(json!({}), self.reason(say).into()));
        if question.counts
            && let Some(usage) = self.usage(say)
        {
            let mut last = self.head(say, "chat.completion.chunk");
            last["choices"] = json!([]);
            last["usage"] = usage;
            events.push(last);
        }
        let mut events: Vec<Event> = events.into_iter().map(|data| Event::new("", data)).collect();
        events.push(Event { name: "", data: Data::Done });
        events
    }

    fn error(&self, wrong: &Wrong, number: usize) -> (u16, Value) {
        match self.0 {
            Vendor::Openrouter => router_error(wrong, number),
            Vendor::Deepseek => {
                let status = status_of(wrong);
                let kind = match status {
                    401 => "authentication_error",
                    400 | 422 => "invalid_request_error",
                    _ => "unknown_error",
                };
                let message = match wrong {
                    Wrong::Quota => "Insufficient Balance".into(),
                    other => message_of(other),
                };
                let code = if status == 401 { "invalid_request_error" } else { kind };
                (status, json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
            }
            Vendor::Ollama => {
                let status = status_of(wrong);
                let kind = match status {
                    404 => "not_found_error",
                    400..500 => "invalid_request_error",
                    _ => "api_error",
                };
                (
                    status,
                    json!({"error": {"message": message_of(wrong), "type": kind, "param": null, "code": null}}),
                )
            }
            Vendor::Openai | Vendor::Anthropic | Vendor::Gemini => openai_error(wrong),
        }
    }

    fn broken(&self, number: usize) -> Event {
        let mut error = match self.0 {
            Vendor::Openrouter => router_error(&Wrong::Status(502), number).1,
            _ => json!({"error": {"message": "The server had an error while processing your request.",
                "type": "server_error", "param": null, "code": null}}),
        };
        if self.0 == Vendor::Openrouter {
            error["id"] = format!("gen-{number:012}").into();
            error["object"] = "chat.completion.chunk".into();
            error["created"] = crate::limits::created().into();
            error["model"] = "unknown".into();
            error["choices"] = json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]);
        }
        Event::new("", error)
    }

    fn alive(&self) -> &'static str {
        match self.0 {
            Vendor::Openrouter => ": OPENROUTER PROCESSING\n\n",
            _ => ": keep-alive\n\n",
        }
    }
}

/// GPT-6 and the o-series.
fn reasons(model: &str) -> bool {
    let mut chars = model.chars();
    model.starts_with("gpt-6")
        || (chars.next() == Some('o') && chars.next().is_some_and(|c| c.is_ascii_digit()))
}

impl Chat {
    fn thoughts(&self) -> &'static str {
        if self.0 == Vendor::Deepseek { "reasoning_content" } else { "reasoning" }
    }

    fn reason(&self, say: &Say) -> &'static str {
        match say.ending {
            Ending::Complete | Ending::Refused => "stop",
            Ending::Length => "length",
            Ending::Filtered => "content_filter",
        }
    }

    fn head(&self, say: &Say, object: &str) -> Value {
        let id = match self.0 {
            Vendor::Openrouter => format!("gen-{:012}", say.number),
            Vendor::Ollama => format!("chatcmpl-{}", say.number),
            _ => format!("chatcmpl-{:012}", say.number),
        };
        let mut head = json!({
            "id": id, "object": object, "created": say.created, "model": say.model, "choices": [],
            "system_fingerprint": if self.0 == Vendor::Ollama { "fp_ollama" } else { "fp_played" },
        });
        match self.0 {
            Vendor::Openai => head["service_tier"] = "default".into(),
            Vendor::Openrouter => head["provider"] = "Played".into(),
            _ => {}
        }
        if say.novelties {
            head["novelty"] = novelty();
        }
        head
    }

    fn usage(&self, say: &Say) -> Option<Value> {
        let Counted { input, cached, output, .. } = say.tokens?;
        let mut usage =
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
        if self.0 == Vendor::Deepseek {
            usage["prompt_cache_hit_tokens"] = cached.into();
            usage["prompt_cache_miss_tokens"] = (input - cached).into();
        }
        if self.0 != Vendor::Ollama {
            usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
            usage["completion_tokens_details"] = json!({"reasoning_tokens": 0});
        }
        if self.0 == Vendor::Openrouter {
            usage["cost"] = json!(0.0001);
            usage["is_byok"] = false.into();
        }
        Some(usage)
    }
}

pub(super) fn openai_error(wrong: &Wrong) -> (u16, Value) {
    let status = match wrong {
        Wrong::Quota => 429,
        Wrong::Moderated => 400,
        other => status_of(other),
    };
    let (kind, code, param) = match wrong {
        Wrong::Key => ("invalid_request_error", Some("invalid_api_key"), None),
        Wrong::Moderated => ("invalid_request_error", Some("content_policy_violation"), None),
        Wrong::Quota => ("insufficient_quota", Some("credit_balance_exhausted"), None),
        Wrong::Limited { .. } => ("requests", Some("rate_limit_exceeded"), None),
        Wrong::SlowDown => ("rate_limit_error", Some("slow_down"), None),
        Wrong::NoModel(_) => ("invalid_request_error", Some("model_not_found"), None),
        Wrong::TooLong => ("invalid_request_error", Some("context_length_exceeded"), Some("messages")),
        Wrong::Parameter { name, message } => {
            let value = message.starts_with("Unsupported value");
            let code = if value { "unsupported_value" } else { "unsupported_parameter" };
            ("invalid_request_error", Some(code), Some(name.as_str()))
        }
        Wrong::TooLarge => ("invalid_request_error", None, None),
        Wrong::Overloaded => ("service_unavailable_error", Some("server_is_overloaded"), None),
        Wrong::Status(_) => ("server_error", None, None),
    };
    (status, json!({"error": {"message": message_of(wrong), "type": kind, "param": param, "code": code}}))
}

fn router_error(wrong: &Wrong, number: usize) -> (u16, Value) {
    let status = status_of(wrong);
    let kind = match wrong {
        Wrong::Key => "unauthorized",
        Wrong::Moderated => "content_policy_violation",
        Wrong::Quota => "payment_required",
        Wrong::Limited { .. } | Wrong::SlowDown => "rate_limit_exceeded",
        Wrong::NoModel(_) => "not_found",
        Wrong::TooLong => "context_length_exceeded",
        Wrong::TooLarge => "payload_too_large",
        Wrong::Parameter { .. } => "invalid_request",
        Wrong::Overloaded => "provider_overloaded",
        Wrong::Status(502) => "provider_unavailable",
        Wrong::Status(524) => "timeout",
        Wrong::Status(_) => "server",
    };
    let error = json!({"code": status, "message": message_of(wrong), "metadata": {"error_type": kind}});
    (status, json!({"error": error, "user_id": format!("user_{number}")}))
}
