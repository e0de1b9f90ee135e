//! What is wrong with an approval in one place: refused, with a reason that names it; and what ssh-keygen says of the same.

use approval::{Ballot, NAMESPACE, Statement, Words};
use model::{
    Principal, Span, Timestamp,
    approval::{Decision, Signature, Signed, Terms},
};
use serde_json::json;

use crate::scene::{NONCE, NOW, Scene, clause, plan, words};

struct Tried {
    terms: Terms,
    /// The file that ssh-keygen reads.
    file: String,
    who: &'static str,
    signed: Signed,
}

/// What is wrong, what the refusal says, whether ssh-keygen, which sees the signature alone, takes it.
type Mutation = (&'static str, &'static str, bool, fn(&Scene) -> Tried);

fn tried(scene: &Scene, who: &'static str, signed: Signed) -> Tried {
    Tried { terms: scene.two(), file: scene.file(), who, signed }
}

/// A statement of ann, changed, and then signed by her.
fn said(scene: &Scene, change: impl FnOnce(&mut Statement)) -> Tried {
    let mut statement = scene.statement(&scene.two(), words("ann", NONCE));
    change(&mut statement);
    tried(scene, "ann", scene.signed("ann", &statement))
}

fn of(scene: &Scene, words: Words<'_>) -> Statement {
    scene.statement(&scene.two(), words)
}

fn sound(scene: &Scene) -> Signed {
    scene.signed("ann", &of(scene, words("ann", NONCE)))
}

/// Changes the signature's file as bytes.
fn bent(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) -> Tried {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut signed = sound(scene);
    let Signature::Sshsig(file) = &signed.signature;
    let body: String = file.lines().filter(|line| !line.starts_with('-')).collect();
    let mut bytes = STANDARD.decode(body).unwrap();
    change(&mut bytes);
    signed.signature = Signature::Sshsig(format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        STANDARD.encode(bytes)
    ));
    tried(scene, "ann", signed)
}

fn lined(scene: &Scene, options: &str) -> Tried {
    let file = format!("ann {options} {}\nbob {}\n", scene.public("ann"), scene.public("bob"));
    let terms = scene.terms(&file, vec![clause(2, &[])]);
    let signed = scene.signed("ann", &scene.statement(&terms, words("ann", NONCE)));
    Tried { terms, file, who: "ann", signed }
}

const MUTATIONS: &[Mutation] = &[
    ("another deployment", "about deployment dep-2", true, |scene| {
        said(scene, |it| it.predicate.deployment = "dep-2".to_owned())
    }),
    ("another plan", "the plan is sha256:", true, |scene| {
        let mut other = Scene::new();
        other.deployment.plan = plan(json!([]));
        other.deployment.plan.spec = model::Digest::of_bytes(b"another spec");
        let statement = other.statement(&scene.two(), words("ann", NONCE));
        tried(scene, "ann", scene.signed("ann", &statement))
    }),
    ("another target", "about target prod.docker.till", true, |scene| {
        said(scene, |it| it.predicate.target = "prod.docker.till".to_owned())
    }),
    ("another environment", "about environment test", true, |scene| {
        said(scene, |it| it.predicate.environment = "test".to_owned())
    }),
    ("something else was shown", "about shown sha256:", true, |scene| {
        said(scene, |it| it.predicate.shown = model::Digest::of_bytes(b"another text").to_string())
    }),
    ("another policy", "in force is sha256:", true, |scene| {
        said(scene, |it| it.predicate.policy = model::Digest::of_bytes(b"other terms").to_string())
    }),
    ("another requirement", "the requirement or the signers changed", true, |scene| {
        said(scene, |it| it.predicate.requirement = "1 of ann".to_owned())
    }),
    ("expired", "expired at", true, |scene| {
        let issued = Timestamp(NOW.0 - 7_200_000);
        let words = Words { issued, lasts: Span::seconds(3600), ..words("ann", NONCE) };
        tried(scene, "ann", scene.signed("ann", &of(scene, words)))
    }),
    ("not valid yet", "set the clocks", true, |scene| {
        let words = Words { issued: Timestamp(NOW.0 + 600_000), ..words("ann", NONCE) };
        tried(scene, "ann", scene.signed("ann", &of(scene, words)))
    }),
    ("for longer than an approval counts", "counts for at most", true, |scene| {
        let words = Words { lasts: Span::seconds(86_401), ..words("ann", NONCE) };
        tried(scene, "ann", scene.signed("ann", &of(scene, words)))
    }),
    ("ends before it begins", "counts for at most", true, |scene| {
        said(scene, |it| it.predicate.expires = it.predicate.issued)
    }),
    ("by who asked for it", "asked for it", true, |scene| {
        tried(scene, "ada", scene.signed("ada", &of(scene, words("ada", NONCE))))
    }),
    ("by somebody who is not asked", "not among those who may: ann, bob", true, |scene| {
        let terms = scene.terms(&scene.file(), vec![clause(1, &["ann", "bob"])]);
        let signed = scene.signed("cat", &scene.statement(&terms, words("cat", NONCE)));
        Tried { terms, file: scene.file(), who: "cat", signed }
    }),
    ("a denial handed in as an approval", "says deny, asked is to approve", true, |scene| {
        let words = Words { decision: Decision::Deny, ..words("ann", NONCE) };
        tried(scene, "ann", scene.signed("ann", &of(scene, words)))
    }),
    ("signed by a key of nobody", "is no key of ann", false, |scene| {
        tried(scene, "ann", scene.signed("stranger", &of(scene, words("ann", NONCE))))
    }),
    ("signed by somebody else's key", "is no key of ann", false, |scene| {
        tried(scene, "ann", scene.signed("bob", &of(scene, words("ann", NONCE))))
    }),
    ("a key that is over", "counted until", false, |scene| lined(scene, "valid-before=\"20261120Z\"")),
    ("a key that does not count yet", "counts from", false, |scene| {
        lined(scene, "valid-after=\"20261122Z\"")
    }),
    ("a key for something else", "is for file, git", false, |scene| lined(scene, "namespaces=\"file,git\"")),
    ("another namespace", "for namespace \"file\"", false, |scene| {
        let statement = of(scene, words("ann", NONCE)).text();
        let signature = Signature::Sshsig(scene.sign("ann", "file", &statement, &[]));
        tried(scene, "ann", Signed { statement, signature })
    }),
    ("the statement changed after it was signed", "does not fit", false, |scene| {
        let mut signed = sound(scene);
        signed.statement = signed.statement.replace("\"reason\":\"\"", "\"reason\":\"fine\"");
        tried(scene, "ann", signed)
    }),
    ("a hash that is not the signed one", "does not fit", false, |scene| {
        bent(scene, |bytes| {
            let at = bytes.windows(6).position(|part| part == b"sha512").unwrap();
            bytes[at + 3..at + 6].copy_from_slice(b"256");
        })
    }),
    ("a hash that there is not", "hash is \"sha513\"", false, |scene| {
        bent(scene, |bytes| {
            let at = bytes.windows(6).position(|part| part == b"sha512").unwrap();
            bytes[at + 5] = b'3';
        })
    }),
    ("another version of the format", "of version 2", false, |scene| bent(scene, |bytes| bytes[9] = 2)),
    ("one bit of the signature", "does not fit", false, |scene| {
        bent(scene, |bytes| *bytes.last_mut().unwrap() ^= 1)
    }),
    ("a signature that is cut off", "cut off", false, |scene| {
        bent(scene, |bytes| bytes.truncate(bytes.len() - 3))
    }),
    ("a signature with more after its end", "follow after its end", false, |scene| {
        bent(scene, |bytes| bytes.push(0))
    }),
    ("no file of ssh-keygen", "no file of ssh-keygen", false, |scene| {
        let mut signed = sound(scene);
        signed.signature = Signature::Sshsig("-----BEGIN PGP SIGNATURE-----".to_owned());
        tried(scene, "ann", signed)
    }),
    ("a statement with blanks", "no canonical JSON", true, |scene| {
        let statement = of(scene, words("ann", NONCE)).text().replace(":{", ": {");
        let signature = Signature::Sshsig(scene.sign("ann", NAMESPACE, &statement, &[]));
        tried(scene, "ann", Signed { statement, signature })
    }),
    ("a statement with a field more", "cannot be read", true, |scene| {
        let statement =
            of(scene, words("ann", NONCE)).text().replace(",\"predicate\"", ",\"more\":1,\"predicate\"");
        let signature = Signature::Sshsig(scene.sign("ann", NAMESPACE, &statement, &[]));
        tried(scene, "ann", Signed { statement, signature })
    }),
    ("a statement of another kind", "has predicateType", true, |scene| {
        let statement = of(scene, words("ann", NONCE)).text().replace("approval/v1", "approval/v2");
        let signature = Signature::Sshsig(scene.sign("ann", NAMESPACE, &statement, &[]));
        tried(scene, "ann", Signed { statement, signature })
    }),
    ("a nonce that is none", "has the nonce", true, |scene| {
        tried(scene, "ann", scene.signed("ann", &of(scene, words("ann", "again"))))
    }),
];

#[test]
fn every_mutation_is_refused_by_name_and_ssh_keygen_agrees_on_what_it_sees() {
    let scene = Scene::new();
    let mut wrong = Vec::new();

    assert!(MUTATIONS.len() >= 20, "only {} mutations", MUTATIONS.len());
    for (what, says, keygen, make) in MUTATIONS {
        let Tried { terms, file, who, signed } = make(&scene);
        let ballot = Ballot::open(&terms, false, None);
        match scene.examine(&ballot, &signed) {
            Ok(vote) => wrong.push(format!("{what}: {} was counted", vote.by)),
            Err(refusal) if !refusal.to_string().contains(says) => wrong.push(format!("{what}: {refusal}")),
            Err(_) => {}
        }
        let verdict = scene.keygen_says_yes(&file, who, &signed);
        if verdict != *keygen {
            wrong.push(format!("{what}: ssh-keygen says {verdict}"));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_openssh_signs_counts_and_ssh_keygen_says_the_same() {
    let scene = Scene::new();
    let mut ballot = Ballot::open(&scene.two(), false, None);

    for (key, who, options) in
        [("ann", "ann", &[][..]), ("ann2", "ann", &[][..]), ("bob", "bob", &["-O", "hashalg=sha256"][..])]
    {
        let nonce = format!("{:0>32}", hex::encode(key));
        let statement = of(&scene, words(who, &nonce)).text();
        let signature = Signature::Sshsig(scene.sign(key, NAMESPACE, &statement, options));
        let signed = Signed { statement, signature };

        assert!(scene.keygen_says_yes(&scene.file(), who, &signed), "{key}");
        let vote = scene.examine(&ballot, &signed).unwrap_or_else(|refusal| panic!("{key}: {refusal}"));
        assert_eq!(vote.by, format!("signer:{who}").parse::<Principal>().unwrap());
        ballot.count(vote);
        // Two keys of one person are one person.
        assert_eq!(ballot.is_met(NOW), key == "bob", "after {key}: {:?}", ballot.missing(NOW));
    }
}

#[test]
fn a_statement_counts_once_also_after_the_terms_changed() {
    let scene = Scene::new();
    let mut ballot = Ballot::open(&scene.two(), false, None);
    let signed = sound(&scene);
    ballot.count(scene.examine(&ballot, &signed).unwrap());

    let again = scene.examine(&ballot, &signed).unwrap_err().to_string();
    assert!(ballot.has(&signed) && again.contains("a statement counts once"), "{again}");

    let other = scene.terms(&scene.file(), vec![clause(1, &[])]);
    let renewed = Ballot::open(&other, false, Some(&ballot));
    let signed = scene.signed("ann", &scene.statement(&other, words("ann", NONCE)));
    let again = scene.examine(&renewed, &signed).unwrap_err().to_string();
    assert!(again.contains(NONCE), "{again}");
    assert!(!renewed.is_met(NOW), "what was approved before still counts");
}

#[test]
fn an_approval_counts_no_longer_than_it_says() {
    let scene = Scene::new();
    let terms = scene.terms(&scene.file(), vec![clause(1, &[])]);
    let mut ballot = Ballot::open(&terms, false, None);
    let short = Words { lasts: Span::seconds(60), ..words("ann", NONCE) };
    let signed = scene.signed("ann", &scene.statement(&terms, short));
    ballot.count(scene.examine(&ballot, &signed).unwrap());

    assert!(ballot.is_met(Timestamp(NOW.0 + 60_000)));
    assert!(!ballot.is_met(Timestamp(NOW.0 + 60_001)), "an expired approval counts");
}

#[test]
fn an_rsa_key_is_refused_by_name() {
    let scene = Scene::new();
    scene.make("old", "rsa");
    let signed = scene.signed("old", &of(&scene, words("ann", NONCE)));

    let refusal = scene.examine(&Ballot::open(&scene.two(), false, None), &signed).unwrap_err().to_string();
    assert!(refusal.contains("keys of kind ssh-rsa are not taken"), "{refusal}");
}
