//! Anthropic Messages, version 2026-10-21.

use serde_json::{Value, json};

use super::{Content, Heard, Wire, count, enforced, has, malformed, max_tokens, system, text, told};
use crate::{
    account::Tokens,
    ask::{Ask, Stop},
    catalogue::{Model, Structured},
    failure::Failure,
    schema,
};

pub(super) struct Messages;

impl Wire for Messages {
    fn path(&self, _: &Model, _: bool) -> String {
        "/v1/messages".into()
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2026-10-21")]
    }

    fn body(&self, model: &Model, ask: &Ask, streaming: bool) -> Value {
        let how = enforced(model, ask, Structured::Schema);
        let mut body = json!({
            "model": model.model,
            "max_tokens": max_tokens(model, ask),
            "messages": [{"role": "user", "content": ask.user}],
        });
        let system = system(ask, how);
        if !system.is_empty() {
            body["system"] = if model.prompt_cache {
                json!([{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}])
            } else {
                system.into()
            };
        }
        // There is no JSON mode without a schema.
        if let Some((Structured::Schema, schema)) = how {
            body["output_config"] =
                json!({"format": {"type": "json_schema", "schema": schema::portable(&schema.json)}});
        }
        if streaming {
            body["stream"] = true.into();
        }
        body
    }

    fn reply(&self, body: &Value) -> Result<Heard, Failure> {
        if text(body, "/type") == "error" || has(body, "error") {
            return Err(told::within(body));
        }
        let mut heard = Heard::default();
        if !body.get("content").is_some_and(|content| content.is_array() || content.is_string()) {
            return Err(malformed("no content"));
        }
        heard.add(Content::of(body.get("content")));
        about(body, &mut heard);
        ending(body, &mut heard);
        heard.ended = true;
        Ok(heard)
    }

    fn event(&self, name: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure> {
        // The data repeats the event's name.
        let kind = data.get("type").and_then(Value::as_str).unwrap_or(name);
        match kind {
            "message_start" => about(&data["message"], heard),
            "content_block_start" => heard.add(Content::of(data.get("content_block"))),
            "content_block_delta" if text(data, "/delta/type") == "text_delta" => {
                heard.text.push_str(text(data, "/delta/text"));
            }
            "message_delta" => {
                ending(&data["delta"], heard);
                usage(&data["usage"], heard);
            }
            "message_stop" => heard.ended = true,
            "error" => return Err(told::within(data)),
            _ => {}
        }
        Ok(())
    }
}

fn about(message: &Value, heard: &mut Heard) {
    heard.id = text(message, "/id").into();
    heard.model = text(message, "/model").into();
    usage(&message["usage"], heard);
}

/// Counts are cumulative, and a later one may lack what an earlier one had.
fn usage(usage: &Value, heard: &mut Heard) {
    let (read, written) =
        (count(usage, "/cache_read_input_tokens"), count(usage, "/cache_creation_input_tokens"));
    let input = count(usage, "/input_tokens") + read + written;
    let before = heard.tokens;
    heard.tokens = Tokens {
        input: input.max(before.input),
        cached: read.max(before.cached),
        cache_write: written.max(before.cache_write),
        output: count(usage, "/output_tokens").max(before.output),
    };
}

fn ending(value: &Value, heard: &mut Heard) {
    heard.stop = match text(value, "/stop_reason") {
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => Some(Stop::Truncated),
        "refusal" => Some(Stop::Refused),
        "" => heard.stop,
        _ => Some(Stop::Complete),
    };
    if heard.stop == Some(Stop::Refused) && heard.text.is_empty() {
        heard.text = text(value, "/stop_details/explanation").into();
    }
}
