//! What is played: rules that say which question gets which answer, fault and delay.

use model::expert::{Advice, Observation, Stance};
use serde::{Deserialize, Serialize};

/// A whole play. As TOML (`[[rules]]`) or JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What is answered where no rule says otherwise.
    pub answer: Script,
    /// The first rule that fits a question, and is not used up, decides it.
    pub rules: Vec<Rule>,
}

/// What happens to some questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only at this vendor.
    pub vendor: Option<Vendor>,
    /// Only to models whose name begins so.
    pub model: Option<String>,
    /// Only questions that want a stream (true) or a whole answer (false).
    pub stream: Option<bool>,
    /// Lets so many fitting questions pass to the next rules before it begins.
    pub skip: u32,
    /// Is used up after so many questions.
    pub times: Option<u32>,
    /// Another answer.
    pub answer: Option<Script>,
    /// Time before the answer's head, in milliseconds.
    pub delay_ms: u64,
    /// Spread of the delay: the standard deviation of its logarithm.
    pub delay_sigma: f64,
    /// What goes wrong. The first one that replaces the answer does; those that change its form add up.
    pub faults: Vec<Fault>,
}

/// Who is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Anthropic.
    Anthropic,
    /// OpenAI, both formats.
    Openai,
    /// Google's Gemini.
    Gemini,
    /// DeepSeek.
    Deepseek,
    /// OpenRouter.
    Openrouter,
    /// Ollama, both formats.
    Ollama,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Vendor; 6] = [
        Vendor::Anthropic,
        Vendor::Openai,
        Vendor::Gemini,
        Vendor::Deepseek,
        Vendor::Openrouter,
        Vendor::Ollama,
    ];

    /// The first part of its paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Vendor::Anthropic => "anthropic",
            Vendor::Openai => "openai",
            Vendor::Gemini => "gemini",
            Vendor::Deepseek => "deepseek",
            Vendor::Openrouter => "openrouter",
            Vendor::Ollama => "ollama",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The vote. Default approve.
    pub verdict: Stance,
    /// Default 80.
    pub confidence_pct: u8,
    /// Default none.
    pub findings: Vec<Observation>,
    /// Default canary.
    pub strategy: Advice,
    /// Default canary, blue_green, rolling.
    pub strategy_ranking: Vec<Advice>,
    /// Default 5, 25, 50.
    pub canary_steps_pct: Vec<u16>,
    /// Default 10.
    pub bake_minutes: u32,
    /// Why. The default names the model, so that two models never say the same.
    pub rationale: Option<String>,
    /// Instead of all this, this text as it stands; `{nonce}` is replaced.
    pub text: Option<String>,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            verdict: Stance::Approve,
            confidence_pct: 80,
            findings: Vec::new(),
            strategy: Advice::Canary,
            strategy_ranking: vec![Advice::Canary, Advice::BlueGreen, Advice::Rolling],
            canary_steps_pct: vec![5, 25, 50],
            bake_minutes: 10,
            rationale: None,
            text: None,
        }
    }
}

impl Script {
    /// The default answer with another vote.
    pub fn verdict(verdict: Stance) -> Script {
        Script { verdict, ..Script::default() }
    }
}

/// How a wait is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitForm {
    /// `retry-after: 2`.
    Seconds,
    /// `retry-after: 0.25`.
    Decimals,
    /// `retry-after: Wed, 25 Nov 2026 20:00:00 GMT`.
    Date,
    /// `retry-after-ms: 250`.
    Millis,
    /// Google's `RetryInfo` in the body.
    RetryInfo,
    /// "try again in 1.5s" in the message.
    Words,
    /// Not at all.
    Untold,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    // Answers with another status.
    /// 429.
    RateLimit {
        /// How the wait is told.
        wait: WaitForm,
        /// How long it is.
        seconds: f64,
    },
    /// OpenAI's second 429: the load grows too fast.
    SlowDown,
    /// Credit or quota is used up.
    Quota,
    /// The key is wrong.
    Auth,
    /// A filter stands before the model.
    Moderation,
    /// There is no such model.
    UnknownModel,
    /// The prompt is too long for the model.
    ContextTooLong,
    /// The request is too large for the server.
    TooLarge,
    /// A parameter is not taken.
    Parameter {
        /// Which.
        name: String,
    },
    /// The vendor is overloaded.
    Overloaded,
    /// Any other status, in the vendor's form.
    Status {
        /// Which.
        code: u16,
    },
    /// A page of a gateway in HTML.
    GatewayPage {
        /// Its status.
        code: u16,
    },
    /// A redirect.
    Redirect {
        /// Where to.
        to: String,
    },

    // No or half an answer.
    /// The head never comes.
    Hang,
    /// The head comes when the gate is released.
    Hold {
        /// The gate's name.
        gate: String,
    },
    /// Silence after so many parts of the body.
    Stall {
        /// Parts.
        after: usize,
    },
    /// The connection breaks after so many parts of the body.
    Cut {
        /// Parts.
        after: usize,
    },
    /// The body ends properly, but too early: after so many parts.
    EndEarly {
        /// Parts.
        after: usize,
    },
    /// The connection breaks in the middle of a character.
    CutInCharacter,
    /// An error in the middle of a stream, after so many events. For a whole answer: as `error_in_ok`.
    ErrorAfter {
        /// Events.
        events: usize,
    },
    /// An error with status 200.
    ErrorInOk,

    // A wrong answer.
    /// Blanks instead of an answer, as DeepSeek's JSON mode.
    Blank,
    /// A body that is no JSON.
    NotJson,
    /// Half an answer, said to be complete.
    HalfAnswer,
    /// The token limit was reached.
    Truncated,
    /// The model refuses.
    Refusal,
    /// A filter behind the model.
    Filtered,
    /// Another nonce.
    WrongNonce,
    /// A field too many and one too few.
    OutOfSchema,
    /// The answer in a code fence, with prose around it.
    Fenced,
    /// A rationale of so many bytes.
    Large {
        /// Bytes.
        bytes: usize,
    },
    /// Another model answers.
    OtherModel {
        /// Its name.
        name: String,
    },

    // A right answer in an odd form.
    /// Signs of life before the answer: blank lines before a whole one, comments or pings in a stream.
    KeepAlive {
        /// How many.
        times: u32,
        /// Between them.
        every_ms: u64,
    },
    /// So many bytes at a time.
    Drip {
        /// Bytes.
        bytes: usize,
        /// Between them.
        every_ms: u64,
    },
    /// Packed by gzip.
    Gzip,
    /// Lines end with CR LF, and the stream begins with a byte order mark.
    WindowsLines,
    /// Events and fields that nobody knows.
    Novelties,
    /// The first event twice.
    DuplicateEvent,
    /// No token counts.
    NoUsage,
    /// No rate-limit headers and no request id.
    NoHeaders,
    /// The model thinks aloud first.
    Thinking,
    /// It thinks aloud in the text itself, between tags, as open models do where their server leaves it there.
    ThinkTags,
    /// The content comes as several parts, thoughts among them.
    Parts,
    /// Integers are written with a fraction of nothing, `80.0`.
    Decimals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_of_the_documentation_can_be_played() {
        let page = include_str!("../../../docs/experts-providers.md");
        let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let scenarios: Vec<&str> = blocks.filter(|block| block.contains("[[rules]]")).collect();

        assert_eq!(scenarios.len(), 1);
        let scenario: Scenario = toml::from_str(scenarios[0]).unwrap();
        assert_eq!(scenario.rules.len(), 2);
    }

    #[test]
    fn every_fault_is_documented() {
        let page = include_str!("../../../docs/experts-providers.md");
        let refused = serde_json::from_value::<Fault>(serde_json::json!({"kind": "no such fault"}));

        // The complaint about an unknown name lists the known ones.
        let complaint = refused.unwrap_err().to_string();
        let kinds: Vec<&str> = complaint.split('`').skip(3).step_by(2).collect();

        assert!(kinds.len() > 35, "{complaint}");
        let missing: Vec<&&str> = kinds.iter().filter(|kind| !page.contains(&format!("`{kind}`"))).collect();
        assert!(missing.is_empty(), "not documented: {missing:?}");
    }
}
