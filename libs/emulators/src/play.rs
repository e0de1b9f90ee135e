//! Plays one question: reads it as the vendor would, and answers by the scenario.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    answer, delivery,
    delivery::Step,
    limits::{self, Header},
    scenario::{Fault, Vendor},
    stage::{Open, Part, Stage},
    vendor::{self, Call, Counted, Data, Ending, Event, Format, Framing, Question, Say, Wrong},
};

/// An answer before it goes out.
struct Draft {
    status: u16,
    kind: &'static str,
    headers: Vec<Header>,
    steps: Vec<Step>,
}

pub(crate) async fn play(call: Call, format: &dyn Format, part: Part, open: Open, stage: &Stage) -> Response {
    for fault in &part.faults {
        match fault {
            Fault::Hang => std::future::pending().await,
            Fault::Hold { gate } => stage.wait_at(gate).await,
            _ => {}
        }
    }
    if part.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(part.delay_ms)).await;
    }
    let mut draft = draft(&call, format, &part, stage);
    if !part.faults.contains(&Fault::NoHeaders) {
        let limited = part.faults.iter().find_map(|fault| match fault {
            Fault::RateLimit { seconds, .. } => Some(*seconds),
            _ => None,
        });
        draft.headers.extend(limits::headers(call.vendor, part.number, limited));
    }
    if part.faults.contains(&Fault::Gzip) {
        draft.headers.push(("content-encoding", "gzip".into()));
    }
    respond(draft, open)
}

fn draft(call: &Call, format: &dyn Format, part: &Part, stage: &Stage) -> Draft {
    let scripted = part.faults.iter().find_map(|fault| replaces(fault, call));
    let refused = |wrong: Wrong, headers: Vec<Header>| {
        let (status, body) = format.error(&wrong, part.number);
        whole(status, headers, body.to_string().into(), part)
    };
    match scripted {
        Some(Replaced::Wrong(wrong, headers)) => return refused(wrong, headers),
        Some(Replaced::Page(code)) => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
            return Draft {
                kind: "text/html",
                ..whole(code, Vec::new(), Bytes::from_static(page.as_bytes()), part)
            };
        }
        Some(Replaced::Redirect(to)) => return whole(307, vec![("location", to)], Bytes::new(), part),
        None => {}
    }
    let question = match format.read(call) {
        Ok(question) => question,
        Err(wrong) => return refused(wrong, Vec::new()),
    };
    let kept = question.keep.then(|| stage.keep(call.vendor, &question.model, &question.system));
    let say = say(&question, part, kept);
    if question.stream {
        streamed(format, &question, &say, part)
    } else {
        at_once(format, &question, &say, part)
    }
}

/// What stands in place of an answer.
enum Replaced {
    Wrong(Wrong, Vec<Header>),
    Page(u16),
    Redirect(String),
}

fn replaces(fault: &Fault, call: &Call) -> Option<Replaced> {
    let wrong = match fault {
        Fault::RateLimit { wait, seconds } => {
            let wait = limits::wait(*wait, *seconds);
            let limited = Wrong::Limited { words: wait.words, details: wait.details };
            return Some(Replaced::Wrong(limited, wait.headers));
        }
        Fault::SlowDown => Wrong::SlowDown,
        Fault::Quota => Wrong::Quota,
        Fault::Auth => Wrong::Key,
        Fault::Moderation => Wrong::Moderated,
        Fault::UnknownModel => Wrong::NoModel(model(call).0),
        Fault::ContextTooLong => Wrong::TooLong,
        Fault::TooLarge => Wrong::TooLarge,
        Fault::Parameter { name } => {
            let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
            Wrong::Parameter { name: name.clone(), message }
        }
        Fault::Overloaded => Wrong::Overloaded,
        Fault::Status { code } => Wrong::Status(*code),
        Fault::GatewayPage { code } => return Some(Replaced::Page(*code)),
        Fault::Redirect { to } => return Some(Replaced::Redirect(to.clone())),
        _ => return None,
    };
    Some(Replaced::Wrong(wrong, Vec::new()))
}

/// `kept`: whether the system text was in the prompt cache; none where nothing is kept.
fn say(question: &Question, part: &Part, kept: Option<bool>) -> Say {
    let faults = &part.faults;
    let has = |fault: &Fault| faults.contains(fault);
    let nonce = answer::nonce(&question.user).or_else(|| answer::nonce(&question.system)).unwrap_or_default();
    let mut text = answer::text(&part.script, &question.model, nonce, question.schema.as_ref(), faults);
    let mut ending = Ending::Complete;
    if has(&Fault::Blank) {
        text = " \n ".into();
    }
    if has(&Fault::Truncated) {
        ending = Ending::Length;
        text = text.chars().take(text.chars().count() / 2).collect();
    }
    if has(&Fault::Filtered) {
        ending = Ending::Filtered;
        text = String::new();
    }
    if has(&Fault::Refusal) {
        ending = Ending::Refused;
        text = "I will not answer that.".into();
    }
    let other = faults.iter().find_map(|fault| match fault {
        Fault::OtherModel { name } => Some(name.clone()),
        _ => None,
    });
    let tokens = |text: &str| (text.len() as u64).div_ceil(4);
    let system = tokens(&question.system);
    let counted = Counted {
        input: system + tokens(&question.user),
        cached: if kept == Some(true) { system } else { 0 },
        // Only Anthropic counts, and charges for, what goes into its cache.
        kept: if kept == Some(false) { system } else { 0 },
        output: tokens(&text),
    };
    Say {
        model: other.unwrap_or_else(|| question.model.clone()),
        number: part.number,
        created: limits::created(),
        ending,
        tokens: (!has(&Fault::NoUsage)).then_some(counted),
        novelties: has(&Fault::Novelties),
        thinking: has(&Fault::Thinking),
        parts: has(&Fault::Parts),
        text,
    }
}

fn at_once(format: &dyn Format, question: &Question, say: &Say, part: &Part) -> Draft {
    if part.faults.contains(&Fault::NotJson) {
        return whole(200, Vec::new(), Bytes::from_static(b"upstream said: {\"choices\": [oops"), part);
    }
    let breaks = part.faults.iter().any(|fault| matches!(fault, Fault::ErrorInOk | Fault::ErrorAfter { .. }));
    let body =
        if breaks { format.broken_whole(question, say, part.number) } else { format.whole(question, say) };
    let mut draft = whole(200, Vec::new(), body.to_string().into(), part);
    for fault in &part.faults {
        if let Fault::KeepAlive { times, every_ms } = fault {
            alive(&mut draft.steps, "\n", *times, *every_ms);
        }
    }
    draft
}

fn streamed(format: &dyn Format, question: &Question, say: &Say, part: &Part) -> Draft {
    let mut events = format.events(question, say);
    for fault in &part.faults {
        match fault {
            Fault::ErrorAfter { events: after } => {
                // Never behind the end: an error after the answer is none.
                events.truncate((*after).min(events.len().saturating_sub(2)));
                events.push(format.broken(part.number));
            }
            Fault::ErrorInOk => events = vec![format.broken(part.number)],
            Fault::DuplicateEvent => {
                let first = events.first().cloned();
                events.splice(0..0, first);
            }
            _ => {}
        }
    }
    let (kind, mut parts) = if question.array {
        ("application/json", array(events))
    } else {
        match format.framing() {
            Framing::Events => ("text/event-stream", events.into_iter().map(event).collect()),
            Framing::Lines => {
                let line = |event: Event| Bytes::from(format!("{}\n", json(event.data)));
                ("application/x-ndjson", events.into_iter().map(line).collect())
            }
        }
    };
    if part.faults.contains(&Fault::NotJson) {
        parts.insert(1.min(parts.len()), Bytes::from_static(b"data: {\"oops\n\n"));
    }
    if part.faults.contains(&Fault::WindowsLines) {
        parts = parts.iter().map(|part| String::from_utf8_lossy(part).replace('\n', "\r\n").into()).collect();
        parts.insert(0, Bytes::from_static(b"\xef\xbb\xbf"));
    }
    let mut steps = delivery::steps(parts, &part.faults);
    for fault in &part.faults {
        if let Fault::KeepAlive { times, every_ms } = fault
            && kind == "text/event-stream"
        {
            alive(&mut steps, format.alive(), *times, *every_ms);
        }
    }
    Draft { status: 200, kind, headers: vec![("cache-control", "no-cache".into())], steps }
}

fn whole(status: u16, headers: Vec<Header>, body: Bytes, part: &Part) -> Draft {
    Draft { status, kind: "application/json", headers, steps: delivery::steps(vec![body], &part.faults) }
}

/// Signs of life before everything else.
fn alive(steps: &mut Vec<Step>, sign: &'static str, times: u32, every_ms: u64) {
    let sign =
        || [Step::Send(Bytes::from_static(sign.as_bytes())), Step::Pause(Duration::from_millis(every_ms))];
    let signs: Vec<Step> = (0..times).flat_map(|_| sign()).collect();
    steps.splice(0..0, signs);
}

fn event(event: Event) -> Bytes {
    let name = if event.name.is_empty() { String::new() } else { format!("event: {}\n", event.name) };
    format!("{name}data: {}\n\n", json(event.data)).into()
}

fn json(data: Data) -> String {
    match data {
        Data::Json(value) => value.to_string(),
        Data::Done => "[DONE]".into(),
    }
}

fn array(events: Vec<Event>) -> Vec<Bytes> {
    let mut parts = Vec::new();
    for (at, event) in events.into_iter().enumerate() {
        let before = if at == 0 { "[" } else { ",\r\n" };
        parts.push(Bytes::from(format!("{before}{}", json(event.data))));
    }
    parts.push(Bytes::from_static(b"]"));
    parts
}

fn respond(draft: Draft, open: Open) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(draft.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(draft.kind));
    for (name, value) in draft.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    *response.body_mut() = delivery::body(draft.steps, open);
    response
}

/// The model and whether a stream is wanted, as far as can be seen before the question is read.
pub(crate) fn model(call: &Call) -> (String, bool) {
    if call.vendor == Vendor::Gemini {
        let name = call.path.rsplit_once("/models/").map_or("", |(_, name)| name);
        let (model, verb) = name.rsplit_once(':').unwrap_or((name, ""));
        return (model.to_owned(), verb == "streamGenerateContent");
    }
    let model = call.body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let stream = match call.body.get("stream") {
        Some(Value::Bool(stream)) => *stream,
        _ => call.vendor == Vendor::Ollama && call.path == "/api/chat",
    };
    (model, stream)
}

/// The format behind a path, with the call.
pub(crate) fn format(vendor: Vendor, path: &str) -> Option<Box<dyn Format>> {
    vendor::of(vendor, path)
}
