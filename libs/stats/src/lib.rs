//! The statistics behind every gate. They may say "don't know".
//!
//! Numbers in, verdicts out: pure and deterministic. It must never do I/O, read a clock, draw real randomness, or turn
//! missing or too few data into a pass. What is measured, and when, is decided elsewhere.
//!
//! - [`histogram`]: latencies, mergeable and subtractable.
//! - [`condition`]: `< 0.05`.
//! - [`metric`]: many measurements into one outcome, with Argo Rollouts' limits.
//! - [`compare`]: two samples, by Mann-Whitney U and the Hodges-Lehmann shift, after Kayenta's judge.
//! - [`sequential`]: error rates, valid at any stopping time.
//! - [`limit`]: shares and quantiles against fixed limits, with the sample that takes.
//! - [`simulate`]: how often the judges are wrong.

#![warn(missing_docs)]

pub mod compare;
pub mod condition;
pub mod histogram;
pub mod limit;
pub mod metric;
pub mod sequential;
pub mod simulate;

mod normal;
mod text;

pub use compare::{Comparison, EffectSize, Rules, Shift, Verdict, compare_histograms, compare_to_baseline};
pub use condition::{BadCondition, Condition};
pub use histogram::Histogram;
pub use limit::{LimitRules, LimitRun, Look, Measure, Required, required_sample};
pub use metric::{MetricRules, MetricRun, Progress, Reason, Sample};
pub use sequential::{Decision, Sequential};
