//! docs/rights.md lists what each role may do, as it was asked. `UPDATE=1 cargo nextest run -p policy matrix` writes it anew.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration};

use policy::{Action, BREAK_GLASS, Facts, Grant, Level, Rights, Source, Verdict, Who, load};

use crate::stage::{NOON, facts, question, somebody};

/// What is above it is written by hand.
const MARK: &str = "<!-- What follows is made by libs/policy/tests/it/matrix.rs, by asking. -->\n";
const ROLES: [&str; 7] = ["viewer", "deployer", "approver", "operator", "auditor", "admin", BREAK_GLASS];

/// The deepest place that the action is done on, in this organisation.
fn place(action: Action, organisation: &str) -> String {
    match action.on().last() {
        Some(Level::Target) => format!("{organisation}/shop/prod/docker.web"),
        Some(Level::Engine) | None => "engine".to_owned(),
        Some(_) => organisation.to_owned(),
    }
}

/// Ann has this role, and nothing else: in her organisation, and on the engine for what is done on it.
fn holding(role: &str) -> Rights {
    if role == BREAK_GLASS {
        let grant = |on: &str| Grant {
            to: "user:acme/ann".parse().unwrap(),
            role: role.to_owned(),
            on: on.parse().unwrap(),
            until: Some(NOON.plus(Duration::from_secs(60))),
            reason: String::new(),
        };
        return load(&[]).unwrap().with_temporary([grant("acme"), grant("engine")]).unwrap();
    }
    let grant = |on: &str| format!("[[grant]]\nto = \"user:acme/ann\"\nrole = \"{role}\"\non = \"{on}\"\n");
    load(&[Source::new("grants.toml", grant("acme") + &grant("engine"))]).unwrap()
}

/// What Ann with this role is answered: here, and elsewhere.
fn cell(role: &str, rights: &Rights, action: Action) -> &'static str {
    let ann = somebody("user:acme/ann");
    let ask = |organisation: &str, facts: Facts| {
        rights.authorize(&question(&ann, action, &place(action, organisation), facts)).decision
    };
    if place(action, "other") != "engine" {
        assert_eq!(ask("other", facts()), Verdict::NotFound, "{role}, {action}");
    }
    let stale = Facts { factor_age: Some(Duration::from_secs(301)), ..facts() };
    match (ask("acme", facts()), ask("acme", stale)) {
        (Verdict::Allow, Verdict::Allow) => "yes",
        (Verdict::Allow, Verdict::Deny) => "fresh",
        (Verdict::Deny, Verdict::Deny) => "",
        other => panic!("{role}, {action}: {other:?}"),
    }
}

fn page() -> String {
    let rights = ROLES.map(|role| (role, holding(role)));
    let mut page =
        format!("\n| action | {} | another organisation | done by | what it is |\n", ROLES.join(" | "));
    let _ = writeln!(page, "|---|{}---|---|---|", "---|".repeat(ROLES.len()));
    for action in Action::ALL.iter().copied() {
        let cells = rights.each_ref().map(|(role, rights)| cell(role, rights, action)).join(" | ");
        let elsewhere = if place(action, "other") == "engine" { "" } else { "not found" };
        let who = match action.who() {
            Who::Anyone => "anyone",
            Who::People => "people",
            Who::Engine => "engine",
        };
        let _ = writeln!(page, "| `{action}` | {cells} | {elsewhere} | {who} | {} |", action.about());
    }
    let _ = write!(page, "\n## What policies may speak of\n\n```cedarschema\n{}```\n", policy::schema());
    page
}

#[test]
fn the_committed_table_is_what_is_answered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rights.md");
    let committed = fs::read_to_string(&path).unwrap();
    let (by_hand, _) = committed.split_once(MARK).unwrap();
    let expected = format!("{by_hand}{MARK}{}", page());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }

    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/rights.md is out of date: UPDATE=1 cargo nextest run -p policy matrix"
    );
}

/// By hand, so that a role that grows is seen here too.
#[test]
fn the_roles_are_those_that_are_shipped_and_are_kept_apart() {
    let rights: BTreeMap<&str, Rights> = ROLES.map(|role| (role, holding(role))).into();
    assert_eq!(load(&[]).unwrap().roles().len(), ROLES.len());
    for (role, action, answer) in [
        ("viewer", Action::DeploymentSubmit, ""),
        ("viewer", Action::AuditSearch, ""),
        ("deployer", Action::DeploymentSubmit, "yes"),
        ("deployer", Action::DeploymentApprove, ""),
        ("deployer", Action::TargetRelease, ""),
        ("deployer", Action::DeploymentPromoteFull, ""),
        ("approver", Action::DeploymentApprove, "fresh"),
        ("approver", Action::DeploymentSubmit, ""),
        ("operator", Action::DeploymentApprove, ""),
        ("operator", Action::DeploymentSubmit, ""),
        ("operator", Action::TargetHold, "yes"),
        ("operator", Action::AccessBreakGlass, "fresh"),
        ("auditor", Action::AuditExport, "yes"),
        ("auditor", Action::IdentityChange, ""),
        ("admin", Action::PolicyChange, "fresh"),
        ("admin", Action::DeploymentSubmit, ""),
        ("admin", Action::DeploymentApprove, ""),
        ("admin", Action::AuditExport, ""),
        (BREAK_GLASS, Action::DeploymentSubmit, "yes"),
        (BREAK_GLASS, Action::DeploymentApprove, ""),
        (BREAK_GLASS, Action::PolicyChange, ""),
        (BREAK_GLASS, Action::AuditExport, ""),
        (BREAK_GLASS, Action::AccessReview, ""),
    ] {
        assert_eq!(cell(role, &rights[role], action), answer, "{role}, {action}");
    }
    for role in ROLES {
        assert_eq!(cell(role, &rights[role], Action::EngineSpeak), "", "{role}");
    }
}
