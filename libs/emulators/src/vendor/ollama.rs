//! Ollama's own chat.

use serde_json::{Value, json};

use super::{
    Call, Counted, Ending, Event, Format, Framing, Question, Say, Wrong, message_of, messages, novelty,
    pieces, required, status_of,
};

pub(super) struct Native;

impl Format for Native {
    fn read(&self, call: &Call) -> Result<Question, Wrong> {
        let body = &call.body;
        let model = required(body, "model")?;
        let schema = body.get("format").filter(|format| format.is_object()).cloned();
        Ok(Question {
            model,
            system: messages(body, &["system"]),
            user: messages(body, &["user"]),
            // Unlike everybody else's, its default is to stream.
            stream: body.get("stream") != Some(&Value::Bool(false)),
            schema,
            counts: true,
            array: false,
            keep: false,
        })
    }

    fn whole(&self, _: &Question, say: &Say) -> Value {
        let mut body = piece(say, &say.text);
        if say.thinking {
            body["message"]["thinking"] = "Let me see…".into();
        }
        end(&mut body, say);
        body
    }

    fn events(&self, _: &Question, say: &Say) -> Vec<Event> {
        let mut all = Vec::new();
        if say.thinking {
            let mut first = piece(say, "");
            first["message"]["thinking"] = "Let me see…".into();
            all.push(first);
        }
        all.extend(pieces(&say.text).iter().map(|text| piece(say, text)));
        let mut last = piece(say, "");
        end(&mut last, say);
        all.push(last);
        all.into_iter().map(|data| Event::new("", data)).collect()
    }

    fn error(&self, wrong: &Wrong, _: usize) -> (u16, Value) {
        let text = match wrong {
            Wrong::NoModel(model) => format!("model '{model}' not found"),
            Wrong::Overloaded => "server busy, please try again.  maximum pending requests exceeded".into(),
            Wrong::Quota => "insufficient balance: you have reached your usage limit".into(),
            other => message_of(other),
        };
        (status_of(wrong), json!({"error": text}))
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }
}

fn piece(say: &Say, text: &str) -> Value {
    let created = jiff::Timestamp::from_second(say.created).map(|at| at.to_string()).unwrap_or_default();
    let mut piece = json!({"model": say.model, "created_at": created,
        "message": {"role": "assistant", "content": text}, "done": false});
    if say.novelties {
        piece["novelty"] = novelty();
    }
    piece
}

fn end(body: &mut Value, say: &Say) {
    body["done"] = true.into();
    body["done_reason"] = if say.ending == Ending::Length { "length" } else { "stop" }.into();
    body["total_duration"] = 5_000_000.into();
    body["load_duration"] = 1_000_000.into();
    if let Some(Counted { input, output, .. }) = say.tokens {
        body["prompt_eval_count"] = input.into();
        body["prompt_eval_duration"] = 1_000_000.into();
        body["eval_count"] = output.into();
        body["eval_duration"] = 3_000_000.into();
    }
}
