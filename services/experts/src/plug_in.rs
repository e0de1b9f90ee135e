//! An expert that is a program behind a door on the bus: the same trait as a model's, so that nothing else knows.

use async_trait::async_trait;
use bus::{Bus, subjects::experts::PLUG_IN};
use futures::{StreamExt, stream};
use model::{
    Code,
    expert::{ExpertId, Usage},
};
use providers::{Ask, Class, Condition, Expert, Failure, Phase, Piece, Pieces, Reply, Stop, Troubles};
use serde_json::json;
use tokio::time::Instant;

use crate::config::PlugIn as Settings;

/// One program.
pub struct PlugIn {
    bus: Bus,
    who: ExpertId,
    troubles: Troubles,
}

impl PlugIn {
    /// The program that these settings name. Whether it runs shows when it is asked.
    pub fn new(bus: Bus, settings: &Settings) -> PlugIn {
        let who = ExpertId {
            name: settings.name.clone(),
            family: settings.family.clone(),
            version: settings.version.clone(),
        };
        PlugIn { bus, who, troubles: Troubles::default() }
    }
}

#[async_trait]
impl Expert for PlugIn {
    fn who(&self) -> &ExpertId {
        &self.who
    }

    /// What it says is an answer in the schema as JSON, or `{"refused": "why"}`.
    async fn ask(&self, ask: &Ask) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let question = json!({
            "system": ask.system,
            "user": ask.user,
            "schema": ask.schema.as_ref().map(|schema| &schema.json),
            "deadline_ms": ask.left().as_millis() as u64,
        });
        let asked = self.bus.knock(&PLUG_IN, &self.who.name, &question, ask.left());
        let said = tokio::select! {
            biased;
            () = ask.cancel.cancelled() => return Err(Failure::new(Class::Cancelled, "")),
            said = asked => said.map_err(|error| {
                let failure = failure(&error);
                self.troubles.note(&failure);
                failure
            })?,
        };
        let refused = said.get("refused").and_then(|why| why.as_str());
        let (text, stop) = match refused {
            Some(why) => (why.to_owned(), Stop::Refused),
            None => (said.to_string(), Stop::Complete),
        };
        Ok(Reply {
            text,
            stop,
            usage: Usage::default(),
            model: self.who.version.clone(),
            substituted: false,
            id: String::new(),
            tries: 1,
            took: begun.elapsed(),
            cached: false,
            again: None,
        })
    }

    fn condition(&self) -> Condition {
        Condition { breaker: None, last_failure: self.troubles.last() }
    }

    async fn stream(&self, ask: &Ask) -> Result<Pieces, Failure> {
        let reply = self.ask(ask).await?;
        let text = Piece::Text(reply.text.clone());
        Ok(stream::iter([Ok(text), Ok(Piece::End(reply))]).boxed())
    }
}

fn failure(error: &bus::Error) -> Failure {
    let class = match error.code() {
        Code::Timeout => Class::Timeout(Phase::Total),
        Code::Invalid => Class::BadRequest,
        _ => Class::Upstream,
    };
    Failure::new(class, error.to_string())
}
