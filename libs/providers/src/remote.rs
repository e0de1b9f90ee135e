//! An expert behind HTTP: one model at one provider, with its breaker, bulkhead, retry budget and cache.

mod exchange;
mod reading;
mod tries;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use ground::{Backoff, Jitter, Secret};
use model::{Digest, Token, expert::ExpertId};
use resilience::{
    Breaker, Budget, Bulkhead, Outcome, Slot,
    breaker::{Permit, Rate, Settings},
};
use tokio::time::Instant;

use self::{exchange::Exchange, tries::Tries};
use crate::{
    account::Estimate,
    ask::{Ask, Condition, Expert, Piece, Pieces, Reply, Stop, Troubles},
    cache::Cache,
    catalogue::{Model, Provider},
    failure::{Class, Failure, Phase},
    latency::Latencies,
    wire::{Heard, Wire},
};

/// Bytes per token below which no text goes: a prompt of more than this many times the context cannot fit.
const MOST_BYTES_PER_TOKEN: u64 = 16;
/// Bytes per token of the estimate of costs; an overestimate of tokens for most texts.
const FEW_BYTES_PER_TOKEN: u64 = 3;

/// One model at one provider.
pub(crate) struct Remote {
    shared: Arc<Shared>,
}

struct Shared {
    who: ExpertId,
    model: Model,
    exchange: Exchange,
    breaker: Breaker,
    bulkhead: Bulkhead,
    budget: Budget,
    waits: Waits,
    latencies: Latencies,
    troubles: Troubles,
    cache: Cache,
    /// Digest of all settings that change an answer.
    settings: Digest,
}

/// Waits between tries.
struct Waits {
    /// After throttling.
    throttled: Backoff,
    /// After any other trouble.
    otherwise: Backoff,
}

/// Leave to ask once.
struct Leave {
    permit: Permit,
    slot: Slot,
}

impl Remote {
    pub(crate) fn new(
        name: &Token,
        model: &Model,
        provider: &Provider,
        wire: Arc<dyn Wire>,
        http: reqwest::Client,
        key: Option<Secret>,
        cache: Cache,
    ) -> Remote {
        let first = model.backoff.0.max(Duration::from_millis(1));
        let backoff = |jitter| Backoff::new(first, first.saturating_mul(16), jitter);
        let open = model.breaker_wait.0.max(Duration::from_millis(1));
        let settings = Settings {
            consecutive_failures: model.breaker_failures,
            success_rate: Some(Rate::default()),
            backoff: Backoff::new(open, open.saturating_mul(10), Jitter::Equal),
            probes: 1,
        };
        let shared = Shared {
            who: model.id(name),
            breaker: Breaker::new(format!("{} at {}", model.model, model.provider), settings),
            bulkhead: Bulkhead::new(model.concurrency, model.queue),
            budget: Budget::new(0.2, 1, Duration::from_secs(60)),
            waits: Waits { throttled: backoff(Jitter::Equal), otherwise: backoff(Jitter::Full) },
            latencies: Latencies::default(),
            troubles: Troubles::default(),
            settings: Digest::of(&(
                &model.provider,
                &model.model,
                &model.extra,
                model.structured,
                &provider.base_url,
            )),
            exchange: Exchange::new(http, wire, provider, key),
            model: model.clone(),
            cache,
        };
        Remote { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Expert for Remote {
    fn who(&self) -> &ExpertId {
        &self.shared.who
    }

    async fn ask(&self, ask: &Ask) -> Result<Reply, Failure> {
        let shared = &self.shared;
        if let Some(reply) = shared.cached(ask) {
            return Ok(reply);
        }
        let mut tries = Tries::new(shared, ask)?;
        loop {
            match shared.once(ask).await {
                Ok(heard) => {
                    let reply = shared.reply(heard, &tries);
                    shared.keep(ask, &reply);
                    return Ok(reply);
                }
                Err(failure) => tries.again_after(failure).await?,
            }
        }
    }

    async fn stream(&self, ask: &Ask) -> Result<Pieces, Failure> {
        let shared = &self.shared;
        if let Some(reply) = shared.cached(ask) {
            let text = Piece::Text(reply.text.clone());
            return Ok(stream::iter([Ok(text), Ok(Piece::End(reply))]).boxed());
        }
        let mut tries = Tries::new(shared, ask)?;
        loop {
            match reading::open(shared, ask, &tries).await {
                Ok(pieces) => return Ok(pieces),
                Err(failure) => tries.again_after(failure).await?,
            }
        }
    }

    fn latencies(&self) -> Option<&Latencies> {
        Some(&self.shared.latencies)
    }

    fn condition(&self) -> Condition {
        Condition { breaker: Some(self.shared.breaker.state()), last_failure: self.shared.troubles.last() }
    }

    fn estimate(&self, ask: &Ask) -> Estimate {
        let model = &self.shared.model;
        let schema = ask.schema.as_ref().map_or(0, |schema| schema.json.to_string().len());
        let bytes = (ask.system.len() + ask.user.len() + schema) as u64;
        let output = u64::from(ask.max_tokens.unwrap_or(u32::MAX).min(model.max_output_tokens));
        let tokens = |output| {
            let input = bytes.div_ceil(FEW_BYTES_PER_TOKEN);
            model.price.of(crate::Tokens { input, output, ..Default::default() })
        };
        Estimate { most: tokens(output), prompt: tokens(0) }
    }
}

impl Shared {
    /// Asks once for a whole answer.
    async fn once(&self, ask: &Ask) -> Result<Heard, Failure> {
        let leave = self.enter(ask).await?;
        let begun = Instant::now();
        let answer = self.until(ask, self.exchange.whole(&self.model, ask)).await;
        let answer = answer.and_then(|heard| self.checked(heard));
        if answer.is_ok() {
            self.latencies.note(begun.elapsed());
        }
        self.end(leave, answer.as_ref().err());
        answer
    }

    fn end(&self, leave: Leave, failure: Option<&Failure>) {
        if let Some(failure) = failure {
            self.troubles.note(failure);
        }
        leave.end(failure);
    }

    /// Waits for a place and asks the breaker.
    async fn enter(&self, ask: &Ask) -> Result<Leave, Failure> {
        let slot = self
            .until(ask, async {
                self.bulkhead.enter().await.map_err(|full| Failure::new(Class::Busy, full.to_string()))
            })
            .await?;
        let permit = self.breaker.permit().map_err(|open| {
            let mut failure = Failure::new(Class::CircuitOpen, "");
            failure.wait = Some(open.retry_after);
            failure
        })?;
        Ok(Leave { permit, slot })
    }

    /// What comes of the work, unless the deadline or the asker ends it before.
    async fn until<T>(
        &self,
        ask: &Ask,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = ask.cancel.cancelled() => Err(Failure::new(Class::Cancelled, "")),
            done = work => done,
            () = tokio::time::sleep_until(ask.deadline) => Err(Failure::new(Class::Timeout(Phase::Total), "")),
        }
    }

    /// An answer that can be handed on.
    fn checked(&self, heard: Heard) -> Result<Heard, Failure> {
        if heard.stop == Some(Stop::Complete) && heard.text.trim().is_empty() {
            let mut failure = Failure::new(Class::Malformed, "the answer is blank");
            failure.usage = self.model.price.usage(heard.tokens);
            return Err(failure);
        }
        Ok(heard)
    }

    fn reply(&self, heard: Heard, tries: &Tries) -> Reply {
        Reply {
            substituted: is_another(&heard.model, &self.model),
            stop: heard.stop.unwrap_or(Stop::Complete),
            usage: tries.spent + self.model.price.usage(heard.tokens),
            text: heard.text,
            model: heard.model,
            id: heard.id,
            tries: tries.done + 1,
            took: tries.begun.elapsed(),
            cached: false,
            again: None,
        }
    }

    fn key(&self, ask: &Ask) -> Option<Digest> {
        let asked = ask.cache_key.as_ref()?;
        Some(Digest::of(&(&self.settings, asked, &ask.schema, ask.max_tokens)))
    }

    fn cached(&self, ask: &Ask) -> Option<Reply> {
        self.cache.get(&self.key(ask)?)
    }

    fn keep(&self, ask: &Ask, reply: &Reply) {
        if let Some(key) = self.key(ask) {
            self.cache.put(key, reply);
        }
    }
}

impl Leave {
    /// Gives the place back and tells the breaker how it went.
    fn end(self, failure: Option<&Failure>) {
        drop(self.slot);
        let outcome = match failure.map(|failure| failure.class) {
            None => Outcome::Success,
            // The asker's doing says nothing about the provider.
            Some(Class::Cancelled | Class::Busy | Class::CircuitOpen | Class::OverBudget) => return,
            // It answered, if only to say no.
            Some(Class::BadRequest | Class::ContextTooLong | Class::Blocked) => Outcome::Success,
            Some(Class::RateLimited) => Outcome::Throttled(failure.and_then(|failure| failure.wait)),
            Some(Class::Auth | Class::Quota | Class::NotFound) => Outcome::Failure,
            Some(Class::Overloaded | Class::Timeout(_) | Class::Malformed | Class::Upstream) => {
                Outcome::Failure
            }
        };
        self.permit.end(outcome);
    }
}

/// Whether the model that answered is another one than was asked.
fn is_another(reported: &str, model: &Model) -> bool {
    let asked = model.model.trim_start_matches("models/");
    let reported = reported.trim_start_matches("models/");
    let is_version = |rest: &str| {
        let mut chars = rest.chars();
        matches!(chars.next(), Some('-' | '@' | ':')) && chars.next().is_some_and(|c| c.is_ascii_digit())
            || rest == ":latest"
    };
    let same = reported == asked || reported.strip_prefix(asked).is_some_and(is_version);
    !reported.is_empty() && !same && !model.aliases.iter().any(|alias| alias == reported)
}

/// A prompt that certainly does not fit is not sent.
fn fits(model: &Model, ask: &Ask) -> Result<(), Failure> {
    let bytes = (ask.system.len() + ask.user.len()) as u64;
    let most = model.context_tokens.saturating_mul(MOST_BYTES_PER_TOKEN);
    if bytes <= most {
        return Ok(());
    }
    let context = model.context_tokens;
    Err(Failure::new(Class::ContextTooLong, format!("{bytes} bytes cannot be {context} tokens")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_version_is_the_same_model_and_a_smaller_sister_is_not() {
        let model: Model = toml::from_str(
            "provider = \"p\"\nmodel = \"gpt-6\"\nfamily = \"gpt\"\ncontext_tokens = 9\nmax_output_tokens = 9\n\
             aliases = [\"gpt-six\"]",
        )
        .unwrap();

        for same in ["gpt-6", "gpt-6-2026-11-01", "gpt-6:latest", "gpt-six", ""] {
            assert!(!is_another(same, &model), "{same}");
        }
        for other in ["gpt-6-mini", "gpt-61", "gpt-5", "llama"] {
            assert!(is_another(other, &model), "{other}");
        }
    }
}
