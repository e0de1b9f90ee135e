//! Chat Completions in the flavours of OpenAI, DeepSeek, OpenRouter, and all who imitate them.

use serde_json::{Value, json};

use super::{Content, Heard, Wire, count, enforced, has, malformed, max_tokens, system, text, told};
use crate::{
    account::Tokens,
    ask::{Ask, Stop},
    catalogue::{Model, Structured},
    failure::{Class, Failure},
    schema,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Openai,
    Deepseek,
    Openrouter,
    Compatible,
}

pub(super) struct Chat(pub Flavour);

impl Wire for Chat {
    fn path(&self, _: &Model, _: bool) -> String {
        match self.0 {
            Flavour::Openai => "/v1/chat/completions",
            Flavour::Deepseek | Flavour::Openrouter | Flavour::Compatible => "/chat/completions",
        }
        .into()
    }

    fn body(&self, model: &Model, ask: &Ask, streaming: bool) -> Value {
        let best = if self.0 == Flavour::Deepseek { Structured::Json } else { Structured::Schema };
        let how = enforced(model, ask, best);
        // OpenAI's reasoning models know only the developer; others know only the system.
        let role = if self.0 == Flavour::Openai { "developer" } else { "system" };
        let system = system(ask, how);
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(if model.prompt_cache && self.0 == Flavour::Openrouter {
                let part = json!({"type": "text", "text": system, "cache_control": {"type": "ephemeral"}});
                json!({"role": role, "content": [part]})
            } else {
                json!({"role": role, "content": system})
            });
        }
        messages.push(json!({"role": "user", "content": ask.user}));
        let mut body = json!({"model": model.model, "messages": messages});
        let limit = match self.0 {
            Flavour::Openai | Flavour::Openrouter => "max_completion_tokens",
            Flavour::Deepseek | Flavour::Compatible => "max_tokens",
        };
        body[limit] = max_tokens(model, ask).into();
        match how {
            Some((Structured::Schema, schema)) => {
                let json = schema::portable(&schema.json);
                body["response_format"] = json!({"type": "json_schema",
                    "json_schema": {"name": schema.name, "schema": json, "strict": true}});
                if self.0 == Flavour::Openrouter {
                    // Else it may choose a vendor that ignores the schema.
                    body["provider"] = json!({"require_parameters": true});
                }
            }
            Some((Structured::Json, _)) => body["response_format"] = json!({"type": "json_object"}),
            Some((Structured::Prompt, _)) | None => {}
        }
        if model.prompt_cache && self.0 == Flavour::Openai {
            body["prompt_cache_key"] = model::Digest::of(&ask.system).short().into();
        }
        if streaming {
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": true});
        } else if self.0 == Flavour::Openrouter {
            body["stream"] = false.into();
        }
        body
    }

    fn reply(&self, body: &Value) -> Result<Heard, Failure> {
        if has(body, "error") {
            return Err(told::within(body));
        }
        let choice = body.pointer("/choices/0").ok_or_else(|| malformed("no choices"))?;
        if has(choice, "error") {
            return Err(told::within(choice));
        }
        let mut heard = Heard::default();
        about(body, &mut heard);
        let mut said = Content::of(choice.pointer("/message/content"));
        said.refusal.push_str(text(choice, "/message/refusal"));
        heard.add(said);
        if heard.text.is_empty() {
            // Some servers have the schema enforced as the one tool that the model must call.
            heard.text = only_call(choice).unwrap_or_default().into();
        }
        ending(choice, &mut heard)?;
        heard.ended = true;
        Ok(heard)
    }

    fn event(&self, _: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure> {
        if has(data, "error") {
            return Err(told::within(data));
        }
        about(data, heard);
        let Some(choice) = data.pointer("/choices/0") else { return Ok(()) };
        let mut said = Content::of(choice.pointer("/delta/content"));
        said.refusal.push_str(text(choice, "/delta/refusal"));
        heard.add(said);
        ending(choice, heard)
    }

    fn may_lack_end(&self) -> bool {
        self.0 == Flavour::Compatible
    }
}

/// The arguments of the only call in a message.
fn only_call(choice: &Value) -> Option<&str> {
    match choice.pointer("/message/tool_calls")?.as_array()?.as_slice() {
        [call] => call.pointer("/function/arguments")?.as_str(),
        _ => None,
    }
}

fn about(body: &Value, heard: &mut Heard) {
    if heard.id.is_empty() {
        heard.id = text(body, "/id").into();
    }
    if heard.model.is_empty() {
        heard.model = text(body, "/model").into();
    }
    let Some(usage) = body.get("usage").filter(|usage| !usage.is_null()) else { return };
    let cached =
        count(usage, "/prompt_tokens_details/cached_tokens").max(count(usage, "/prompt_cache_hit_tokens"));
    heard.tokens = Tokens {
        input: count(usage, "/prompt_tokens"),
        cached,
        cache_write: count(usage, "/prompt_tokens_details/cache_write_tokens"),
        output: count(usage, "/completion_tokens"),
    };
}

fn ending(choice: &Value, heard: &mut Heard) -> Result<(), Failure> {
    match text(choice, "/finish_reason") {
        "" => {}
        "length" => heard.stop = Some(Stop::Truncated),
        "content_filter" => heard.stop = Some(Stop::Refused),
        "error" => return Err(Failure::new(Class::Upstream, "the upstream model failed")),
        "insufficient_system_resource" => {
            return Err(Failure::new(Class::Overloaded, "insufficient system resource"));
        }
        // A refusal also finishes with `stop`.
        _ => heard.stop = heard.stop.or(Some(Stop::Complete)),
    }
    Ok(())
}
