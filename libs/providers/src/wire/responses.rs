//! OpenAI Responses.

use serde_json::{Value, json};

use super::{Content, Heard, Wire, count, enforced, has, malformed, max_tokens, system, text, told};
use crate::{
    account::Tokens,
    ask::{Ask, Stop},
    catalogue::{Model, Structured},
    failure::{Class, Failure},
    schema,
};

pub(super) struct Responses;

impl Wire for Responses {
    fn path(&self, _: &Model, _: bool) -> String {
        "/v1/responses".into()
    }

    fn body(&self, model: &Model, ask: &Ask, streaming: bool) -> Value {
        let how = enforced(model, ask, Structured::Schema);
        let mut body = json!({
            "model": model.model,
            "input": ask.user,
            "max_output_tokens": max_tokens(model, ask),
            // Questions hold material of the asker's; nothing here reads it back.
            "store": false,
        });
        let system = system(ask, how);
        if !system.is_empty() {
            body["instructions"] = system.into();
        }
        match how {
            Some((Structured::Schema, schema)) => {
                let json = schema::portable(&schema.json);
                body["text"] = json!({"format":
                    {"type": "json_schema", "name": schema.name, "schema": json, "strict": true}});
            }
            Some((Structured::Json, _)) => body["text"] = json!({"format": {"type": "json_object"}}),
            Some((Structured::Prompt, _)) | None => {}
        }
        if model.prompt_cache {
            body["prompt_cache_key"] = model::Digest::of(&ask.system).short().into();
        }
        if streaming {
            body["stream"] = true.into();
        }
        body
    }

    fn reply(&self, body: &Value) -> Result<Heard, Failure> {
        let mut heard = Heard::default();
        whole(body, &mut heard)?;
        heard.ended = true;
        Ok(heard)
    }

    fn event(&self, name: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure> {
        match data.get("type").and_then(Value::as_str).unwrap_or(name) {
            "response.created" => {
                heard.id = text(data, "/response/id").into();
                heard.model = text(data, "/response/model").into();
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                heard.text.push_str(text(data, "/delta"))
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                let streamed = std::mem::take(&mut heard.text);
                whole(&data["response"], heard)?;
                // The deltas were handed out already; the whole is the same text unless the vendor errs.
                heard.text = if streamed.is_empty() { std::mem::take(&mut heard.text) } else { streamed };
                heard.ended = true;
            }
            "error" => return Err(told::within(data)),
            _ => {}
        }
        Ok(())
    }
}

fn whole(body: &Value, heard: &mut Heard) -> Result<(), Failure> {
    if has(body, "error") || text(body, "/type") == "error" {
        return Err(told::within(body));
    }
    let output = body.get("output").and_then(Value::as_array).ok_or_else(|| malformed("no output"))?;
    heard.id = text(body, "/id").into();
    heard.model = text(body, "/model").into();
    heard.tokens = Tokens {
        input: count(body, "/usage/input_tokens"),
        cached: count(body, "/usage/input_tokens_details/cached_tokens"),
        cache_write: count(body, "/usage/input_tokens_details/cache_write_tokens"),
        output: count(body, "/usage/output_tokens"),
    };
    heard.text.clear();
    heard.stop = None;
    for item in output {
        match text(item, "/type") {
            "message" | "" => heard.add(Content::of(item.get("content"))),
            "output_text" | "refusal" => heard.add(Content::of(Some(item))),
            _ => {}
        }
    }
    let refused = heard.stop == Some(Stop::Refused);
    heard.stop = Some(match (text(body, "/status"), text(body, "/incomplete_details/reason")) {
        ("failed" | "cancelled", _) => return Err(Failure::new(Class::Upstream, "the response failed")),
        ("incomplete", "content_filter") => Stop::Refused,
        ("incomplete", _) => Stop::Truncated,
        _ if refused => Stop::Refused,
        _ => Stop::Complete,
    });
    Ok(())
}
