//! An answer that is read as it is written.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream};
use model::expert::Usage;
use reqwest::Response;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Leave, Shared, Tries,
    exchange::{request_id, too_large},
};
use crate::{
    ask::{Ask, Piece, Pieces, Reply},
    failure::{Class, Failure},
    sse::{Event, Parser},
    wire::Heard,
};

/// Asks once and returns when the first text is there; until then a failure can be tried again.
pub(super) async fn open(shared: &Arc<Shared>, ask: &Ask, tries: &Tries<'_>) -> Result<Pieces, Failure> {
    let leave = shared.enter(ask).await?;
    let mut reading = Reading {
        source: Source {
            shared: Arc::clone(shared),
            ask: ask.clone(),
            response: None,
            id: None,
            parser: Parser::default(),
            line: Vec::new(),
            read: 0,
            heard: Heard::default(),
            handed: 0,
            ready: VecDeque::new(),
        },
        leave: Some(leave),
        sent: Instant::now(),
        begun: tries.begun,
        tries: tries.done + 1,
        spent: tries.spent,
    };
    let first = reading.next().await?;
    let rest = stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Piece::Text(text)) => Some((Ok(Piece::Text(text)), Some(reading))),
            last => Some((last, None)),
        }
    });
    // An answer without text (a refusal) ends with its first piece.
    let ended = matches!(first, Piece::End(_));
    let first = stream::once(async { Ok(first) });
    Ok(if ended { first.boxed() } else { first.chain(rest).boxed() })
}

struct Reading {
    source: Source,
    /// Until the breaker was told how it went. Dropped with the reading, it tells nothing.
    leave: Option<Leave>,
    sent: Instant,
    begun: Instant,
    tries: u32,
    spent: Usage,
}

/// What is read from.
struct Source {
    shared: Arc<Shared>,
    ask: Ask,
    response: Option<Response>,
    id: Option<String>,
    parser: Parser,
    line: Vec<u8>,
    read: usize,
    heard: Heard,
    /// Bytes of the text that were handed out.
    handed: usize,
    ready: VecDeque<Event>,
}

impl Reading {
    async fn next(&mut self) -> Result<Piece, Failure> {
        let shared = Arc::clone(&self.source.shared);
        let ask = self.source.ask.clone();
        let piece = shared.until(&ask, self.source.next()).await;
        match piece {
            Ok(Some(text)) => Ok(Piece::Text(text)),
            Ok(None) => {
                let heard = std::mem::take(&mut self.source.heard);
                let checked = shared.checked(heard);
                self.end(checked.as_ref().err());
                let heard = checked.map_err(|failure| self.counted(failure))?;
                shared.latencies.note(self.sent.elapsed());
                let reply = self.reply(heard);
                shared.keep(&ask, &reply);
                Ok(Piece::End(reply))
            }
            Err(failure) => {
                let failure = shared.exchange.named(failure, &self.source.id);
                self.end(Some(&failure));
                Err(self.counted(failure))
            }
        }
    }

    fn end(&mut self, failure: Option<&Failure>) {
        if let Some(leave) = self.leave.take() {
            self.source.shared.end(leave, failure);
        }
    }

    /// Once text was handed out nobody counts the tries any more but we.
    fn counted(&self, failure: Failure) -> Failure {
        if self.source.handed == 0 { failure } else { Failure { tries: self.tries, ..failure } }
    }

    fn reply(&self, heard: Heard) -> Reply {
        let shared = &self.source.shared;
        Reply {
            substituted: super::is_another(&heard.model, &shared.model),
            stop: heard.stop.unwrap_or(crate::Stop::Complete),
            usage: self.spent + shared.model.price.usage(heard.tokens),
            text: heard.text,
            model: heard.model,
            id: heard.id,
            tries: self.tries,
            took: self.begun.elapsed(),
            cached: false,
            again: None,
        }
    }
}

impl Source {
    /// The next text; none when the answer is whole.
    async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.take(&event)?;
                if let Some(text) = self.fresh() {
                    return Ok(Some(text));
                }
            }
            if self.heard.ended {
                return Ok(None);
            }
            let shared = Arc::clone(&self.shared);
            let response = match &mut self.response {
                Some(response) => response,
                none => {
                    let response = shared.exchange.send(&shared.model, &self.ask, true).await?;
                    self.id = request_id(response.headers());
                    none.insert(response)
                }
            };
            match shared.exchange.next(response).await? {
                Some(bytes) => self.split(&bytes)?,
                None => self.closed()?,
            }
        }
    }

    fn split(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.read += bytes.len();
        let max = self.shared.exchange.max_body();
        if self.read > max {
            return Err(too_large(max));
        }
        if !self.shared.exchange.wire.is_lines() {
            let mut events = Vec::new();
            self.parser.push(bytes, &mut events).map_err(|_| too_large(max))?;
            self.ready.extend(events);
            return Ok(());
        }
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let data = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            if !data.is_empty() {
                self.ready.push_back(Event { name: String::new(), data });
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        if event.data.trim() == "[DONE]" {
            self.heard.ended = true;
            return Ok(());
        }
        let data: Value = match serde_json::from_str(&event.data) {
            Ok(data) => data,
            // A new kind of event may hold anything; one without data is nothing.
            Err(_) if event.data.is_empty() => return Ok(()),
            Err(error) => {
                return Err(Failure::new(Class::Malformed, format!("an event is no JSON: {error}")));
            }
        };
        self.shared.exchange.wire.event(&event.name, &data, &mut self.heard)
    }

    fn fresh(&mut self) -> Option<String> {
        let text = self.heard.text.get(self.handed..).filter(|text| !text.is_empty())?.to_owned();
        self.handed = self.heard.text.len();
        Some(text)
    }

    /// The connection was closed: whole only if the format said so before.
    fn closed(&mut self) -> Result<(), Failure> {
        let said = self.heard.stop.is_some() && self.shared.exchange.wire.may_lack_end();
        if self.heard.ended || said {
            self.heard.ended = true;
            return Ok(());
        }
        let mut failure = Failure::new(Class::Malformed, "the stream ended before the answer did");
        failure.usage = self.shared.model.price.usage(self.heard.tokens);
        Err(failure)
    }
}
