//! OpenAI Responses.

use serde_json::{Value, json};

use super::{
    Call, Counted, Ending, Event, Format, Question, Say, Wrong, chat::openai_error, content, key, not_strict,
    novelty, pieces, required, unknown,
};

pub(super) struct Responses;

const FIELDS: [&str; 26] = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "text",
    "reasoning",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "store",
    "previous_response_id",
    "conversation",
    "background",
    "truncation",
    "stream",
    "stream_options",
    "service_tier",
    "metadata",
    "include",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "temperature",
    "top_p",
];

impl Format for Responses {
    fn read(&self, call: &Call) -> Result<Question, Wrong> {
        if !key(call, "authorization") {
            return Err(Wrong::Key);
        }
        let body = &call.body;
        let refuse = |name: &str, message: String| Err(Wrong::Parameter { name: name.into(), message });
        if let Some(name) = unknown(body, &FIELDS) {
            return refuse(name, format!("Unknown parameter: '{name}'."));
        }
        let model = required(body, "model")?;
        let user = match body.get("input") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => items.iter().map(|item| content(&item["content"])).collect(),
            _ => return refuse("input", "Missing required parameter: 'input'.".into()),
        };
        for name in ["temperature", "top_p"] {
            if model.starts_with("gpt-6") && body.get(name).is_some() {
                return refuse(
                    name,
                    format!("Unsupported parameter: '{name}' is not supported with this model."),
                );
            }
        }
        let schema = body.pointer("/text/format/schema").cloned();
        let strict = body.pointer("/text/format/strict") == Some(&Value::Bool(true));
        if let Some(why) = schema.as_ref().filter(|_| strict).and_then(not_strict) {
            return refuse("text.format.schema", format!("Invalid schema for response_format: {why}"));
        }
        Ok(Question {
            model,
            system: body.get("instructions").and_then(Value::as_str).unwrap_or_default().to_owned(),
            user,
            stream: body.get("stream") == Some(&Value::Bool(true)),
            schema,
            counts: true,
            array: false,
            keep: body.get("prompt_cache_key").is_some(),
        })
    }

    fn whole(&self, question: &Question, say: &Say) -> Value {
        let mut body = head(question, say, status(say));
        let mut output = Vec::new();
        if say.thinking {
            output.push(json!({"type": "reasoning", "id": format!("rs_{:012}", say.number), "summary": []}));
        }
        if say.novelties {
            output.push(json!({"type": "hologram", "id": "ho_1", "novelty": novelty()}));
        }
        let mut said = message(say, "completed", part(say));
        if say.parts && say.ending == Ending::Complete {
            let text = |text: String| json!({"type": "output_text", "text": text, "annotations": []});
            said["content"] = pieces(&say.text).into_iter().map(text).collect();
        }
        output.push(said);
        body["output"] = output.into();
        body["usage"] = usage(say);
        body
    }

    fn events(&self, question: &Question, say: &Say) -> Vec<Event> {
        let mut all: Vec<(&'static str, Value)> = Vec::new();
        let begun = head(question, say, "in_progress");
        let item = format!("msg_{:012}", say.number);
        let at = |more: Value| {
            let mut fields = json!({"item_id": item, "output_index": 0, "content_index": 0});
            if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
                fields.extend(more);
            }
            fields
        };
        all.push(("response.created", json!({"response": begun})));
        all.push(("response.in_progress", json!({"response": begun})));
        let mut open = message(say, "in_progress", Value::Null);
        open["content"] = json!([]);
        all.push(("response.output_item.added", json!({"output_index": 0, "item": open})));
        let refused = say.ending == Ending::Refused;
        let empty = part(&Say { text: String::new(), ..say.clone() });
        all.push(("response.content_part.added", at(json!({"part": empty}))));
        if say.novelties {
            all.push(("response.fanfare", json!({"novelty": novelty()})));
        }
        for text in pieces(&say.text) {
            all.push(if refused {
                ("response.refusal.delta", at(json!({"delta": text})))
            } else {
                ("response.output_text.delta", at(json!({"delta": text, "logprobs": []})))
            });
        }
        all.push(if refused {
            ("response.refusal.done", at(json!({"refusal": say.text})))
        } else {
            ("response.output_text.done", at(json!({"text": say.text, "logprobs": []})))
        });
        all.push(("response.content_part.done", at(json!({"part": part(say)}))));
        all.push((
            "response.output_item.done",
            json!({"output_index": 0, "item": message(say, "completed", part(say))}),
        ));
        let whole = self.whole(question, &Say { thinking: false, novelties: false, ..say.clone() });
        let last = if status(say) == "incomplete" { "response.incomplete" } else { "response.completed" };
        all.push((last, json!({"response": whole})));

        let numbered = all.into_iter().enumerate().map(|(number, (name, mut data))| {
            data["type"] = name.into();
            data["sequence_number"] = number.into();
            Event::new(name, data)
        });
        numbered.collect()
    }

    fn error(&self, wrong: &Wrong, _: usize) -> (u16, Value) {
        openai_error(wrong)
    }

    fn broken_whole(&self, question: &Question, say: &Say, _: usize) -> Value {
        let mut body = head(question, say, "failed");
        body["error"] = json!({"code": "server_error", "message": "The model had an error."});
        body
    }

    fn broken(&self, _: usize) -> Event {
        let message = "The server had an error while processing your request.";
        Event::new(
            "error",
            json!({"type": "error", "code": "server_error", "message": message, "param": null, "sequence_number": 99}),
        )
    }
}

fn status(say: &Say) -> &'static str {
    match say.ending {
        Ending::Complete | Ending::Refused => "completed",
        Ending::Length | Ending::Filtered => "incomplete",
    }
}

fn head(question: &Question, say: &Say, status: &str) -> Value {
    let incomplete = match (status, say.ending) {
        ("incomplete", Ending::Length) => json!({"reason": "max_output_tokens"}),
        ("incomplete", _) => json!({"reason": "content_filter"}),
        _ => Value::Null,
    };
    json!({
        "id": format!("resp_{:012}", say.number),
        "object": "response",
        "created_at": say.created,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": incomplete,
        "instructions": question.system,
        "max_output_tokens": null,
        "metadata": {},
        "model": say.model,
        "output": [],
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "service_tier": "default",
        "store": false,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": null,
    })
}

fn part(say: &Say) -> Value {
    match say.ending {
        Ending::Refused => json!({"type": "refusal", "refusal": say.text}),
        _ => json!({"type": "output_text", "text": say.text, "annotations": [], "logprobs": []}),
    }
}

fn message(say: &Say, status: &str, part: Value) -> Value {
    json!({"type": "message", "id": format!("msg_{:012}", say.number), "role": "assistant", "status": status,
        "content": [part]})
}

fn usage(say: &Say) -> Value {
    let Some(Counted { input, cached, output, .. }) = say.tokens else { return Value::Null };
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + output,
    })
}
