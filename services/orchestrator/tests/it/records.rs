//! What one record of a journal holds, and how many there are.

use model::{Verdict, command::Action, deployment::Event as Fact, step::Agent};
use testkit::nats;

use crate::world::*;

#[tokio::test]
async fn a_step_that_ends_and_the_next_that_begins_are_one_record() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);

    let records = history(&nats.bus, &second).await;
    let ends = |record: &model::Record| matches!(record.events.last(), Some(Fact::StepFinished { .. }));
    let begins = |record: &model::Record| matches!(record.events.first(), Some(Fact::StepScheduled { .. }));
    let torn: Vec<_> = records.windows(2).filter(|pair| ends(&pair[0]) && begins(&pair[1])).collect();
    assert!(torn.is_empty(), "{torn:#?}");
    let steps = records.iter().flat_map(|record| &record.events);
    let steps = steps.filter(|event| matches!(event, Fact::StepFinished { .. })).count();
    assert!(records.len() <= steps + 5, "{} records for {steps} steps: {records:#?}", records.len());
    assert!(steps > Agent::ALL.len(), "{steps} steps");
}

/// The journal, the target's journal, events and buckets: whatever the broker has to bring to its disk.
#[tokio::test]
async fn a_step_costs_at_most_one_and_a_half_durable_writes() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let before = nats.bus.durable_writes().await.unwrap();

    let mut steps = 0;
    for number in 2..6 {
        let next = ask(&nats.bus, &submit(shop(&format!("{number}.0.0")))).await;
        until(&nats.bus, &next, "the canary pauses", waits_in_pause).await;
        command(&nats.bus, &next, Action::Promote { full: false }).await.unwrap();
        assert_eq!(verdict(&nats.bus, &next).await, Verdict::Promoted);
        let records = history(&nats.bus, &next).await;
        let events = records.iter().flat_map(|record| &record.events);
        steps += events.filter(|event| matches!(event, Fact::StepFinished { .. })).count() as u64;
    }

    let writes = nats.bus.durable_writes().await.unwrap() - before;
    let per_step = writes as f64 / steps as f64;
    assert!(per_step <= 1.5, "{writes} durable writes for {steps} steps: {per_step:.2} each");
}
