use policy::{Flaw, Source, load};

use crate::stage::{GRANTS, rights};

fn flaws(name: &str, text: &str) -> Vec<Flaw> {
    load(&[Source::new(name, text)]).err().unwrap_or_else(|| panic!("{text:?} was taken"))
}

fn named(body: &str) -> String {
    format!("@id(\"one\")\n@message(\"one\")\n{body}")
}

#[test]
fn a_policy_that_is_wrong_is_told_with_its_line_and_a_cure() {
    for (text, line, said) in [
        ("permit (principal, action, resource);".to_owned(), 1, "a policy has no name"),
        (
            "\n@id(\"one\")\npermit (principal, action, resource);".to_owned(),
            2,
            "policy one does not say what it is",
        ),
        (
            "@id(\"One!\")\n@message(\"x\")\npermit (principal, action, resource);".to_owned(),
            1,
            "is not the name",
        ),
        (
            "@id(\"viewer\")\n@message(\"x\")\npermit (principal, action, resource);".to_owned(),
            1,
            "in built-in roles.cedar already",
        ),
        (named("permit (principal, action, resource)\nwhen { context.nothing };"), 4, "nothing"),
        (named("permit (principal, action, resource)\n\nwhen { context.plan.percent < 3 };"), 5, "plan"),
        (
            named("permit (principal, action == Action::\"deployment.aprove\", resource);"),
            3,
            "deployment.aprove",
        ),
        (named("permit (principal in Team::\"x\", action, resource);"), 3, "Team"),
        (
            named("permit (principal, action, resource)\nwhen { context.weekday == \"Monday\" };"),
            4,
            "the types Long and String are not compatible",
        ),
        (named("permit (principal, action, resource) wen { true };"), 3, "wen"),
        // What is wrong with a whole role stands where it begins, with its annotations.
        (named("permit (principal in ?principal, action, resource);"), 1, "a role permits something"),
        (
            named("forbid (principal in ?principal, action, resource in ?resource);"),
            1,
            "a role permits something",
        ),
    ] {
        let found = flaws("ours.cedar", &text);
        let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");

        assert!(found.iter().any(|flaw| flaw.message.contains(said)), "{text}: {shown}");
        assert!(found.iter().any(|flaw| flaw.line == line && flaw.file == "ours.cedar"), "{text}: {shown}");
        assert!(found.iter().all(|flaw| !flaw.cure.is_empty()));
    }
}

#[test]
fn a_grant_that_is_wrong_is_told_with_its_line_and_a_cure() {
    let grant = |to: &str, role: &str, on: &str, more: &str| {
        format!("[[grant]]\nto = \"{to}\"\nrole = \"{role}\"\non = \"{on}\"\n{more}")
    };
    for (text, line, said) in [
        (grant("ann", "viewer", "acme", ""), 2, "to: \"ann\" names nobody"),
        (grant("user:acme/ann", "root", "acme", ""), 3, "there is no role \"root\""),
        (grant("user:acme/ann", "break-glass", "acme", ""), 3, "is not granted by a file"),
        (grant("user:acme/ann", "viewer", "acme/shop/prod/web", ""), 4, "is not a place"),
        (grant("user:acme/ann", "viewer", "other", ""), 4, "belongs to another organisation"),
        (grant("group:acme/sre", "viewer", "other/shop", ""), 4, "belongs to another organisation"),
        (grant("user:acme/ann", "viewer", "acme", "until = 2026-01-05"), 5, "names no moment"),
        (grant("user:acme/ann", "viewer", "acme", "untill = 2026-01-05T00:00:00Z"), 5, "untill"),
        ("[[grant]]\nto = \"user:acme/ann\"\n".to_owned(), 1, "missing field"),
        ("[[grants]]\n".to_owned(), 1, "grants"),
        ("grant = 7".to_owned(), 1, "invalid type"),
    ] {
        let found = flaws("grants.toml", &text);

        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].message.contains(said), "{said}: {}", found[0]);
        assert_eq!(found[0].line, line, "{}", found[0]);
    }
    let all =
        flaws("grants.toml", &format!("{}\n{}", grant("a", "viewer", "acme", ""), grant("b", "c", "-", "")));
    assert_eq!(all.len(), 4, "all are told at once: {all:#?}");
}

#[test]
fn one_flaw_keeps_all_files_from_counting() {
    let fine = Source::new("grants.toml", GRANTS);

    assert!(load(&[fine.clone(), Source::new("bad.cedar", "permit")]).is_err());
    assert!(load(&[fine.clone(), Source::new("notes.txt", "")]).is_err());
    assert!(load(&[fine, Source::new("large.cedar", " ".repeat((4 << 20) + 1))]).is_err());
}

#[test]
fn the_digest_is_of_what_is_meant_and_not_of_how_it_is_written() {
    let (one, two) = (
        "@id(\"a\")\n@message(\"a\")\nforbid (principal, action, resource) when { context.mfa };",
        "@id(\"b\")\n@message(\"b\")\nforbid (principal, action, resource) when { !context.mfa };",
    );
    let spaced =
        "// A note.\n@id ( \"a\" )\n@message(\"a\")\nforbid(principal,action,resource)\nwhen\n{context.mfa};";
    let of = |texts: &[&str]| {
        let files: Vec<Source> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let end = if text.contains("[[grant]]") { "toml" } else { "cedar" };
                Source::new(format!("{index}.{end}"), *text)
            })
            .collect();
        load(&files).unwrap().digest()
    };

    let digest = of(&[one, two, GRANTS]);
    assert_eq!(of(&[GRANTS, two, one]), digest);
    assert_eq!(of(&[&format!("{two}\n{spaced}"), GRANTS]), digest);
    assert_ne!(of(&[one, GRANTS]), digest);
    assert_ne!(of(&[one, &two.replace("!context", "context"), GRANTS]), digest);
    assert_ne!(of(&[&one.replace("message(\"a\")", "message(\"c\")"), two, GRANTS]), digest);
    assert_ne!(of(&[one, two, &GRANTS.replace("\"deployer\"", "\"operator\"")]), digest);
}

#[test]
fn a_role_of_ones_own_is_granted_like_those_that_are_built_in() {
    let files = [
        Source::new(
            "roles.cedar",
            "@id(\"night-shift\")\n@message(\"holds at night\")\npermit (principal in ?principal, action == Action::\"target.hold\", resource in ?resource)\nwhen { context.now.toTime() >= duration(\"22h\") };",
        ),
        Source::new(
            "grants.toml",
            "[[grant]]\nto = \"user:acme/nils\"\nrole = \"night-shift\"\non = \"acme\"",
        ),
    ];
    let rights = load(&files).unwrap();

    let decision =
        crate::stage::ask(&rights, "user:acme/nils", policy::Action::TargetHold, "acme/shop/prod/docker.web");

    assert!(rights.roles().contains(&"night-shift"));
    assert_eq!(decision.missing.len(), 1, "{decision:#?}");
    assert!(
        decision.missing[0].starts_with("policy night-shift: ") && decision.missing[0].contains("22h"),
        "{decision:#?}"
    );
}

const CASES: &str = r#"
[[case]]
name = "a deployer deploys"
who = "user:acme/ann"
action = "deployment.submit"
on = "acme/shop/prod/docker.web"
expect = "allow"
because = ["deployer"]

[[case]]
name = "a reviewer does not approve their own plan"
who = "user:acme/bob"
groups = ["reviewers"]
action = "deployment.approve"
on = "acme/shop/prod/docker.web"
expect = "deny"
because = ["four-eyes"]
[case.facts]
mfa = true
factor_age = "2m"
[case.facts.plan]
authors = ["user:acme/bob"]

[[case]]
name = "a deployer approves nothing"
who = "user:acme/ann"
action = "deployment.approve"
on = "acme/shop/prod/docker.web"
expect = "deny"
missing = ["role approver on environment acme/shop/prod"]
[case.facts]
now = 2026-03-01T10:00:00Z
mfa = true
factor_age = "2m"
[case.facts.plan]
authors = []

[[case]]
name = "strangers find nothing"
who = "user:other/eve"
action = "deployment.view"
on = "acme"
expect = "not_found"
"#;

#[test]
fn cases_pass_where_they_expect_what_is_answered() {
    let outcomes = policy::check(&rights(""), &Source::new("cases.toml", CASES)).unwrap();

    assert_eq!(outcomes.len(), 4);
    for outcome in &outcomes {
        assert!(outcome.differences.is_empty(), "{outcome:#?}");
    }
    assert_eq!(outcomes[1].line, 10, "{outcomes:#?}");
}

#[test]
fn cases_that_expect_something_else_say_what_differs() {
    for (from, to, said) in [
        ("expect = \"allow\"", "expect = \"deny\"", "expected Deny, was Allow"),
        (
            "[\"four-eyes\"]",
            "[\"fresh-factor\"]",
            "because: expected [\"fresh-factor\"], was [\"four-eyes\"]",
        ),
        ("role approver", "role admin", "missing: expected"),
        ("expect = \"not_found\"", "expect = \"deny\"", "expected Deny, was NotFound"),
    ] {
        let text = CASES.replacen(from, to, 1);
        let outcomes = policy::check(&rights(""), &Source::new("cases.toml", text)).unwrap();
        let differences: Vec<&String> = outcomes.iter().flat_map(|one| &one.differences).collect();

        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].contains(said), "{differences:?}");
    }
    for (text, said) in [
        ("", "holds 0 cases"),
        ("[[case]]\nname = \"x\"", "missing field"),
        (&CASES.replace("deployment.submit", "deployment.submitt"), "is not an action"),
    ] {
        let found = policy::check(&rights(""), &Source::new("cases.toml", text)).unwrap_err();
        assert!(found[0].message.contains(said), "{}", found[0]);
    }
}

/// The blocks of docs/rights.md in this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rights.md")).unwrap();
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn what_the_page_shows_is_taken() {
    let (policies, tables) = (blocks("cedar"), blocks("toml"));
    let [grants, cases] = tables.as_slice() else { panic!("{tables:?}") };
    let files =
        [Source::new("grants.toml", grants.as_str()), Source::new("ours.cedar", policies[0].as_str())];

    load(&files).unwrap_or_else(|flaws| panic!("{}", flaws[0]));
    let outcomes = policy::check(&rights(""), &Source::new("cases.toml", cases.as_str())).unwrap();

    assert_eq!(outcomes.len(), 1);
    assert!(outcomes[0].differences.is_empty(), "{outcomes:#?}");
}
