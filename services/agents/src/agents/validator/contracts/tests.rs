use contract::BYTES;
use model::{
    Outcome, StepKind,
    step::{Agent, Stage},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    config::AgentsConfig,
    context::Stop,
    deploy::tests::{World, job, web},
};

/// Answers every request with the document; gives the address.
async fn serving(document: Vec<u8>) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0_u8; 2048];
            let _ = stream.read(&mut asked).await;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", document.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&document).await;
        }
    });
    (address, tasks)
}

/// The findings when a revision with the one contract was there before and one with the other runs now.
async fn compared(config: AgentsConfig, old: &str, new: Vec<u8>) -> Vec<Finding> {
    let (address, _server) = serving(new).await;
    let mut world = World::with(config);
    world.plane.absent = true;
    let mut job = job(Stage::Verify, 9, StepKind::Validate);
    for spec in [Some(&mut job.spec), job.baseline.as_mut()].into_iter().flatten() {
        let module = &mut spec.modules[0];
        (module.openapi, module.expose, module.health) = (Some("/openapi".to_owned()), None, None);
    }
    let (was, is) = (&job.baseline.as_ref().unwrap().modules[0], &job.spec.modules[0]);
    world.platform.script(|script| script.set_address(&web(), None, "http", &address));
    let mut start = job.clone();
    start.step.agent = Agent::Deployer;
    start.step.kind = StepKind::Scale { module: web(), revision: is.revision(), count: 1 };
    assert_eq!(world.run(&start).await.outcome, Outcome::Succeeded);
    integrator::keep_contract(&world.engine, &job.spec.target_id(), was, old.as_bytes()).await.unwrap();

    compare(&job, &Ctx::new(world.engine.clone(), Stop::default())).await.unwrap()
}

fn api(schema: &str) -> String {
    format!(
        r#"{{"openapi":"3.1.0","paths":{{"/a":{{"get":{{"responses":{{"200":{{"content":{{"application/json":{{"schema":{schema}}}}}}}}}}}}}}}}}"#
    )
}

fn told(findings: &[Finding]) -> Vec<(Severity, &str, &str)> {
    findings.iter().map(|one| (one.severity, one.rule.as_str(), one.message.as_str())).collect()
}

#[tokio::test]
async fn a_break_names_its_kind_and_place() {
    let findings =
        compared(AgentsConfig::default(), &api(r#"{"type":"integer"}"#), api(r#"{"type":"number"}"#).into())
            .await;

    assert_eq!(findings.len(), 1, "{findings:?}");
    let only = &findings[0];
    assert_eq!((only.severity, only.rule.as_str()), (Severity::High, "contract/response-type"));
    assert_eq!(only.field, "openapi#/paths/~1a/get/responses/200/content/application~1json/schema");
    assert!(
        only.message.contains("GET /a: response 200: the type changed from integer to number"),
        "{}",
        only.message
    );
}

#[tokio::test]
async fn yaml_is_compared_with_json() {
    let yaml = "openapi: 3.0.3\npaths:\n  /a:\n    get:\n      responses:\n        200:\n          content:\n            \
                application/json; charset=utf-8:\n              schema: {type: integer}\n";

    let findings = compared(AgentsConfig::default(), &api(r#"{"type":"integer"}"#), yaml.into()).await;

    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn a_doubt_is_told_and_fails_only_where_the_settings_say_so() {
    let (old, new) =
        (api(r#"{"type":"string","pattern":"^[a-z]+$"}"#), api(r#"{"type":"string","pattern":"^[a-y]+$"}"#));
    let strict = AgentsConfig { contract_doubts_fail: true, ..AgentsConfig::default() };

    let told_only = compared(AgentsConfig::default(), &old, new.clone().into()).await;
    let failing = compared(strict, &old, new.into()).await;

    for (findings, severity) in [(told_only, Severity::Info), (failing, Severity::High)] {
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].severity, findings[0].rule.as_str()),
            (severity, "contract/response-pattern")
        );
    }
}

#[tokio::test]
async fn a_contract_of_more_than_four_mebibytes_is_compared_and_one_beyond_the_bound_is_named() {
    let padded = |schema: &str, bytes: usize| {
        api(schema).replacen(
            "{\"openapi\"",
            &format!("{{\"x-padding\":\"{}\",\"openapi\"", "x".repeat(bytes)),
            1,
        )
    };
    let (large, larger) = (padded(r#"{"type":"number"}"#, 5 << 20), padded(r#"{"type":"number"}"#, BYTES));
    let old = padded(r#"{"type":"integer"}"#, 5 << 20);

    let findings = compared(AgentsConfig::default(), &old, large.into()).await;
    let refused = compared(AgentsConfig::default(), &old, larger.into()).await;
    let unread = compared(AgentsConfig::default(), &old, b"<html>".to_vec()).await;

    assert_eq!(findings[0].rule, "contract/response-type", "{findings:?}");
    let told = told(&refused);
    assert_eq!((told[0].0, told[0].1), (Severity::Medium, "validator/no-contract"));
    assert!(told[0].2.contains(&format!("longer than {BYTES} bytes")), "{}", told[0].2);
    assert_eq!((unread[0].severity, unread[0].rule.as_str()), (Severity::Medium, "validator/no-contract"));
}
