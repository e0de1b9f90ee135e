//! Anthropic Messages.

use serde_json::{Value, json};

use super::{
    Call, Ending, Event, Format, Question, Say, Wrong, content, key, message_of, messages, novelty,
    open_object, pieces, required, status_of, unknown, unsupported,
};

pub(super) struct Messages;

/// The newest version; it has no sampling parameters any more.
const NEWEST: &str = "2026-10-21";
const OLDER: &str = "2023-06-01";

const FIELDS: [&str; 19] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stop_sequences",
    "stream",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "service_tier",
    "speed",
    "inference_geo",
    "cache_control",
    "diagnostics",
    "container",
    "context_management",
    "mcp_servers",
];

const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

const NOT_ENFORCED: [&str; 11] = [
    "oneOf",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "uniqueItems",
];

impl Format for Messages {
    fn read(&self, call: &Call) -> Result<Question, Wrong> {
        if !key(call, "x-api-key") && !key(call, "authorization") {
            return Err(Wrong::Key);
        }
        let version = call.headers.get("anthropic-version").and_then(|value| value.to_str().ok());
        let refuse = |name: &str, message: String| Err(Wrong::Parameter { name: name.into(), message });
        if !matches!(version, Some(NEWEST | OLDER)) {
            return refuse("anthropic-version", "anthropic-version: header is required".into());
        }
        let body = &call.body;
        let allowed: Vec<&str> = if version == Some(NEWEST) {
            FIELDS.to_vec()
        } else {
            FIELDS.iter().chain(&SAMPLING).copied().collect()
        };
        if let Some(name) = unknown(body, &allowed) {
            return refuse(name, format!("{name}: Extra inputs are not permitted"));
        }
        let model = required(body, "model")?;
        if body.get("max_tokens").and_then(Value::as_u64).is_none_or(|most| most == 0) {
            return refuse("max_tokens", "max_tokens: Field required".into());
        }
        let last = body.pointer("/messages").and_then(Value::as_array).and_then(|all| all.last());
        match last.and_then(|message| message.get("role")?.as_str()) {
            None => return refuse("messages", "messages: at least one message is required".into()),
            Some("assistant") => {
                return refuse("messages", "This model does not support assistant message prefill.".into());
            }
            Some(_) => {}
        }
        let schema = body.pointer("/output_config/format/schema").cloned();
        if let Some(schema) = &schema {
            if let Some(why) = open_object(schema).filter(|why| why.contains("additional")) {
                return refuse("output_config", format!("output_config.format.schema: {why}"));
            }
            if let Some(word) = unsupported(schema, &NOT_ENFORCED, false) {
                return refuse(
                    "output_config",
                    format!("output_config.format.schema: {word} is not supported"),
                );
            }
        }
        Ok(Question {
            model,
            system: content(&body["system"]),
            user: messages(body, &["user"]),
            stream: body.get("stream") == Some(&Value::Bool(true)),
            schema,
            counts: true,
            array: false,
            keep: body.to_string().contains("\"cache_control\""),
        })
    }

    fn whole(&self, _: &Question, say: &Say) -> Value {
        let mut blocks = Vec::new();
        if say.thinking {
            blocks.push(json!({"type": "thinking", "thinking": "Let me see…", "signature": "c2ln"}));
        }
        if say.novelties {
            blocks.push(json!({"type": "hologram", "novelty": novelty()}));
        }
        if say.ending != Ending::Refused {
            if say.parts {
                blocks.push(json!({"type": "redacted_thinking", "data": "e3RoaW5rfQ=="}));
            }
            let texts = if say.parts { pieces(&say.text) } else { vec![say.text.clone()] };
            blocks.extend(texts.iter().map(|text| json!({"type": "text", "text": text, "citations": null})));
        }
        let mut message = head(say);
        message["content"] = blocks.into();
        message["stop_reason"] = reason(say).into();
        message["stop_details"] = details(say);
        message["usage"] = usage(say, say.tokens.map(|counted| counted.output));
        if say.novelties {
            message["novelty"] = novelty();
        }
        message
    }

    fn events(&self, _: &Question, say: &Say) -> Vec<Event> {
        let mut start = head(say);
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"] = usage(say, say.tokens.map(|_| 1));
        let mut events =
            vec![Event::new("message_start", json!({"type": "message_start", "message": start}))];
        events.push(Event::new("ping", json!({"type": "ping"})));
        let mut index = 0;
        let block = |index: usize, first: Value, deltas: Vec<Value>, events: &mut Vec<Event>| {
            events.push(Event::new(
                "content_block_start",
                json!({"type": "content_block_start", "index": index, "content_block": first}),
            ));
            for delta in deltas {
                events.push(Event::new(
                    "content_block_delta",
                    json!({"type": "content_block_delta", "index": index, "delta": delta}),
                ));
            }
            events.push(Event::new(
                "content_block_stop",
                json!({"type": "content_block_stop", "index": index}),
            ));
        };
        if say.thinking {
            let deltas = vec![
                json!({"type": "thinking_delta", "thinking": "Let me see…"}),
                json!({"type": "signature_delta", "signature": "c2ln"}),
            ];
            block(index, json!({"type": "thinking", "thinking": "", "signature": ""}), deltas, &mut events);
            index += 1;
        }
        if say.novelties {
            events.push(Event::new("fanfare", json!({"type": "fanfare", "novelty": novelty()})));
        }
        if say.ending != Ending::Refused {
            let deltas = pieces(&say.text)
                .into_iter()
                .map(|text| json!({"type": "text_delta", "text": text}))
                .collect();
            block(index, json!({"type": "text", "text": ""}), deltas, &mut events);
        }
        let delta = json!({"stop_reason": reason(say), "stop_sequence": null, "stop_details": details(say)});
        let out = say.tokens.map_or(0, |counted| counted.output);
        events.push(Event::new(
            "message_delta",
            json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": out}}),
        ));
        events.push(Event::new("message_stop", json!({"type": "message_stop"})));
        events
    }

    fn error(&self, wrong: &Wrong, number: usize) -> (u16, Value) {
        let status = match wrong {
            Wrong::Overloaded => 529,
            Wrong::Moderated => 400,
            other => status_of(other),
        };
        let kind = match wrong {
            Wrong::Moderated => "invalid_request_error",
            _ => kind(status),
        };
        let message = match wrong {
            Wrong::NoModel(model) => format!("model: {model}"),
            Wrong::Key => "invalid x-api-key".into(),
            Wrong::Moderated => "Output blocked by content filtering policy: content_policy".into(),
            Wrong::Quota => "Your credit balance is too low to access the Anthropic API.".into(),
            other => message_of(other),
        };
        let id = format!("req_{number:012}");
        (status, json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id}))
    }

    fn broken(&self, number: usize) -> Event {
        Event::new("error", self.error(&Wrong::Overloaded, number).1)
    }

    fn alive(&self) -> &'static str {
        "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    }
}

fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn head(say: &Say) -> Value {
    json!({
        "id": format!("msg_{:012}", say.number),
        "type": "message",
        "role": "assistant",
        "model": say.model,
        "stop_sequence": null,
    })
}

fn reason(say: &Say) -> &'static str {
    match say.ending {
        Ending::Complete => "end_turn",
        Ending::Length => "max_tokens",
        Ending::Refused | Ending::Filtered => "refusal",
    }
}

fn details(say: &Say) -> Value {
    match say.ending {
        Ending::Refused | Ending::Filtered => {
            json!({"type": "refusal", "category": null, "explanation": "I will not answer that."})
        }
        Ending::Complete | Ending::Length => Value::Null,
    }
}

fn usage(say: &Say, out: Option<u64>) -> Value {
    let counted = say.tokens.unwrap_or_default();
    json!({
        // Unlike everybody else's, its count leaves the cache out.
        "input_tokens": counted.input - counted.cached - counted.kept,
        "output_tokens": out.unwrap_or_default(),
        "cache_creation_input_tokens": counted.kept,
        "cache_read_input_tokens": counted.cached,
        "service_tier": "standard",
    })
}
