//! Ollama's own chat.

use serde_json::{Value, json};

use super::{Content, Heard, Wire, count, enforced, has, malformed, max_tokens, system, text, told};
use crate::{
    account::Tokens,
    ask::{Ask, Stop},
    catalogue::{Model, Structured},
    failure::{Class, Failure},
    schema,
};

pub(super) struct Native;

impl Wire for Native {
    fn path(&self, _: &Model, _: bool) -> String {
        "/api/chat".into()
    }

    fn body(&self, model: &Model, ask: &Ask, streaming: bool) -> Value {
        let how = enforced(model, ask, Structured::Schema);
        let system = system(ask, how);
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(json!({"role": "system", "content": system}));
        }
        messages.push(json!({"role": "user", "content": ask.user}));
        let mut body = json!({
            "model": model.model,
            "messages": messages,
            "stream": streaming,
            "tools": [],
            // Without it a server cuts a prompt at its own default and answers to the rest.
            "options": {"num_ctx": model.context_tokens, "num_predict": max_tokens(model, ask)},
        });
        match how {
            Some((Structured::Schema, schema)) => body["format"] = schema::portable(&schema.json),
            Some((Structured::Json, _)) => body["format"] = "json".into(),
            Some((Structured::Prompt, _)) | None => {}
        }
        body
    }

    fn reply(&self, body: &Value) -> Result<Heard, Failure> {
        let mut heard = Heard::default();
        self.event("", body, &mut heard)?;
        if !has(body, "message") {
            return Err(malformed("no message"));
        }
        Ok(heard)
    }

    fn event(&self, _: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure> {
        if has(data, "error") {
            return Err(told::within(data));
        }
        heard.add(Content::of(data.pointer("/message/content")));
        if has(data, "model") {
            heard.model = text(data, "/model").into();
        }
        if data.get("done") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        heard.tokens = Tokens {
            input: count(data, "/prompt_eval_count"),
            output: count(data, "/eval_count"),
            ..Tokens::default()
        };
        heard.stop = match text(data, "/done_reason") {
            "length" => Some(Stop::Truncated),
            // The model was loaded or unloaded, and nothing was asked of it.
            reason @ ("load" | "unload") => {
                return Err(Failure::new(Class::Upstream, format!("it ended with {reason}")));
            }
            _ => Some(Stop::Complete),
        };
        heard.ended = true;
        Ok(())
    }

    fn is_lines(&self) -> bool {
        true
    }
}
