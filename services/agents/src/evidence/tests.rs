use gates::Measurements;
use model::{
    Outcome, StepKind,
    spec::Analysis,
    step::{Agent, Stage, StepResult},
};

use super::scrubbed;
use crate::deploy::tests::{World, job, revision, scale, spec, web, weight};

async fn analysed(world: &World) -> StepResult {
    for job in [scale(1, "one", 1), scale(2, "two", 1), weight(3, 50, false)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let text = r#"{"duration":"4s","metrics":[{"name":"errors","provider":{"errorRate":{}},"success":"< 0.2","interval":"1s"},
        {"name":"p90","provider":{"latency":0.9},"baseline":{},"interval":"1s"}]}"#;
    let analysis: Analysis = serde_json::from_str(text).unwrap();
    let (revision, baseline) = (revision(&spec("two")), Some(revision(&spec("one"))));
    let kind = StepKind::Analyse { module: web(), revision, baseline, analysis, background: false };
    let mut job = job(Stage::Execute, 9, kind);
    job.step.agent = Agent::Performance;
    world.run(&job).await
}

#[tokio::test(start_paused = true)]
async fn every_metric_of_an_analysis_keeps_what_it_counted_of_both_revisions() {
    let mut world = World::new();
    world.plane.requests = 100;

    let result = analysed(&world).await;

    assert_eq!(result.gates.len(), 2, "{result:?}");
    for gate in &result.gates {
        let Measurements::Analysis(kept) = world.document(gate).measured else { panic!("an analysis") };
        assert_eq!((kept.module, kept.revision), (web(), revision(&spec("two"))));
        assert_eq!(kept.baseline, Some(revision(&spec("one"))));
        assert!(kept.looks.len() >= 3, "{:?}", kept.looks);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_changes_no_verdict_and_the_result_says_so() {
    let mut world = World::new();
    world.plane.requests = 100;
    let kept = analysed(&world).await;
    let mut full = World::new();
    full.plane = world.plane.clone();
    full.store.with(|shared| shared.full = Some("no room is left"));

    let unkept = analysed(&full).await;

    assert_eq!((unkept.outcome, unkept.gates.len()), (kept.outcome, kept.gates.len()));
    for gate in &unkept.gates {
        assert_eq!((gate.outcome, &gate.evidence), (Outcome::Succeeded, &None));
        assert!(gate.text.ends_with("what was measured was not kept: no room is left"), "{}", gate.text);
    }
}

#[test]
fn a_text_from_outside_is_kept_without_its_secrets_and_not_without_end() {
    let secret = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

    let kept = scrubbed(&format!("GET http://numbers/?token={secret}: refused{}", ".".repeat(9999)));

    assert!(!kept.contains(secret), "{kept}");
    assert_eq!(kept.chars().count(), super::TEXT_CHARS);
}
