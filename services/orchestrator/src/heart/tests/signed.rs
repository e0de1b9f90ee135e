//! Approvals that are signed: what counts, what does not, and what makes what counted void.

use std::collections::BTreeMap;

use approval::{About, NAMESPACE, Require, Rulebook, Signers, Statement, Words, in_words, sshsig};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    Span,
    approval::{Clause, Decision, Signature, Signed},
};

use super::*;

const PLAIN: &str = r#"{
  "apiVersion": "code/v1", "name": "shop", "target": "scripted",
  "modules": [{"name": "web", "version": "2.0.0", "run": {"command": ["web", "2.0.0"]}, "replicas": 2}]
}"#;

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(part);
}

/// The key of this person, the same every time.
fn key(who: &str) -> Ed25519KeyPair {
    let seed: [u8; 32] = std::array::from_fn(|at| *who.as_bytes().get(at).unwrap_or(&0));
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn blob(who: &str) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, b"ssh-ed25519");
    put(&mut blob, key(who).public_key().as_ref());
    blob
}

fn line(who: &str) -> String {
    format!("{who} ssh-ed25519 {}\n", STANDARD.encode(blob(who)))
}

fn clause(count: u8, of: &[&str]) -> Clause {
    Clause { count, of: of.iter().map(|who| (*who).to_owned()).collect(), when: None }
}

fn book(file: &str, all: Vec<Clause>) -> Rulebook {
    let require = vec![Require { environment: None, all }];
    let lasts = Span::seconds(86_400);
    Rulebook::new(Signers::read(file).unwrap(), BTreeMap::new(), require, lasts, false).unwrap()
}

fn people(names: &[&str]) -> String {
    names.iter().map(|who| line(who)).collect()
}

/// A release that waits for two signatures of bob, cat and dan; ann asked for it.
fn waiting() -> (World, Deployment) {
    let mut world = World::with_v1();
    world.approvals = Some(book(&people(&["bob", "cat", "dan"]), vec![clause(2, &[])]));
    let mut two = world.submit(PLAIN, "two");
    world.until_phase(&mut two, Phase::AwaitingApproval);
    (world, two)
}

/// What `who` signs with the key of `with`.
fn signed_by(
    world: &World,
    state: &Deployment,
    who: &str,
    with: &str,
    decision: Decision,
    nonce: u8,
) -> Signed {
    let ballot = state.clearance.ballot.as_ref().unwrap();
    let (target, modules) = (state.spec.target_id(), state.spec.versions());
    let about = About {
        deployment: state.id.as_str(),
        target: &target,
        initiator: &state.initiator,
        modules: &modules,
        plan: state.change.plan.as_ref().unwrap(),
    };
    let nonce = format!("{nonce:032x}");
    let (reason, lasts) = (if decision == Decision::Deny { "not today" } else { "" }, Span::seconds(3600));
    let words = Words { decision, approver: who, reason, nonce: &nonce, issued: world.now, lasts };
    let terms = ballot.terms();
    let statement = Statement::new(&about, &terms.digest(), &in_words(terms), &words).text();
    let data = sshsig::signed(NAMESPACE, "sha512", statement.as_bytes()).unwrap();
    let mut signature = Vec::new();
    put(&mut signature, b"ssh-ed25519");
    put(&mut signature, key(with).sign(&data).as_ref());
    let file = sshsig::file(&blob(with), NAMESPACE, &signature);
    Signed { statement, signature: Signature::Sshsig(file) }
}

fn approval(world: &World, state: &Deployment, who: &str, nonce: u8) -> Action {
    let signed = signed_by(world, state, who, who, Decision::Approve, nonce);
    Action::Approve { plan: state.change.digest.clone().unwrap(), signed: Some(Box::new(signed)) }
}

#[test]
fn two_people_who_sign_let_it_go_on_whoever_hands_it_in() {
    let (mut world, mut two) = waiting();
    let (bob, cat) = (approval(&world, &two, "bob", 1), approval(&world, &two, "cat", 2));

    world.command_by("mallory", &mut two, bob).unwrap();
    assert_eq!(advance(&two, world.context()), vec![], "one person is enough");
    world.command_by("mallory", &mut two, cat).unwrap();
    world.run(&mut two);

    let who: Vec<String> = two.clearance.approvals.iter().map(Principal::as_text).collect();
    assert_eq!(who, ["signer:bob", "signer:cat"]);
    assert_eq!(two.ending.verdict, Some(Verdict::Promoted), "{:?}", two.ending.cause);
}

#[test]
fn an_approval_that_is_not_signed_is_refused_and_told_how() {
    let (mut world, mut two) = waiting();
    let plan = two.change.digest.clone().unwrap();

    let fault = world.command_by("bob", &mut two, Action::Approve { plan, signed: None }).unwrap_err();

    assert_eq!(fault.code, model::Code::Denied);
    assert!(fault.message.contains("has to be signed: codectl approve"), "{fault}");
    assert!(fault.message.contains("2 of bob, cat, dan"), "{fault}");
}

#[test]
fn a_record_that_nobody_signed_counts_for_nothing() {
    let (world, mut two) = waiting();
    let plan = two.change.digest.clone().unwrap();
    let by = |who: &str| format!("signer:{who}").parse::<Principal>().unwrap();
    let forged = |who: &str, signed: Option<Signed>| Event::Approved {
        by: by(who),
        plan: plan.clone(),
        signed: signed.map(Box::new),
    };
    let foreign = signed_by(&world, &two, "cat", "bob", Decision::Approve, 1);
    let of_bob = signed_by(&world, &two, "bob", "bob", Decision::Approve, 2);
    let denied = Event::Denied { by: by("dan"), plan: plan.clone(), reason: String::new(), signed: None };

    let named_otherwise = forged("dan", Some(of_bob));
    let events = vec![forged("bob", None), forged("cat", Some(foreign)), named_otherwise, denied];
    world.fold(&mut two, events);

    assert!(two.clearance.approvals.is_empty(), "{:?}", two.clearance.approvals);
    assert_eq!(advance(&two, world.context()), vec![], "a forged record moved it");
}

#[test]
fn who_asked_for_it_cannot_sign_for_it_and_one_person_is_one() {
    let (mut world, mut two) = waiting();
    world.approvals = Some(book(&people(&["ann", "bob", "cat"]), vec![clause(2, &[])]));
    world.until_idle(&mut two);

    let fault = approval(&world, &two, "ann", 1);
    let fault = world.command_by("ann", &mut two, fault).unwrap_err();
    assert!(fault.message.contains("ann asked for it"), "{fault}");
    for nonce in [2, 3] {
        let again = approval(&world, &two, "bob", nonce);
        world.command_by("bob", &mut two, again).unwrap();
    }
    assert_eq!(two.clearance.approvals.len(), 1);
    assert_eq!(advance(&two, world.context()), vec![], "one person is taken for two");
}

#[test]
fn other_signers_void_what_was_approved_before() {
    let (mut world, mut two) = waiting();
    let bob = approval(&world, &two, "bob", 1);
    world.command_by("bob", &mut two, bob).unwrap();
    let until = two.clearance.until;
    let late = approval(&world, &two, "cat", 2);

    world.approvals = Some(book(&people(&["cat", "dan", "eve"]), vec![clause(2, &[])]));
    world.until_idle(&mut two);

    assert!(two.clearance.approvals.is_empty(), "the approval of a key that is out still counts");
    assert_eq!(two.clearance.until, until, "the wait began anew");
    let fault = world.command_by("cat", &mut two, late).unwrap_err();
    assert!(fault.message.contains("the requirement or the signers changed"), "{fault}");
    for (who, nonce) in [("cat", 3), ("eve", 4)] {
        let signed = approval(&world, &two, who, nonce);
        world.command_by(who, &mut two, signed).unwrap();
    }
    world.run(&mut two);
    assert_eq!(two.ending.verdict, Some(Verdict::Promoted), "{:?}", two.ending.cause);
}

#[test]
fn a_signed_no_rejects_it_with_its_reason() {
    let (mut world, mut two) = waiting();
    let signed = signed_by(&world, &two, "dan", "dan", Decision::Deny, 1);
    let plan = two.change.digest.clone().unwrap();
    let deny =
        Action::Deny { plan, reason: "what the request says".to_owned(), signed: Some(Box::new(signed)) };

    world.command_by("dan", &mut two, deny).unwrap();
    world.run(&mut two);

    assert_eq!(two.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(two.ending.cause.unwrap().text, "denied by dan (by signature): not today");
}

#[test]
fn a_requirement_that_nobody_can_meet_is_refused_at_once() {
    let mut world = World::with_v1();
    world.approvals = Some(book(&people(&["ann", "bob"]), vec![clause(2, &[])]));
    let mut two = world.submit(PLAIN, "two");

    world.run(&mut two);

    let cause = two.ending.cause.unwrap();
    assert_eq!((two.ending.verdict, cause.kind), (Some(Verdict::Rejected), CauseKind::Invalid));
    assert!(
        cause.text.contains("2 of ann, bob") && cause.text.contains("ann (unauthenticated) asked"),
        "{}",
        cause.text
    );
}

#[test]
fn without_signers_a_signature_is_refused_and_names_are_believed() {
    let (world, two) = waiting();
    let signed = approval(&world, &two, "bob", 1);
    let mut world = World::with_v1();
    let asked = PLAIN.replace("\"modules\"", "\"gates\": {\"approvals\": {\"required\": 1}}, \"modules\"");
    let mut two = world.submit(&asked, "two");
    world.until_phase(&mut two, Phase::AwaitingApproval);
    assert!(two.clearance.ballot.is_none());
    let plan = two.change.digest.clone().unwrap();
    let Action::Approve { signed, .. } = signed else { unreachable!() };

    let with = Action::Approve { plan: plan.clone(), signed };
    let fault = world.command_by("bob", &mut two, with).unwrap_err();
    assert!(fault.message.contains("orchestrator.approvals.signers"), "{fault}");
    world.command_by("bob", &mut two, Action::Approve { plan, signed: None }).unwrap();
    world.run(&mut two);
    assert_eq!(two.ending.verdict, Some(Verdict::Promoted));
    assert_eq!(two.clearance.approvals.iter().next().unwrap().to_string(), "bob (unauthenticated)");
}

#[test]
fn a_name_that_is_only_said_can_say_no_too() {
    let mut world = World::with_v1();
    let asked = PLAIN.replace("\"modules\"", "\"gates\": {\"approvals\": {\"required\": 1}}, \"modules\"");
    let mut two = world.submit(&asked, "two");
    world.until_phase(&mut two, Phase::AwaitingApproval);
    let plan = two.change.digest.clone().unwrap();

    world.command_by("bob", &mut two, Action::Deny { plan, reason: "no".to_owned(), signed: None }).unwrap();
    world.run(&mut two);

    assert_eq!(two.ending.cause.unwrap().text, "denied by bob (unauthenticated): no");
}

#[test]
fn what_the_operator_asks_for_is_asked_of_specs_that_ask_for_nothing_and_of_no_way_back() {
    let (mut world, two) = waiting();
    assert!(two.spec.gates.approvals.is_none() && two.phase == Phase::AwaitingApproval);

    let spec = serde_json::from_str(&CANARY.replace("VERSION", "1.0.0")).unwrap();
    let submit =
        Submit { document: String::new(), request_id: None, plan: None, force: None, mode: Mode::Rollback };
    let mut back = world.submit(PLAIN, "back");
    let events = vec![decide::receive(&submit, &person("ann"), spec)];
    let record = Record {
        id: back.id.to_string(),
        version: 1,
        writer: world.me.to_string(),
        at: world.now,
        trace: None,
        events,
    };
    back = Deployment::begin(&record, 1).unwrap();
    world.run(&mut back);
    assert_eq!(back.ending.verdict, Some(Verdict::Promoted), "{:?}", back.ending.cause);
}
