//! The arithmetic, on threads of its own: opinions on full answers, and tables of votes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::expert::{Action, ExpertId, Opinion, Vote, WeighRequest, WeighVotes, WeighedVotes};
use opinion::{
    Facts, Panel, Policy, Records, Said, Tally,
    pool::{Pool, Threads},
};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::error::Error;

/// Questions that one thread takes at a time: about 100 µs of work, so that handing it over costs little beside it.
const ROWS: usize = 512;

/// Threads that compute.
pub struct Compute {
    pool: Pool,
}

impl Compute {
    /// Starts the threads; 0 is one per core. With `pin` each stays on a processor of its own.
    pub fn start(threads: usize, pin: bool) -> Result<Compute, Error> {
        let pool = Pool::start(Threads { count: threads, pinned: pin })?;
        Ok(Compute { pool })
    }

    /// The threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Computes elsewhere; the caller's thread is free meanwhile. A panic is [`Error::Lost`] and the threads go on.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (say, said) = oneshot::channel();
        self.pool.hand_over(move || {
            if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
                // Nobody waits any more if this fails.
                let _ = say.send(done);
            }
        });
        said.await.map_err(|_| Error::Lost)
    }
}

/// One opinion on full answers.
pub fn weigh(request: WeighRequest) -> Result<Opinion, Error> {
    let facts: Facts = shape("facts", request.facts)?;
    let records: Records = shape("records", request.records)?;
    let policy: Policy = shape("policy", request.policy)?;
    policy.check()?;
    Ok(opinion::weigh(&facts, &request.ballots, &records, &policy))
}

/// Absent is the default.
fn shape<T: Default + DeserializeOwned>(what: &'static str, value: Value) -> Result<T, Error> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(value).map_err(|source| Error::Shape { what, source })
}

/// Many questions to one panel, spread over the threads of the pool that this runs on.
pub fn weigh_votes(request: &WeighVotes) -> Result<WeighedVotes, Error> {
    let text = |what, text: &str| match text {
        "" => Ok(Value::Null),
        text => serde_json::from_str(text).map_err(|source| Error::Shape { what, source }),
    };
    let records: Records = shape("records", text("records", &request.records)?)?;
    let policy: Policy = shape("policy", text("policy", &request.policy)?)?;
    policy.check()?;
    let experts: Vec<&ExpertId> = request.panel.iter().collect();
    let panel = Panel::new(&experts, &records, &policy);
    let voters = experts.len().max(1);
    let questions = request.votes.len() / voters;

    let mut weighed = WeighedVotes {
        actions: vec![0; questions],
        posterior: vec![0.0; 3 * questions],
        effective_votes: vec![0.0; questions],
    };
    let columns = weighed
        .actions
        .par_chunks_mut(ROWS)
        .zip(weighed.posterior.par_chunks_mut(3 * ROWS))
        .zip(weighed.effective_votes.par_chunks_mut(ROWS));
    columns.enumerate().for_each(|(chunk, ((actions, posterior), effective))| {
        let mut said = vec![Said::Nothing; voters];
        for (place, action) in actions.iter_mut().enumerate() {
            let at = (chunk * ROWS + place) * voters;
            for (voter, said) in said.iter_mut().enumerate() {
                let confidence = request.confidence.get(at + voter).copied().unwrap_or(0);
                *said = vote(request.votes[at + voter], confidence);
            }
            let tally: Tally = panel.tally(&said);
            *action = number(tally.action);
            for (state, share) in posterior[3 * place..3 * place + 3].iter_mut().zip(tally.posterior) {
                *state = share as f32;
            }
            effective[place] = tally.effective_votes as f32;
        }
    });
    Ok(weighed)
}

fn vote(number: u8, confidence_pct: u8) -> Said {
    let stance = Vote::of(number).and_then(Vote::stance);
    stance.map_or(Said::Nothing, |stance| Said::of(stance, confidence_pct))
}

/// A tally knows no quorum, so it never says that there is none.
const fn number(action: Action) -> u8 {
    match action {
        Action::Approve => 0,
        Action::Reject => 1,
        Action::NeedsChange => 2,
        Action::Escalate | Action::NoQuorum => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(families: &[&str]) -> Vec<ExpertId> {
        let expert = |(place, family): (usize, &&str)| ExpertId {
            name: format!("e{place}").parse().unwrap(),
            family: family.parse().unwrap(),
            version: "1".into(),
        };
        families.iter().enumerate().map(expert).collect()
    }

    fn weighed(votes: Vec<u8>) -> WeighedVotes {
        let panel = panel(&["a", "b", "c"]);
        weigh_votes(&WeighVotes { panel, votes, ..WeighVotes::default() }).unwrap()
    }

    #[test]
    fn each_row_is_weighed_by_itself() {
        let weighed = weighed(vec![2, 2, 2, 3, 3, 3, 0, 0, 0, 4, 4, 1]);

        assert_eq!(weighed.actions, [0, 1, 3, 2]);
        assert!(weighed.posterior.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        assert_eq!(weighed.effective_votes[2], 0.0);
    }

    #[test]
    fn many_rows_give_what_each_gives_alone() {
        let rows: Vec<[u8; 3]> =
            (0..5000u32).map(|n| [n % 5, n / 5 % 5, n / 25 % 5].map(|one| one as u8)).collect();

        let together = weighed(rows.concat());

        for (place, row) in rows.iter().enumerate().step_by(37) {
            let alone = weighed(row.to_vec());
            assert_eq!(alone.actions[0], together.actions[place], "{row:?}");
            assert_eq!(alone.posterior, together.posterior[3 * place..3 * place + 3]);
        }
    }

    #[test]
    fn a_policy_that_nothing_can_be_decided_by_is_refused() {
        let panel = panel(&["a"]);
        let bad = r#"{"quorum_share": 7}"#.to_owned();
        let request = WeighVotes { panel, votes: vec![2], policy: bad, ..WeighVotes::default() };

        assert!(matches!(weigh_votes(&request), Err(Error::Policy(_))));
    }

    #[tokio::test]
    async fn a_computation_that_panics_is_an_error_and_the_threads_go_on() {
        let compute = Compute::start(2, true).unwrap();

        let lost = compute
            .run(|| {
                if true {
                    panic!("planted")
                }
            })
            .await;

        assert!(matches!(lost, Err(Error::Lost)));
        assert_eq!(compute.run(|| 7).await.unwrap(), 7);
    }
}
