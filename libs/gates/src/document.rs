//! One document of one gate.

use model::{DeploymentId, Digest, GateResult, StepId, Timestamp, digest::canonical_json};
use serde::{Deserialize, Serialize};

use crate::{
    analysis::Analysed,
    regression::Regression,
    smoke::Smoked,
    soak::Soaked,
    traffic::Arrived,
    verdict::{Difference, Unjudged},
};

/// The format that is written and read.
const FORMAT: u32 = 1;
/// The largest document that is kept.
pub const MOST_BYTES: usize = 1 << 20;

/// What one gate measured in one attempt of a step. Kept as canonical JSON, known by the SHA-256 of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The format: 1.
    pub v: u32,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The step.
    pub step: StepId,
    /// The attempt of the step, from 1.
    pub attempt: u32,
    /// The gate.
    pub gate: String,
    /// When it was judged.
    pub at: Timestamp,
    /// What was asked, and what was counted.
    pub measured: Measurements,
}

/// What was asked and counted, by the kind of gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measurements {
    /// A metric of an analysis.
    Analysis(Box<Analysed>),
    /// A smoke test.
    Smoke(Smoked),
    /// The shares of the traffic.
    Traffic(Arrived),
    /// A revision against the one before.
    Regression(Box<Regression>),
    /// Instances that must stay well.
    Soak(Soaked),
}

impl Document {
    /// Of a gate of an attempt.
    pub fn new(
        deployment: DeploymentId,
        (step, attempt): (StepId, u32),
        gate: &str,
        at: Timestamp,
        measured: Measurements,
    ) -> Document {
        Document { v: FORMAT, deployment, step, attempt, gate: gate.to_owned(), at, measured }
    }

    /// Reads one; it must be canonical JSON, so that two readers cannot take two things from it.
    pub fn read(bytes: &[u8]) -> Result<Document, Unjudged> {
        model::digest::check_canonical(bytes).map_err(Unjudged::Unreadable)?;
        serde_json::from_slice(bytes).map_err(|error| Unjudged::Unreadable(error.to_string()))
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// What it is known by.
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(&self.to_bytes())
    }

    /// The verdict that follows from it. The result names no evidence: it is what the evidence says.
    pub fn judge(&self) -> Result<GateResult, Unjudged> {
        if self.v != FORMAT {
            return Err(Unjudged::Format(self.v));
        }
        let judged = match &self.measured {
            Measurements::Analysis(it) => it.judge(self.at)?,
            Measurements::Smoke(it) => it.judge(self.at),
            Measurements::Traffic(it) => it.judge(self.at),
            Measurements::Regression(it) => it.judge(&self.gate, self.at)?.0,
            Measurements::Soak(it) => it.judge(&self.gate, self.at),
        };
        if judged.gate != self.gate {
            let text = format!("it is named {}, and what was measured is {}", self.gate, judged.gate);
            return Err(Unjudged::Wrong(text));
        }
        Ok(judged)
    }

    /// Where the verdict that was told differs from the one that follows from the document. Words are not compared.
    pub fn differences(&self, told: &GateResult) -> Result<Vec<Difference>, Unjudged> {
        let again = self.judge()?;
        let mut found = Vec::new();
        let mut compare = |field: &str, told: String, again: String| {
            if told != again {
                found.push(Difference::new(
                    field,
                    format!("told was {told}, from what was measured follows {again}"),
                ));
            }
        };
        compare("gate", told.gate.clone(), again.gate.clone());
        compare("outcome", told.outcome.to_string(), again.outcome.to_string());
        compare("limit", format!("{:?}", told.limit), format!("{:?}", again.limit));
        compare("samples", told.samples.to_string(), again.samples.to_string());
        compare("at", told.at.to_string(), again.at.to_string());
        if !is_same(told.measured, again.measured) {
            compare("measured", shown(told.measured), shown(again.measured));
        }
        Ok(found)
    }
}

/// The same up to what two machines may make of one logarithm.
fn is_same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn shown(measured: Option<f64>) -> String {
    measured.map_or("no value".to_owned(), |value| value.to_string())
}
