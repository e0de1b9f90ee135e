//! What is true at the moment of the question, beside who asks and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cedar_policy::{Context, RestrictedExpression as Value};
use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Place;

/// What is true at the moment of the question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// What time it is.
    pub now: Timestamp,
    /// The login had a second factor.
    pub mfa: bool,
    /// How long ago they logged in; programs do not.
    pub login_age: Option<Duration>,
    /// How long ago they showed a second factor.
    pub factor_age: Option<Duration>,
    /// Labels of the target.
    pub labels: BTreeMap<String, String>,
    /// The plan that it is about.
    pub plan: Option<PlanFacts>,
    /// What the request asks for beside the action.
    pub asked: Asked,
}

/// A plan, as far as rights depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFacts {
    /// Who wrote or edited it, as texts of subjects: `user:acme/ann`.
    pub authors: BTreeSet<String>,
    /// What it is known by.
    pub digest: Digest,
    /// The kinds of change in it: `create`, `update`, `remove`.
    #[serde(default)]
    pub kinds: BTreeSet<String>,
    /// The largest share of traffic that it moves in one step, in percent.
    #[serde(default)]
    pub percent: u8,
    /// Images that it runs.
    #[serde(default)]
    pub images: BTreeSet<String>,
    /// Names of the secrets that it touches.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
}

/// Arguments of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// A share of traffic.
    pub percent: Option<u8>,
    /// Why.
    pub reason: Option<String>,
    /// The ticket that it is done for.
    pub ticket: Option<String>,
    /// The role that is asked for.
    pub role: Option<String>,
}

const DAY: i64 = 24 * 60 * 60 * 1000;

/// 1 is Monday, 7 is Sunday, in UTC. The first day of 1970 was a Thursday.
fn weekday(now: Timestamp) -> i64 {
    (now.0.div_euclid(DAY) + 3).rem_euclid(7) + 1
}

fn seconds(span: Duration) -> Value {
    Value::new_long(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> Value {
    Value::new_set(all.into_iter().cloned().map(Value::new_string))
}

fn record(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Result<Value, String> {
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value));
    Value::new_record(pairs).map_err(|error| error.to_string())
}

impl Facts {
    /// As policies see them.
    pub(crate) fn context(&self, place: &Place) -> Result<Context, String> {
        let mut pairs = vec![
            ("now", Value::new_datetime(self.now.to_string())),
            ("weekday", Value::new_long(weekday(self.now))),
            ("mfa", Value::new_bool(self.mfa)),
            (
                "labels",
                Value::new_set(
                    self.labels.iter().map(|(name, value)| Value::new_string(format!("{name}={value}"))),
                ),
            ),
            ("asked", self.asked.record()?),
        ];
        pairs.extend(self.login_age.map(|age| ("login_age", seconds(age))));
        pairs.extend(self.factor_age.map(|age| ("factor_age", seconds(age))));
        let named = [
            ("organisation", place.organisation().map(ToString::to_string)),
            ("project", place.project().map(ToString::to_string)),
            ("environment", place.environment().map(ToString::to_string)),
            ("target", place.target()),
        ];
        pairs.extend(named.into_iter().filter_map(|(key, text)| Some((key, Value::new_string(text?)))));
        if let Some(plan) = &self.plan {
            pairs.push(("plan", plan.record()?));
        }
        Context::from_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)))
            .map_err(|error| error.to_string())
    }
}

impl PlanFacts {
    fn record(&self) -> Result<Value, String> {
        record([
            ("authors", texts(&self.authors)),
            ("digest", Value::new_string(self.digest.to_string())),
            ("kinds", texts(&self.kinds)),
            ("percent", Value::new_long(self.percent.into())),
            ("images", texts(&self.images)),
            ("secrets", texts(&self.secrets)),
        ])
    }
}

impl Asked {
    fn record(&self) -> Result<Value, String> {
        let text = |text: &Option<String>| text.clone().map(Value::new_string);
        let pairs = [
            ("percent", self.percent.map(|percent| Value::new_long(percent.into()))),
            ("reason", text(&self.reason)),
            ("ticket", text(&self.ticket)),
            ("role", text(&self.role)),
        ];
        record(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_are_those_of_the_calendar() {
        let at = |text: &str| Timestamp(text.parse::<i64>().unwrap() * 1000);

        assert_eq!(weekday(at("0")), 4, "1970-01-01 was a Thursday");
        assert_eq!(weekday(at("1767225600")), 4, "2026-01-01 is a Thursday");
        assert_eq!(weekday(at("1772323199")), 6, "2026-02-28T23:59:59Z is a Saturday");
        assert_eq!(weekday(at("1772323200")), 7, "2026-03-01 is a Sunday");
        assert_eq!(weekday(Timestamp(-1)), 3, "the day before was a Wednesday");
    }
}
