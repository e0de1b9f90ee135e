//! Gemini generateContent.

use serde_json::{Value, json};

use super::{
    Call, Counted, Ending, Event, Format, Question, Say, Wrong, content, key, message_of, novelty, pieces,
    status_of, unknown,
};

pub(super) struct Generate;

const FIELDS: [&str; 11] = [
    "model",
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
];

const GENERATION: [&str; 22] = [
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "_responseJsonSchema",
    "responseModalities",
    "thinkingConfig",
    "responseLogprobs",
    "logprobs",
    "presencePenalty",
    "frequencyPenalty",
    "speechConfig",
    "mediaResolution",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "routingConfig",
];

impl Format for Generate {
    fn read(&self, call: &Call) -> Result<Question, Wrong> {
        if !key(call, "x-goog-api-key") && !call.query.contains("key=") {
            return Err(Wrong::Key);
        }
        let refuse = |name: &str, message: String| Err(Wrong::Parameter { name: name.into(), message });
        let name = call.path.rsplit_once("/models/").map_or("", |(_, name)| name);
        let (model, stream) = match name.rsplit_once(':') {
            Some((model, "generateContent")) => (model, false),
            Some((model, "streamGenerateContent")) => (model, true),
            _ => return Err(Wrong::NoModel(name.to_owned())),
        };
        let body = &call.body;
        let generation = body.get("generationConfig").unwrap_or(&Value::Null);
        if let Some(name) = unknown(body, &FIELDS).or_else(|| unknown(generation, &GENERATION)) {
            return refuse(
                name,
                format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."),
            );
        }
        let contents = body.get("contents").and_then(Value::as_array).filter(|all| !all.is_empty());
        let Some(contents) = contents else {
            return refuse("contents", "* GenerateContentRequest.contents: contents is not specified".into());
        };
        let schema =
            generation.get("responseJsonSchema").or_else(|| generation.get("responseSchema")).cloned();
        let mime = generation.get("responseMimeType").and_then(Value::as_str);
        if schema.is_some() && mime != Some("application/json") {
            let message = "* GenerateContentRequest.generation_config.response_json_schema: only allowed with mime \
                           type 'application/json'";
            return refuse("responseMimeType", message.into());
        }
        Ok(Question {
            model: model.to_owned(),
            system: content(&body["systemInstruction"]["parts"]),
            user: contents.iter().map(|one| content(&one["parts"])).collect(),
            stream,
            schema,
            counts: true,
            array: stream && !call.query.contains("alt=sse"),
            keep: true,
        })
    }

    fn whole(&self, _: &Question, say: &Say) -> Value {
        let mut body = head(say);
        match say.ending {
            // The prompt was blocked: there are no candidates at all.
            Ending::Refused => {
                body["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []});
            }
            ending => {
                let mut parts = Vec::new();
                if say.thinking {
                    parts.push(json!({"text": "Let me see…", "thought": true}));
                }
                if say.parts {
                    parts.push(json!({"text": "{Let} me see…", "thought": true}));
                    parts.extend(pieces(&say.text).into_iter().map(|text| json!({"text": text})));
                    parts.push(json!({"thoughtSignature": "c2ln"}));
                } else {
                    parts.push(json!({"text": say.text}));
                }
                body["candidates"] = json!([candidate(parts, Some(ending), say)]);
            }
        }
        if let Some(usage) = usage(say) {
            body["usageMetadata"] = usage;
        }
        body
    }

    fn events(&self, question: &Question, say: &Say) -> Vec<Event> {
        if say.ending == Ending::Refused {
            return vec![Event::new("", self.whole(question, say))];
        }
        let mut parts: Vec<Value> = Vec::new();
        if say.thinking {
            parts.push(json!({"text": "Let me see…", "thought": true}));
        }
        parts.extend(pieces(&say.text).into_iter().map(|text| json!({"text": text})));
        // The reason to stop comes even when there is nothing to say.
        if parts.is_empty() {
            parts.push(json!({"text": ""}));
        }
        let last = parts.len().saturating_sub(1);
        let chunk = |(at, part): (usize, Value)| {
            let mut body = head(say);
            let ending = (at == last).then_some(say.ending);
            body["candidates"] = json!([candidate(vec![part], ending, say)]);
            if let Some(usage) = usage(say).filter(|_| at == last) {
                body["usageMetadata"] = usage;
            }
            Event::new("", body)
        };
        parts.into_iter().enumerate().map(chunk).collect()
    }

    fn error(&self, wrong: &Wrong, _: usize) -> (u16, Value) {
        let status = match wrong {
            Wrong::Key => 400,
            Wrong::Quota => 429,
            other => status_of(other),
        };
        let word = match status {
            400 | 413 | 422 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            499 => "CANCELLED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            _ => "INTERNAL",
        };
        let mut details: Vec<Value> = Vec::new();
        let (message, quota) = match wrong {
            Wrong::Key => {
                details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID", "domain": "googleapis.com"}));
                ("API key not valid. Please pass a valid API key.".into(), None)
            }
            Wrong::Quota => (message_of(wrong), Some("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
            Wrong::Limited { details: more, .. } => {
                details.extend(more.clone());
                (message_of(wrong), Some("GenerateRequestsPerMinutePerProjectPerModel"))
            }
            Wrong::NoModel(model) => (format!("models/{model} is not found for API version v1beta"), None),
            Wrong::TooLong => {
                ("The input token count exceeds the maximum number of tokens allowed.".into(), None)
            }
            Wrong::Overloaded => ("The model is overloaded. Please try again later.".into(), None),
            other => (message_of(other), None),
        };
        if let Some(quota) = quota {
            details.insert(
                0,
                json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests", "quotaId": quota}]}),
            );
        }
        let mut error = json!({"code": status, "message": message, "status": word});
        if !details.is_empty() {
            error["details"] = details.into();
        }
        (status, json!({"error": error}))
    }

    /// It sends no comments; its own package takes an empty line.
    fn alive(&self) -> &'static str {
        "\n"
    }

    fn broken(&self, number: usize) -> Event {
        Event::new("", self.error(&Wrong::Overloaded, number).1)
    }
}

fn head(say: &Say) -> Value {
    let mut head = json!({"modelVersion": say.model, "responseId": format!("r{:012}", say.number)});
    if say.novelties {
        head["novelty"] = novelty();
    }
    head
}

fn candidate(parts: Vec<Value>, ending: Option<Ending>, say: &Say) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    let reason = match ending {
        None => return candidate,
        Some(Ending::Complete | Ending::Refused) => "STOP",
        Some(Ending::Length) => "MAX_TOKENS",
        Some(Ending::Filtered) => "SAFETY",
    };
    candidate["finishReason"] = reason.into();
    if reason == "SAFETY" {
        candidate["content"] = json!({});
        candidate["safetyRatings"] =
            json!([{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}]);
    }
    if say.novelties {
        candidate["novelty"] = novelty();
    }
    candidate
}

fn usage(say: &Say) -> Option<Value> {
    let Counted { input, cached, output, .. } = say.tokens?;
    let mut usage =
        json!({"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output});
    if cached > 0 {
        usage["cachedContentTokenCount"] = cached.into();
    }
    Some(usage)
}
