//! The vendors of language models, played by one server: their wire formats, errors, limits and quirks, by scenario.
//!
//! For tests and demonstrations. Questions are answered in the closed schema of `model::expert`, with the nonce found in
//! the prompt (see [`answer`]); a [`Scenario`] changes the verdicts and scripts the faults. It must never speak to a
//! vendor, keep a key, or be taken for a judgement on anything.
//!
//! ```text
//! http://HOST/anthropic            /v1/messages
//! http://HOST/openai               /v1/chat/completions  /v1/responses
//! http://HOST/gemini               /v1/models/MODEL:generateContent  …:streamGenerateContent  (also below /v1beta)
//! http://HOST/deepseek             /chat/completions  (also below /v1)
//! http://HOST/openrouter           /api/v1/chat/completions
//! http://HOST/ollama               /api/chat  /v1/chat/completions
//! http://HOST/_scenario            GET, PUT (JSON): what is played; PUT begins it anew
//! http://HOST/_requests            GET, DELETE: what was asked
//! http://HOST/_release/GATE        POST: lets go what waits there
//! ```

#![warn(missing_docs)]

pub mod answer;
pub mod scenario;
pub mod server;

mod delivery;
mod limits;
mod play;
mod stage;
mod vendor;

pub use scenario::{Fault, Rule, Scenario, Script, Vendor, WaitForm};
pub use server::{Emulator, Failed};
pub use stage::Recorded;
