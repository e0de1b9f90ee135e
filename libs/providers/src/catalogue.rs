//! Who can be asked, as configuration: providers (where, with which key, in which wire format) and experts (which
//! model, at what price, within which limits).
//!
//! Nothing about a vendor but the shape of its wire format stands in code, so that a new model, a new price or a new
//! OpenAI-compatible server is a matter of this document. `examples/experts.toml` is one.

use std::{collections::BTreeMap, path::PathBuf};

use model::{Span, Token, expert::ExpertId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    account::{Budgets, Price},
    hedge::Hedging,
};

/// Providers, experts and what they may cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalogue {
    /// Where experts are asked, by name.
    pub providers: BTreeMap<Token, Provider>,
    /// Who is asked, by name.
    pub experts: BTreeMap<Token, Model>,
    /// What asking may cost.
    pub budgets: Budgets,
    /// When somebody else is asked as well.
    pub hedging: Hedging,
    /// Answers that are kept.
    pub cache: CacheLimits,
}

/// One endpoint of one vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// Scheme, host and what stands before the format's own paths: `/v1/messages`, `/v1/chat/completions`,
    /// `/v1/responses`, `/api/chat`; for DeepSeek, OpenRouter and `openai-compatible` `/chat/completions`, for Gemini
    /// `/models/…`, so that theirs ends with the version.
    pub base_url: String,
    /// Where its key is. None: it wants none, as a local Ollama.
    #[serde(default)]
    pub key: Option<KeySource>,
    /// Further headers, such as `anthropic-workspace-id`, `OpenAI-Project` or `HTTP-Referer`. A header that the
    /// format sends too is replaced. Keys do not belong here: these values are not held as secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A proxy to go through, such as `http://proxy:3128`. None: straight; the environment's proxies are not used.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Bound of opening a connection. Default 5 s.
    #[serde(default = "default_connect")]
    pub connect_timeout: Span,
    /// Bound from the request to the answer's head, which for a whole answer is the time to write it. Default 2 min;
    /// an Ollama that first has to load its model may want more.
    #[serde(default = "default_first_byte")]
    pub first_byte_timeout: Span,
    /// Bound of silence between two parts of an answer. Default 1 min.
    #[serde(default = "default_idle")]
    pub idle_timeout: Span,
    /// Largest answer in bytes, unpacked. Default 8 MiB.
    #[serde(default = "default_max_body")]
    pub max_body: usize,
}

/// Where a key is kept. The caller resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// In this environment variable.
    Env(String),
    /// In this file; blanks and line ends around it are not part of it.
    File(PathBuf),
}

/// The wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Gemini generateContent.
    Gemini,
    /// DeepSeek: Chat Completions with JSON mode instead of schemas.
    Deepseek,
    /// OpenRouter: Chat Completions over many vendors.
    Openrouter,
    /// Ollama's own `/api/chat`.
    Ollama,
    /// Anybody's Chat Completions: vLLM, llama.cpp, LM Studio, Ollama's OpenAI layer, a gateway.
    OpenaiCompatible,
}

/// One model that is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Where it is asked: a name among the providers.
    pub provider: Token,
    /// Its name at the provider.
    pub model: String,
    /// The vendor's family. Two experts of one family count as hardly more than one voice.
    pub family: Token,
    /// The version whose record counts. None: the model's name.
    #[serde(default)]
    pub version: Option<String>,
    /// Other names under which the provider may say that it answered, without calling it another model. Dated
    /// versions of `model` need not be listed.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: u64,
    /// Most tokens it may write, thinking included.
    pub max_output_tokens: u32,
    /// What it costs. Default nothing, as on one's own machine.
    #[serde(default)]
    pub price: Price,
    /// How it is held to the answer's schema. None: the best its format has.
    #[serde(default)]
    pub structured: Option<Structured>,
    /// Ask the vendor to keep the system text in its prompt cache, where the format lets us. Default no: writing to
    /// the cache costs more at some vendors and pays from the second question on.
    #[serde(default)]
    pub prompt_cache: bool,
    /// Further fields of the request, merged into it, such as `{ thinking = { type = "adaptive" } }`. Here, and only
    /// here, a sampling parameter can be asked for; newer models refuse them.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// Questions to it at a time. Default 8.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Questions that wait for their turn; more are refused. Default 64.
    #[serde(default = "default_queue")]
    pub queue: usize,
    /// Further tries after a failure that may pass. Default 2.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Wait before the first further try where the provider names none; doubles up to 16 times this. Default 500 ms.
    #[serde(default = "default_backoff")]
    pub backoff: Span,
    /// A wait that the provider asks for is kept up to this, else the question fails at once. Default 2 min.
    #[serde(default = "default_longest_wait")]
    pub longest_wait: Span,
    /// Failures in a row after which it is not asked for a while. Default 5.
    #[serde(default = "default_breaker")]
    pub breaker_failures: u32,
    /// How long it is not asked at first; longer each time that it fails again, up to ten times. Default 5 s.
    #[serde(default = "default_breaker_wait")]
    pub breaker_wait: Span,
    /// Who is asked instead when it is slow or down: an expert of another family.
    #[serde(default)]
    pub fallback: Option<Token>,
    /// Asked only as somebody's fallback. Default no.
    #[serde(default)]
    pub standby: bool,
}

/// How a model is held to a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// The vendor enforces the schema.
    Schema,
    /// The vendor enforces JSON; the schema stands in the prompt.
    Json,
    /// The schema stands in the prompt.
    Prompt,
}

/// How many answers are kept for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheLimits {
    /// Most bytes of all kept answers. 0 keeps none. Default 16 MiB.
    pub bytes: usize,
    /// How long an answer is good. Default 10 min.
    pub keep: Span,
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { bytes: 16 << 20, keep: Span::seconds(600) }
    }
}

/// What is wrong in a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCatalogue {
    /// An expert's provider is not listed.
    #[error("experts.{expert}.provider: there is no provider {provider}")]
    NoProvider {
        /// The expert.
        expert: Token,
        /// The missing provider.
        provider: Token,
    },
    /// A fallback is not listed.
    #[error("experts.{expert}.fallback: there is no expert {fallback}")]
    NoFallback {
        /// The expert.
        expert: Token,
        /// The missing fallback.
        fallback: Token,
    },
    /// A fallback of the same family is no second voice and fails with the first.
    #[error(
        "experts.{expert}.fallback: {fallback} is of the same family {family}, take one of another family"
    )]
    SameFamily {
        /// The expert.
        expert: Token,
        /// Its fallback.
        fallback: Token,
        /// Their family.
        family: Token,
    },
    /// The address cannot be used.
    #[error("providers.{provider}.base_url: {url:?} is no http or https address")]
    BadUrl {
        /// The provider.
        provider: Token,
        /// What was written.
        url: String,
    },
    /// A key would cross the network readable.
    #[error(
        "providers.{provider}.base_url: {url} would send the key unencrypted to another machine, use https"
    )]
    OpenKey {
        /// The provider.
        provider: Token,
        /// Where it would go.
        url: String,
    },
    /// A header cannot be sent.
    #[error("providers.{provider}.headers: {header} cannot be sent as a header")]
    BadHeader {
        /// The provider.
        provider: Token,
        /// The header's name.
        header: String,
    },
    /// A number is out of its range.
    #[error("experts.{expert}.{field}: {reason}")]
    BadNumber {
        /// The expert.
        expert: Token,
        /// The field.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("providers.{provider}: {reason}")]
    NoClient {
        /// The provider.
        provider: Token,
        /// Why.
        reason: String,
    },
}

impl Catalogue {
    /// Everything that is wrong in it; empty when it can be used.
    pub fn complaints(&self) -> Vec<BadCatalogue> {
        let providers = self.providers.iter().flat_map(|(name, one)| one.complaints(name));
        providers.chain(self.experts.iter().flat_map(|(name, one)| self.about(name, one))).collect()
    }

    fn about(&self, expert: &Token, one: &Model) -> Vec<BadCatalogue> {
        let mut wrong = Vec::new();
        let number = |field, reason| BadCatalogue::BadNumber { expert: expert.clone(), field, reason };
        if !self.providers.contains_key(&one.provider) {
            wrong.push(BadCatalogue::NoProvider { expert: expert.clone(), provider: one.provider.clone() });
        }
        if let Some(fallback) = &one.fallback {
            match self.experts.get(fallback) {
                None => wrong
                    .push(BadCatalogue::NoFallback { expert: expert.clone(), fallback: fallback.clone() }),
                Some(other) if other.family == one.family => wrong.push(BadCatalogue::SameFamily {
                    expert: expert.clone(),
                    fallback: fallback.clone(),
                    family: one.family.clone(),
                }),
                Some(_) => {}
            }
        }
        if one.context_tokens == 0 {
            wrong.push(number("context_tokens", "a model without context cannot be asked"));
        }
        if one.max_output_tokens == 0 {
            wrong.push(number("max_output_tokens", "a model must be allowed to write at least one token"));
        }
        if one.concurrency == 0 {
            wrong.push(number("concurrency", "at least one question at a time must be allowed"));
        }
        if one.retries > 10 {
            wrong.push(number("retries", "more than 10 retries only help to be locked out"));
        }
        if one.breaker_wait.0.is_zero() {
            wrong.push(number("breaker_wait", "must be longer than nothing"));
        }
        if one.backoff.0.is_zero() {
            wrong.push(number("backoff", "must be longer than nothing"));
        }
        if !one.price.is_sound() {
            wrong.push(number("price", "prices are finite and not negative"));
        }
        wrong
    }
}

impl Model {
    /// Who it is, as it stands in ballots.
    pub fn id(&self, name: &Token) -> ExpertId {
        let version = self.version.clone().unwrap_or_else(|| self.model.clone());
        ExpertId { name: name.clone(), family: self.family.clone(), version }
    }
}

impl Provider {
    fn complaints(&self, name: &Token) -> Vec<BadCatalogue> {
        let mut wrong = Vec::new();
        match reqwest::Url::parse(&self.base_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if self.key.is_some() && url.scheme() == "http" && !is_this_machine(&url) {
                    wrong.push(BadCatalogue::OpenKey { provider: name.clone(), url: self.base_url.clone() });
                }
            }
            _ => wrong.push(BadCatalogue::BadUrl { provider: name.clone(), url: self.base_url.clone() }),
        }
        for (header, value) in &self.headers {
            let name_fits = reqwest::header::HeaderName::from_bytes(header.as_bytes()).is_ok();
            if !name_fits || reqwest::header::HeaderValue::from_str(value).is_err() {
                wrong.push(BadCatalogue::BadHeader { provider: name.clone(), header: header.clone() });
            }
        }
        wrong
    }
}

/// The loopback names and addresses, and names without a dot, which only a local network or a container's resolves.
fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || (!host.contains('.') && !host.contains(':'))
}

fn default_connect() -> Span {
    Span::seconds(5)
}
fn default_first_byte() -> Span {
    Span::seconds(120)
}
fn default_idle() -> Span {
    Span::seconds(60)
}
fn default_max_body() -> usize {
    8 << 20
}
fn default_concurrency() -> usize {
    8
}
fn default_queue() -> usize {
    64
}
fn default_retries() -> u32 {
    2
}
fn default_backoff() -> Span {
    Span::millis(500)
}
fn default_longest_wait() -> Span {
    Span::seconds(120)
}
fn default_breaker() -> u32 {
    5
}
fn default_breaker_wait() -> Span {
    Span::seconds(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Catalogue, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_can_be_used() {
        let catalogue = read(include_str!("../../../examples/experts.toml")).unwrap();

        assert_eq!(catalogue.complaints(), []);
        assert!(catalogue.experts.len() >= 7, "{:?}", catalogue.experts.keys());
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let refused = read("[providers.a]\ndialect = \"ollama\"\nbase_url = \"http://a\"\ntemperature = 1\n");

        assert!(refused.unwrap_err().contains("temperature"));
    }

    #[test]
    fn a_fallback_of_the_same_family_is_refused_and_so_is_a_key_in_the_open() {
        let catalogue = read(
            r#"
            [providers.far]
            dialect = "anthropic"
            base_url = "http://far.example"
            key = { env = "KEY" }
            [experts.a]
            provider = "far"
            model = "a-1"
            family = "a"
            context_tokens = 1000
            max_output_tokens = 100
            fallback = "b"
            [experts.b]
            provider = "near"
            model = "a-2"
            family = "a"
            context_tokens = 1000
            max_output_tokens = 100
            "#,
        )
        .unwrap();

        let complaints: Vec<String> = catalogue.complaints().iter().map(ToString::to_string).collect();

        assert_eq!(
            complaints,
            [
                "providers.far.base_url: http://far.example would send the key unencrypted to another machine, \
                 use https",
                "experts.a.fallback: b is of the same family a, take one of another family",
                "experts.b.provider: there is no provider near",
            ]
        );
    }
}
