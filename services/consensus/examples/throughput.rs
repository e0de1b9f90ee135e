//! Consensus per second through the bus: `cargo run --release -p consensus --example throughput`. Starts a nats-server and
//! one worker, asks from the same process, and prints what came of it; votes only, five voters.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for measuring, run by hand"
)]

use std::time::{Duration, Instant};

use bus::subjects::consensus::WEIGH_VOTES;
use chassis::start_in_process;
use consensus::ConsensusConfig;
use futures::StreamExt;
use model::expert::{ExpertId, WeighVotes};

const FOR: Duration = Duration::from_secs(5);
const SIDE_BY_SIDE: usize = 8;

#[tokio::main]
async fn main() {
    let nats = testkit::nats().await;
    let _worker =
        start_in_process(ConsensusConfig::default(), nats.connect("consensus").await, consensus::start)
            .await
            .unwrap();
    for questions in [1, 100, 1_000, 10_000, 50_000] {
        let asked = batch(questions);
        let begun = Instant::now();
        let calls = futures::stream::repeat(())
            .take_while(|()| std::future::ready(begun.elapsed() < FOR))
            .map(|()| nats.bus.call(&WEIGH_VOTES, &asked, Duration::from_secs(30)))
            .buffer_unordered(SIDE_BY_SIDE);
        let done: usize = calls
            .map(|weighed| weighed.unwrap().actions.len())
            .fold(0, |all, one| async move { all + one })
            .await;
        let per_second = done as f64 / begun.elapsed().as_secs_f64();
        println!("{questions:>6} questions in a message: {per_second:>12.0} consensus per second");
    }
}

fn batch(questions: usize) -> WeighVotes {
    let expert = |name: &str| ExpertId {
        name: name.parse().unwrap(),
        family: format!("{name}s").parse().unwrap(),
        version: "1".into(),
    };
    let panel: Vec<ExpertId> = ["ann", "bob", "eve", "joe", "sue"].map(expert).to_vec();
    let votes = (0..questions * panel.len()).map(|place| 2 + (place * 7 % 11 % 3) as u8).collect();
    WeighVotes { panel, votes, ..WeighVotes::default() }
}
