//! What would become of a request is said in the words in which it would be refused.

use super::{
    super::{
        admit::admit,
        preview::{Heard, Preview},
    },
    *,
};

fn obstacles(world: &World, document: &str) -> Vec<String> {
    let spec: DeploymentSpec = serde_json::from_str(document).unwrap();
    let preview = Preview::new(spec, &world.target, world.policy, world.approvals.as_ref()).unwrap();
    preview.reply(Heard::default()).obstacles
}

/// The reason in the journal of a deployment that is asked for now.
fn refused(world: &mut World, document: &str) -> String {
    let mut asked = world.submit(document, "asked");
    world.run(&mut asked);
    assert_eq!(asked.ending.verdict, Some(Verdict::Rejected), "{:?}", asked.ending.cause);
    asked.ending.cause.unwrap().text
}

#[test]
fn a_quarantined_spec_is_refused_in_the_words_of_its_preview() {
    let mut world = World::with_v1();
    world.bad = Some("watch-web");
    let document = CANARY.replace("VERSION", "2.0.0");
    let mut two = world.submit(&document, "two");
    world.run(&mut two);
    world.bad = None;

    let before = obstacles(&world, &document);

    assert_eq!(before, [refused(&mut world, &document)]);
}

#[test]
fn a_full_queue_refuses_in_the_words_of_the_preview() {
    let mut world = World::with_v1();
    world.target.held = Some(Hold { by: person("ann"), reason: "later".into(), at: world.now });
    world.target.queue =
        (0..model::limits::TARGET_QUEUE).map(|n| DeploymentId::derived(&n.to_string())).collect();
    let document = CANARY.replace("VERSION", "2.0.0");

    let before = obstacles(&world, &document);

    assert_eq!(
        before,
        [refused(&mut world, &document), "ann (unauthenticated) holds the target: later".into()]
    );
}

#[test]
fn who_does_not_want_to_wait_is_refused_in_the_words_of_the_preview() {
    let mut world = World::with_v1();
    let holder = DeploymentId::derived("holder");
    let events = world.target.decide(&Wish::Enqueue(holder.clone()), world.now).unwrap();
    events.iter().for_each(|event| world.target.evolve(event));
    let waits = CANARY.replace("VERSION", "2.0.0");
    let document = waits.replace(r#""strategy""#, r#""whenBusy": "reject", "strategy""#);

    let before = obstacles(&world, &document);

    assert_eq!(obstacles(&world, &waits), [format!("{holder} holds the target; 0 wait")]);
    assert_eq!(before, [refused(&mut world, &document)]);
}

#[test]
fn a_request_id_is_known_again_of_the_same_principal_only() {
    let world = World::new();
    let id_of = |who: &str, key: Option<&str>| {
        let spec: DeploymentSpec = serde_json::from_str(&CANARY.replace("VERSION", "1.0.0")).unwrap();
        let submit = Submit {
            document: String::new(),
            request_id: key.map(str::to_owned),
            plan: None,
            force: None,
            mode: Mode::Apply,
        };
        let (by, fresh) = (who.parse().unwrap(), DeploymentId::new());
        admit(&submit, &by, spec, fresh, None, (world.context(), false)).unwrap().0
    };

    let ann = id_of("unauthenticated:ann", Some("1"));

    assert_eq!(ann, id_of("unauthenticated:ann", Some("1")));
    assert_ne!(ann, id_of("event-source:ann", Some("1")));
    assert_ne!(ann, id_of("unauthenticated:ann", Some("2")));
    assert_ne!(id_of("unauthenticated:ann", None), id_of("unauthenticated:ann", None));
}

#[test]
fn a_missing_secret_rejects_the_plan_and_quarantines_nothing() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.until_idle(&mut second);
    let review =
        second.all_steps().find(|step| step.agent == model::step::Agent::Security).unwrap().id.clone();
    let finding = model::Finding {
        rule: "security/secret-missing".into(),
        severity: model::Severity::High,
        module: None,
        field: "modules[0].secrets[0]".into(),
        message: "secret db-password: there is no folder of secrets".into(),
        cure: String::new(),
        waived: None,
    };
    let result =
        StepResult { findings: vec![finding], ..StepResult::new(Outcome::Failed, "1 finding blocks") };
    let report = StepReport {
        deployment: second.id.clone(),
        attempt: 1,
        fence: second.state_of(&review).fence,
        step: review,
        runner: "runner".into(),
        result: Some(result),
    };
    let told = decide::on_report(&second, &report);
    world.fold(&mut second, told);
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Rejected));
    assert!(!second.has_touched() && world.target.quarantined.is_empty());
    let mut again = world.submit(&CANARY.replace("VERSION", "2.0.0"), "again");
    world.run(&mut again);
    assert_eq!(again.phase, Phase::Executing, "once the secret is there: {:?}", again.ending.cause);
}
