//! The experts against the emulated vendors: formats, faults, hedging, keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where its ground is missing, and its tasks end with it"
)]

mod faults;
mod formats;
mod hedging;
mod keys;
mod limits;
mod sdk;
mod streams;

use std::{future::Future, time::Duration};

use emulators::{Emulator, Fault, Rule, Scenario, Vendor};
use ground::Secret;
use model::{Token, expert::Answer};
use providers::{Ask, Catalogue, Circle, Expert};

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Every expert's name, with who is played behind it.
pub const EXPERTS: [(&str, Vendor); 9] = [
    ("anthropic", Vendor::Anthropic),
    ("openai-chat", Vendor::Openai),
    ("openai-responses", Vendor::Openai),
    ("gemini", Vendor::Gemini),
    ("deepseek", Vendor::Deepseek),
    ("openrouter", Vendor::Openrouter),
    ("ollama", Vendor::Ollama),
    ("ollama-openai", Vendor::Ollama),
    ("openai-compatible", Vendor::Openai),
];

pub fn token(name: &str) -> Token {
    name.parse().unwrap()
}

/// A catalogue with one expert per format. `more` is added to every expert.
pub fn catalogue(emulator: &Emulator, more: &str) -> Catalogue {
    let mut text = String::new();
    for (name, vendor) in EXPERTS {
        let base = emulator.base_url(vendor);
        let (dialect, base) = match name {
            "ollama-openai" | "openai-compatible" => ("openai-compatible", format!("{base}/v1")),
            dialect => (dialect, base),
        };
        text.push_str(&format!(
            "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\nkey = {{ env = \"KEY\" }}\n\
             [experts.{name}]\nprovider = \"{name}\"\nmodel = \"{name}-1\"\nfamily = \"{name}\"\n\
             context_tokens = 100000\nmax_output_tokens = 4096\nbackoff = \"1ms\"\n\
             price = {{ input = 1.0, output = 2.0 }}\n{more}\n"
        ));
    }
    toml::from_str(&text).unwrap()
}

pub fn circle(emulator: &Emulator, more: &str) -> Circle {
    open(&catalogue(emulator, more))
}

pub fn open(catalogue: &Catalogue) -> Circle {
    Circle::open(catalogue, |_| Ok(Secret::new("sk-test-0123456789"))).unwrap()
}

pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Answer).to_value()
}

/// A question in the closed schema.
pub fn question() -> Ask {
    Ask::new("You judge deployments.", "May shop go on? Echo the nonce: n0nce-77", PATIENCE)
        .in_schema("answer", schema())
}

pub async fn emulator(rules: Vec<Rule>) -> Emulator {
    Emulator::start(Scenario { rules, ..Scenario::default() }).await.unwrap()
}

/// A rule for every question.
pub fn always(faults: &[Fault]) -> Rule {
    Rule { faults: faults.to_vec(), ..Rule::default() }
}

/// A rule for the first questions.
pub fn first(times: u32, faults: &[Fault]) -> Rule {
    Rule { times: Some(times), ..always(faults) }
}

pub fn expert<'a>(circle: &'a Circle, name: &str) -> &'a dyn Expert {
    circle.get(&token(name)).unwrap().as_ref()
}

/// Fails a test that hangs.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("not within a minute")
}

/// The answer, which has to fit the closed schema.
pub fn read(text: &str) -> Answer {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
