//! Consensus workers behind a real nats-server.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use bus::subjects::consensus::{WEIGH, WEIGH_VOTES};
use chassis::{Process, Running, start_in_process};
use consensus::ConsensusConfig;
use model::{
    Code, Fault,
    expert::{
        Action, Advice, Answer, AnswerStatus, Ballot, ExpertId, Stance, Usage, WeighRequest, WeighVotes,
    },
};
use serde_json::{Value, json};
use testkit::TestNats;

const PATIENCE: Duration = Duration::from_secs(60);

async fn worker(nats: &TestNats) -> Running {
    let config = ConsensusConfig { threads: 2, pin: false };
    start_in_process(config, nats.connect_service("consensus").await, consensus::start).await.unwrap()
}

fn expert(name: &str) -> ExpertId {
    ExpertId { name: name.parse().unwrap(), family: format!("{name}s").parse().unwrap(), version: "1".into() }
}

fn ballot(name: &str, verdict: Stance) -> Ballot {
    Ballot {
        expert: expert(name),
        status: AnswerStatus::Ok,
        answer: Some(Answer {
            nonce: "n".into(),
            verdict,
            confidence_pct: 80,
            findings: Vec::new(),
            strategy: Advice::Canary,
            strategy_ranking: Vec::new(),
            canary_steps_pct: vec![5, 50, 100],
            bake_minutes: 5,
            rationale: format!("{name} says so for reasons of its own"),
        }),
        reason: String::new(),
        took_ms: 1,
        usage: Usage::default(),
        prompt: None,
        cached: false,
        late: false,
    }
}

fn request() -> WeighRequest {
    let ballots = ["ann", "bob", "eve"].map(|name| ballot(name, Stance::Approve)).to_vec();
    WeighRequest { ballots, facts: Value::Null, records: Value::Null, policy: Value::Null }
}

#[tokio::test]
async fn a_worker_says_what_the_library_says() {
    let nats = testkit::nats().await;
    let _worker = worker(&nats).await;

    let opinion = nats.bus.call(&WEIGH, &request(), PATIENCE).await.unwrap();

    let here =
        opinion::weigh(&Default::default(), &request().ballots, &Default::default(), &Default::default());
    // Reading a number back from JSON may change its last bits.
    assert_eq!((opinion.action, &opinion.reason), (here.action, &here.reason));
    assert!((opinion.posterior["safe"] - here.posterior["safe"]).abs() < 1e-9);
    assert_eq!(opinion.action, Action::Approve);
}

#[tokio::test]
async fn a_failed_gate_outranks_every_vote() {
    let nats = testkit::nats().await;
    let _worker = worker(&nats).await;
    let gated = WeighRequest { facts: json!({"failed_gates": ["signature"]}), ..request() };

    let opinion = nats.bus.call(&WEIGH, &gated, PATIENCE).await.unwrap();

    assert_eq!(opinion.action, Action::Reject);
}

#[tokio::test]
async fn settings_in_another_shape_are_refused_by_name() {
    let nats = testkit::nats().await;
    let _worker = worker(&nats).await;
    let odd = WeighRequest { policy: json!({"magic": 1}), ..request() };

    let refusal = Fault::from(nats.bus.call(&WEIGH, &odd, PATIENCE).await.unwrap_err());

    assert_eq!(refusal.code, Code::Invalid);
    assert!(refusal.message.contains("policy") && refusal.message.contains("magic"), "{refusal}");
}

#[tokio::test]
async fn many_questions_are_one_message() {
    let nats = testkit::nats().await;
    let _worker = worker(&nats).await;
    let panel = ["ann", "bob", "eve"].map(expert).to_vec();
    let votes: Vec<u8> = (0..20_000u32).flat_map(|n| [2, 2 + (n % 3) as u8, 2 + (n / 3 % 3) as u8]).collect();

    let asked = WeighVotes { panel, votes, ..WeighVotes::default() };
    let weighed = nats.bus.call(&WEIGH_VOTES, &asked, PATIENCE).await.unwrap();

    assert_eq!(weighed.actions.len(), 20_000);
    assert_eq!(weighed.actions[0], 0);
}

#[tokio::test]
async fn calls_are_shared_by_all_workers() {
    let nats = testkit::nats().await;
    let processes = [Process::default(), Process::default()];
    let mut running = Vec::new();
    for process in &processes {
        let config = ConsensusConfig { threads: 1, pin: false };
        let bus = nats.connect_service("consensus").await;
        running.push(process.start(config, bus, consensus::start).await.unwrap());
    }
    let panel = vec![expert("ann"), expert("bob")];
    let asked = WeighVotes { panel, votes: vec![2, 2], ..WeighVotes::default() };

    // The broker chooses at random: that one of two gets none of 64 happens once in 2^63.
    for _ in 0..64 {
        nats.bus.call(&WEIGH_VOTES, &asked, PATIENCE).await.unwrap();
    }

    let counted = processes.map(|process| weighed_by(&process));
    assert_eq!(counted.iter().sum::<u64>(), 64);
    assert!(counted.iter().all(|count| *count > 0), "{counted:?}");
}

/// What a process' page of metrics says.
fn weighed_by(process: &Process) -> u64 {
    let page = process.board.page.text().unwrap();
    let line = page.lines().find(|line| line.starts_with("code_consensus_vote_questions_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
