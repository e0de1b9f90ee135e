//! Every way in which a vendor can fail is a missing vote of the right kind, and never a "no".

use emulators::{Fault, WaitForm};
use model::expert::{Action, AnswerStatus, Stance};

use crate::stage::{Setting, Stage, assert_status, fails, of, question, says};

#[tokio::test]
async fn each_fault_gives_its_status_and_the_others_decide() {
    use AnswerStatus::{Ok, ProviderError, Quota, RateLimited, Refused, SchemaInvalid, Timeout, Truncated};
    let cases: Vec<(Fault, AnswerStatus)> = vec![
        (Fault::RateLimit { wait: WaitForm::Seconds, seconds: 900.0 }, RateLimited),
        (Fault::Quota, Quota),
        (Fault::Auth, ProviderError),
        (Fault::Overloaded, ProviderError),
        (Fault::Status { code: 500 }, ProviderError),
        (Fault::GatewayPage { code: 502 }, ProviderError),
        (Fault::UnknownModel, ProviderError),
        (Fault::Refusal, Refused),
        (Fault::Truncated, Truncated),
        (Fault::HalfAnswer, Truncated),
        (Fault::Blank, SchemaInvalid),
        (Fault::WrongNonce, SchemaInvalid),
        (Fault::OutOfSchema, SchemaInvalid),
        (Fault::Hang, Timeout),
        (Fault::Fenced, Ok),
        (Fault::KeepAlive { times: 3, every_ms: 1 }, Ok),
        (Fault::Gzip, Ok),
        (Fault::Novelties, Ok),
        (Fault::NoUsage, Ok),
    ];
    let stage =
        Stage::with(Setting { models: 3, each: "breaker_failures = 1000", ..Setting::default() }, |config| {
            config.early_stop = false;
        })
        .await;

    for (number, (fault, status)) in cases.into_iter().enumerate() {
        let rules = vec![fails("ole-1", fault.clone())];
        stage.play(rules);
        let mut asked = question(&format!("fault-{number}"));
        asked.deadline_ms = if fault == Fault::Hang { 2500 } else { 0 };

        let consultation = stage.ask(asked).await;

        let ballot = of(&consultation, "ole");
        assert_eq!(ballot.status, status, "{fault:?}: {ballot:#?}");
        assert_eq!(ballot.answer.is_some(), status == Ok, "{fault:?}");
        assert_ne!(consultation.opinion.action, Action::Reject, "{fault:?}: {:#?}", consultation.opinion);
        let votes = if status == Ok { 3 } else { 2 };
        assert_eq!(consultation.opinion.votes, votes, "{fault:?}");
    }
}

#[tokio::test]
async fn another_model_than_was_asked_votes_under_its_own_name() {
    let stage = Stage::models(2, vec![fails("ole-1", Fault::OtherModel { name: "cheaper-1".into() })]).await;

    let consultation = stage.ask(question("swapped")).await;

    let ballot = of(&consultation, "ole");
    assert_eq!(ballot.expert.version, "cheaper-1", "{ballot:#?}");
}

#[tokio::test]
async fn when_most_fail_there_is_no_quorum_and_the_reason_counts_them() {
    let mut rules: Vec<_> =
        ["ann-1", "ole-1", "gus-1"].map(|name| fails(name, Fault::Status { code: 500 })).to_vec();
    rules.push(says("dee-1", Stance::Approve));
    let stage = Stage::models(4, rules).await;

    let consultation = stage.ask(question("down")).await;

    assert_eq!(consultation.opinion.action, Action::NoQuorum);
    assert_status(&consultation, "dee", AnswerStatus::Ok);
    assert!(consultation.opinion.reason.contains("3 provider error"), "{}", consultation.opinion.reason);
}
