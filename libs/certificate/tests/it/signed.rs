//! Approvals that are signed, in certificates: what is recomputed from the journal, and what ssh-keygen says of what is
//! exported.

use std::process::{Command, Stdio};

use approval::{About, NAMESPACE, Statement, Words, in_words, sshsig};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use certificate::{Ending, Story, verify::check};
use model::{
    Event, Principal, Record, Span, Timestamp,
    approval::{Clause, Decision, Rule, Signature, Signed, Terms},
};

use crate::{
    fixture::{BEGAN, NOW, Office, facts, journal, promoted},
    forged::called_promoted,
    mutations::sign,
};

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

fn signer(who: &str) -> Principal {
    format!("signer:{who}").parse().unwrap()
}

/// Two of bob, carol and dan have to sign. The spec of the fixture asks for one of bob and carol.
fn terms() -> Terms {
    let clause = |count, of: &[&str]| Rule {
        all: vec![Clause { count, of: of.iter().map(|who| (*who).to_owned()).collect(), when: None }],
    };
    let line = |who: &str| format!("{who} ssh-ed25519 {}\n", STANDARD.encode(blob(who)));
    Terms {
        rules: vec![clause(2, &["bob", "carol", "dan"]), clause(1, &["bob", "carol"])],
        signers: ["bob", "carol", "dan"].map(line).concat(),
        lasts: Span::seconds(86_400),
        verified: false,
    }
}

struct Choice<'a> {
    who: &'a str,
    key: &'a str,
    decision: Decision,
    issued: i64,
    lasts: u64,
    nonce: u8,
}

const CHOICE: Choice<'static> =
    Choice { who: "bob", key: "bob", decision: Decision::Approve, issued: BEGAN, lasts: 3600, nonce: 1 };

fn signed_for(records: &[Record], terms: &Terms, choice: &Choice<'_>) -> Signed {
    let mut events = records.iter().flat_map(|record| &record.events);
    let Some(Event::Received { spec, initiator, .. }) = events.next() else { unreachable!() };
    let plan = events.find_map(|event| match event {
        Event::Planned { plan, .. } => Some(plan),
        _ => None,
    });
    let (target, modules) = (spec.target_id(), spec.versions());
    let about = About {
        deployment: &records[0].id,
        target: &target,
        initiator,
        modules: &modules,
        plan: plan.unwrap(),
    };
    let nonce = format!("{:032x}", choice.nonce);
    let words = Words {
        decision: choice.decision,
        approver: choice.who,
        reason: "seen",
        nonce: &nonce,
        issued: Timestamp(choice.issued),
        lasts: Span::seconds(choice.lasts),
    };
    let statement = Statement::new(&about, &terms.digest(), &in_words(terms), &words).text();
    let mut signature = Vec::new();
    put(&mut signature, b"ssh-ed25519");
    let data = sshsig::signed(NAMESPACE, "sha512", statement.as_bytes()).unwrap();
    put(&mut signature, key(choice.key).sign(&data).as_ref());
    let file = sshsig::file(&blob(choice.key), NAMESPACE, &signature);
    Signed { statement, signature: Signature::Sshsig(file) }
}

/// A promotion that these people approved under these terms.
fn approved_under(terms: &Terms, choices: &[Choice<'_>]) -> Vec<Record> {
    let mut records = promoted();
    let approvals: Vec<Event> = choices
        .iter()
        .map(|choice| {
            let signed = Some(Box::new(signed_for(&records, terms, choice)));
            let Some(Event::Planned { plan, .. }) = records
                .iter()
                .flat_map(|record| &record.events)
                .find(|event| matches!(event, Event::Planned { .. }))
            else {
                unreachable!()
            };
            let (by, plan) = (signer(choice.who), plan.digest());
            match choice.decision {
                Decision::Approve => Event::Approved { by, plan, signed },
                Decision::Deny => Event::Denied { by, plan, reason: "seen".to_owned(), signed },
            }
        })
        .collect();
    for record in &mut records {
        match record.events.as_mut_slice() {
            [Event::ApprovalAwaited { terms: own, .. }] => *own = Some(Box::new(terms.clone())),
            [Event::Approved { .. }] => record.events.clone_from(&approvals),
            _ => {}
        }
    }
    records
}

/// A promotion that bob and dan signed for.
pub fn signed() -> Vec<Record> {
    approved_under(&terms(), &[CHOICE, Choice { who: "dan", key: "dan", nonce: 2, ..CHOICE }])
}

fn approvals(records: &mut [Record]) -> &mut Vec<Event> {
    let one = records.iter_mut().find(|record| matches!(record.events.first(), Some(Event::Approved { .. })));
    &mut one.unwrap().events
}

fn of(event: &mut Event) -> &mut Option<Box<Signed>> {
    match event {
        Event::Approved { signed, .. } | Event::Denied { signed, .. } => signed,
        _ => unreachable!(),
    }
}

fn awaited(records: &mut [Record]) -> &mut Option<Box<Terms>> {
    let mut all = records.iter_mut().flat_map(|record| &mut record.events);
    all.find_map(|event| match event {
        Event::ApprovalAwaited { terms, .. } => Some(terms),
        _ => None,
    })
    .unwrap()
}

/// What an engine, or somebody inside, would write to make an approval of what was not approved.
pub type Forgery = (&'static str, fn() -> Vec<Record>);

pub const UNSIGNED: &[Forgery] = &[
    ("signed by a key of nobody", || {
        approved_under(&terms(), &[Choice { key: "mallory", ..CHOICE }, second()])
    }),
    ("signed by another approver's key", || {
        approved_under(&terms(), &[Choice { key: "dan", ..CHOICE }, second()])
    }),
    ("only one of two", || approved_under(&terms(), &[CHOICE])),
    ("one person twice", || approved_under(&terms(), &[CHOICE, Choice { nonce: 2, ..CHOICE }])),
    ("the same statement twice", || approved_under(&terms(), &[CHOICE, CHOICE, second()])),
    ("the nonce of another statement", || {
        approved_under(&terms(), &[CHOICE, Choice { nonce: 1, ..second() }])
    }),
    ("by who asked for it", || {
        approved_under(&terms(), &[Choice { who: "ada", key: "ada", nonce: 3, ..CHOICE }, CHOICE, second()])
    }),
    ("by somebody who is not asked", || {
        approved_under(&terms(), &[Choice { who: "eve", key: "eve", nonce: 3, ..CHOICE }, CHOICE, second()])
    }),
    ("expired when it was given", || {
        approved_under(&terms(), &[Choice { issued: BEGAN - 7_200_000, ..CHOICE }, second()])
    }),
    ("not valid yet", || {
        approved_under(&terms(), &[Choice { issued: BEGAN + 3_600_000, ..CHOICE }, second()])
    }),
    ("for longer than one counts", || {
        approved_under(&terms(), &[Choice { lasts: 90_000, ..CHOICE }, second()])
    }),
    ("signed for other terms", || {
        let other = Terms { lasts: Span::seconds(7200), ..terms() };
        let mut records = approved_under(&other, &[CHOICE, second()]);
        *awaited(&mut records) = Some(Box::new(terms()));
        records
    }),
    ("terms that ask for less than what was signed", || {
        let mut records = approved_under(&terms(), &[CHOICE]);
        awaited(&mut records).as_mut().unwrap().rules.remove(0);
        records
    }),
    ("another key in the terms", || {
        let mut records = signed();
        let terms = awaited(&mut records).as_mut().unwrap();
        terms.signers = terms.signers.replace(&STANDARD.encode(blob("dan")), &STANDARD.encode(blob("eve")));
        records
    }),
    ("terms whose signers cannot be read", || {
        let mut terms = terms();
        terms.signers.push_str("dan cert-authority ssh-ed25519 AAAA\n");
        approved_under(&terms, &[CHOICE, second()])
    }),
    ("no terms at all", || {
        let mut records = signed();
        *awaited(&mut records) = None;
        records
    }),
    ("no signature", || {
        let mut records = signed();
        *of(&mut approvals(&mut records)[1]) = None;
        records
    }),
    ("a name that signed nothing", || {
        let mut records = promoted();
        let Event::Approved { by, .. } = &mut approvals(&mut records)[0] else { unreachable!() };
        *by = signer("bob");
        records
    }),
    ("a statement that was changed", || {
        changed(|signed| {
            signed.statement = signed.statement.replace("seen", "read");
        })
    }),
    ("a statement of another deployment", || {
        changed(|signed| {
            signed.statement = signed.statement.replace("dep-0193a5b2c4d6", "dep-0193a5b2c4d7");
        })
    }),
    ("a statement that is none", || changed(|signed| signed.statement = "{}".to_owned())),
    ("a statement with a blank", || changed(|signed| signed.statement.push(' '))),
    ("a signature that is none", || changed(|signed| signed.signature = Signature::Sshsig(String::new()))),
    ("a signature that is cut off", || {
        changed(|signed| {
            let Signature::Sshsig(file) = &mut signed.signature;
            *file = file.replacen("U1NIU0lH", "", 1);
        })
    }),
    ("said to be of somebody else", || {
        let mut records = signed();
        let Event::Approved { by, .. } = &mut approvals(&mut records)[1] else { unreachable!() };
        *by = signer("carol");
        records
    }),
    ("recorded under another plan", || {
        let mut records = signed();
        let Event::Approved { plan, .. } = &mut approvals(&mut records)[1] else { unreachable!() };
        *plan = model::Digest::of_bytes(b"another plan");
        records
    }),
    ("for a plan that was then made anew", || {
        let mut records = signed();
        let again = planned_anew(&records);
        approvals(&mut records).push(again);
        records
    }),
    ("waited for, and nothing says that it went on", || {
        let mut records = approved_under(&terms(), &[CHOICE]);
        for record in &mut records {
            record.events.retain(|event| {
                !matches!(
                    event,
                    Event::LockAwaited { .. } | Event::Locked { .. } | Event::ExecutionBegan { .. }
                )
            });
            if record.events.is_empty() {
                record.events.push(Event::Validated {});
            }
        }
        records
    }),
    ("waited for when it had gone on", || {
        let mut records = signed();
        let last = records.last_mut().unwrap();
        let terms = Terms { rules: Vec::new(), ..terms() };
        last.events
            .insert(0, Event::ApprovalAwaited { until: Timestamp(BEGAN), terms: Some(Box::new(terms)) });
        records
    }),
    ("a denial that is called an approval", || {
        let mut records = signed();
        let denied = signed_for(&records, &terms(), &Choice { decision: Decision::Deny, ..second() });
        *of(&mut approvals(&mut records)[1]) = Some(Box::new(denied));
        records
    }),
];

/// The same release, planned again from another one.
pub fn planned_anew(records: &[Record]) -> Event {
    let mut planned = records.iter().flat_map(|record| &record.events);
    let planned = planned.find(|event| matches!(event, Event::Planned { .. }));
    let Some(Event::Planned { mut plan, mut baseline }) = planned.cloned() else { unreachable!() };
    let before = baseline.as_mut().unwrap();
    before.spec.labels.insert("between".to_owned(), "1.5.0".to_owned());
    plan.baseline = Some(before.digest());
    Event::Planned { plan, baseline }
}

fn second() -> Choice<'static> {
    Choice { who: "dan", key: "dan", nonce: 2, ..CHOICE }
}

fn changed(change: impl FnOnce(&mut Signed)) -> Vec<Record> {
    let mut records = signed();
    change(of(&mut approvals(&mut records)[1]).as_mut().unwrap());
    records
}

#[tokio::test]
async fn a_promotion_that_was_signed_for_says_by_which_keys() {
    let office = Office::open();

    let certificate = office.issue(&signed()).await;
    let verified =
        check(&certificate, &office.ready(), NOW).unwrap_or_else(|problems| panic!("{problems:?}"));

    assert_eq!(verified.facts.ending, Ending::Promoted);
    let who: Vec<String> = verified.facts.approvals.iter().map(|one| one.by.to_string()).collect();
    assert_eq!(who, ["bob (by signature)", "dan (by signature)"]);
    let keys = ["bob", "dan"].map(|who| Some(approval::fingerprint(&blob(who))));
    assert_eq!(verified.signed, keys);
    assert_eq!(verified.requirement.as_deref(), Some("2 of bob, carol, dan; 1 of bob, carol"));
    let believed = verified.believed.iter().filter(|belief| belief.field == "predicate.approvals");
    assert!(
        believed.into_iter().all(|belief| !belief.text.contains("not signed")),
        "{:?}",
        verified.believed
    );
}

#[tokio::test]
async fn a_certificate_whose_approvals_nobody_signed_verifies_and_says_so() {
    let office = Office::open();

    let certificate = office.issue(&promoted()).await;
    let verified = check(&certificate, &office.ready(), NOW).unwrap();

    assert_eq!((verified.signed.as_slice(), verified.requirement), (&[None][..], None));
    let belief = verified.believed.iter().find(|belief| belief.text.contains("not signed")).unwrap();
    assert_eq!((belief.field.as_str(), belief.by.as_str()), ("predicate.approvals", "bob (unauthenticated)"));
}

#[tokio::test]
async fn what_was_not_approved_is_not_promoted_whoever_signs_the_certificate() {
    let office = Office::open();

    assert!(UNSIGNED.len() >= 20, "{} forgeries", UNSIGNED.len());
    for (what, forge) in UNSIGNED {
        let records = forge();
        assert_eq!(facts(&records).0.ending, Ending::Unproven, "{what}: the certifier would sign it");

        let (told, documents) = called_promoted(&records);
        let certificate = sign(&office, &told, documents, journal(&records)).await;
        let problems = check(&certificate, &office.ready(), NOW).expect_err(what);
        assert!(
            problems.iter().any(|problem| problem.field.starts_with("predicate.approvals")),
            "{what}: {problems:?}"
        );
    }
}

#[test]
fn an_approval_under_terms_that_changed_is_void_and_one_after_it_counts() {
    let mut records = signed();
    let more = Terms { rules: vec![terms().rules.remove(1)], ..terms() };
    let carol = Choice { who: "carol", key: "carol", nonce: 3, ..CHOICE };
    let again =
        Event::ApprovalAwaited { until: Timestamp(BEGAN + 86_400_000), terms: Some(Box::new(more.clone())) };
    let signed = Some(Box::new(signed_for(&records, &more, &carol)));
    let events = approvals(&mut records);
    let Event::Approved { plan, .. } = events[0].clone() else { unreachable!() };
    events.extend([again, Event::Approved { by: signer("carol"), plan, signed }]);

    let (told, _) = facts(&records);

    assert_eq!(told.ending, Ending::Promoted, "{:?}", told.missing);
    assert_eq!(told.approvals.iter().map(|one| one.by.clone()).collect::<Vec<_>>(), [signer("carol")]);
}

#[tokio::test]
async fn ssh_keygen_verifies_what_an_export_writes_with_the_command_of_the_documentation() {
    let office = Office::open();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in certificate::files(&office.issue(&signed()).await, &office.trust()) {
        let path = folder.path().join("shop").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/certificate.md")).unwrap();
    let command =
        page.lines().find_map(|line| line.strip_prefix("$ ssh-keygen -Y verify ")).expect("the command");
    let run = |command: &str| {
        let mut shell = Command::new("sh");
        let status = shell
            .args(["-c", command])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        status.status().unwrap().success()
    };

    let bob = format!("ssh-keygen -Y verify {command}");
    assert!(bob.contains("approvals/1/") && bob.contains("-I bob"), "{bob}");
    assert!(run(&bob), "{bob}");
    let dan = bob.replace("approvals/1/", "approvals/2/");
    assert!(!run(&dan), "bob's line verifies what dan signed");
    assert!(run(&dan.replace("-I bob", "-I dan")), "{dan}");
    let path = folder.path().join("shop/approvals/1/approval.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("seen", "read")).unwrap();
    assert!(!run(&bob), "a changed statement verifies");
}

#[test]
fn a_signed_no_stands_among_what_people_did() {
    let records = approved_under(&terms(), &[Choice { decision: Decision::Deny, ..CHOICE }]);
    let story = Story::read(&records).unwrap();

    assert!(story.signed_files().iter().any(|(name, _)| name == "approvals/1/approval.json"));
    let (told, _) = facts(&records);
    assert_eq!((told.interventions[0].what.as_str(), &told.interventions[0].by), ("denied", &signer("bob")));
    assert_eq!(told.ending, Ending::Unproven, "a promotion against a no");
}
