use std::time::Duration;

use model::Timestamp;
use policy::{Action, Facts, Grant, Rights, Subject, Verdict};

use crate::stage::{NOON, ask, assert_verdict, because, facts, plan, question, rights, somebody};

const WEB: &str = "acme/shop/prod/docker.web";

#[test]
fn a_role_gives_what_it_says_where_it_was_granted_and_names_the_grant() {
    let rights = rights("");

    let decision = ask(&rights, "user:acme/ann", Action::DeploymentSubmit, WEB);

    assert_verdict(&decision, Verdict::Allow);
    assert_eq!(because(&decision), ["deployer"]);
    assert_eq!(decision.determining[0].grant.as_deref(), Some("user:acme/ann on acme/shop"));
    assert_eq!(decision.determining[0].message, "a deployer plans, deploys and turns back");
    assert_eq!(decision.rights, rights.digest());
    let elsewhere = ask(&rights, "user:acme/ann", Action::DeploymentSubmit, "acme/blog/prod/docker.web");
    assert_verdict(&elsewhere, Verdict::Deny);
}

#[test]
fn what_nobody_permits_is_denied_and_the_missing_role_is_named() {
    let decision = ask(&rights(""), "user:acme/ann", Action::DeploymentApprove, WEB);

    assert_verdict(&decision, Verdict::Deny);
    assert!(decision.determining.is_empty());
    assert_eq!(decision.missing, ["role approver on environment acme/shop/prod"]);
    assert_eq!(
        decision.hint.as_deref(),
        Some("an admin grants roles; access.request asks for one until a certain time")
    );
    let text = serde_json::to_value(&decision).unwrap();
    assert_eq!(text["decision"], "deny");
    assert_eq!(text["action"], "deployment.approve");
    assert_eq!(text["principal"], "user:acme/ann");
    assert_eq!(text["resource"], "target acme/shop/prod/docker.web");
}

#[test]
fn a_group_gives_its_role_to_its_members_only() {
    let rights = rights("");
    let member = somebody("user:acme/bob").in_groups(["reviewers".parse().unwrap()]);
    let namesake = somebody("user:other/bob").in_groups(["reviewers".parse().unwrap()]);
    let approve = |who: &Subject| rights.authorize(&question(who, Action::DeploymentApprove, WEB, facts()));

    assert_verdict(&approve(&member), Verdict::Allow);
    assert_verdict(&approve(&somebody("user:acme/bob")), Verdict::Deny);
    assert_verdict(&approve(&namesake), Verdict::NotFound);
}

#[test]
fn nobody_approves_their_own_plan_nor_one_that_nobody_knows() {
    let rights = rights("");
    let bob = somebody("user:acme/bob").in_groups(["reviewers".parse().unwrap()]);
    let with =
        |plan| rights.authorize(&question(&bob, Action::DeploymentApprove, WEB, Facts { plan, ..facts() }));

    let own = with(Some(plan(&["user:acme/paul", "user:acme/bob"])));
    assert_verdict(&own, Verdict::Deny);
    assert_eq!(because(&own), ["four-eyes"]);
    assert_eq!(own.determining[0].message, "nobody approves a plan that they wrote or edited");
    assert_eq!(own.hint.as_deref(), Some("ask somebody else with the role approver"));
    assert!(own.missing.is_empty(), "the right is there: {:?}", own.missing);
    let unknown = with(None);
    assert_eq!(because(&unknown), ["approve-what-is-known"]);
}

#[test]
fn what_is_delicate_needs_a_fresh_second_factor() {
    let rights = rights("");
    let bob = somebody("user:acme/bob").in_groups(["reviewers".parse().unwrap()]);
    let with = |mfa, age: Option<u64>| {
        let facts = Facts { mfa, factor_age: age.map(Duration::from_secs), ..facts() };
        rights.authorize(&question(&bob, Action::DeploymentApprove, WEB, facts))
    };

    assert_verdict(&with(true, Some(300)), Verdict::Allow);
    for (mfa, age) in [(true, Some(301)), (true, None), (false, Some(1)), (false, None)] {
        let decision = with(mfa, age);
        assert_eq!(because(&decision), ["fresh-factor"]);
        assert_eq!(decision.hint.as_deref(), Some("sign in again with your second factor, then repeat it"));
    }
}

#[test]
fn a_program_never_does_what_people_answer_for() {
    let files = [policy::Source::new(
        "g.toml",
        "[[grant]]\nto = \"service-account:acme/ci\"\nrole = \"approver\"\non = \"acme\"",
    )];
    let rights = policy::load(&files).unwrap();

    let decision = ask(&rights, "service-account:acme/ci", Action::DeploymentApprove, WEB);

    assert_verdict(&decision, Verdict::Deny);
    assert_eq!(decision.missing, ["a person: deployment.approve is never done by a program"]);
    let speak = ask(&rights, "user:acme/ann", Action::EngineSpeak, "engine");
    assert_eq!(speak.missing, ["a service of the engine: engine.speak is said by nobody else"]);
    assert_verdict(&ask(&rights, "service:orchestrator", Action::EngineSpeak, "engine"), Verdict::Allow);
}

#[test]
fn another_organisation_is_not_there_and_nothing_is_said_about_it() {
    let rights = rights("@id(\"all\")\n@message(\"everything\")\npermit (principal, action, resource);");
    for action in Action::ALL {
        let decision = ask(&rights, "user:other/eve", *action, WEB);

        assert_verdict(&decision, Verdict::NotFound);
        assert!(decision.determining.is_empty() && decision.missing.is_empty() && decision.hint.is_none());
    }
    let closed = ask(&Rights::closed("disk"), "user:other/eve", Action::DeploymentView, WEB);
    assert_verdict(&closed, Verdict::NotFound);
}

#[test]
fn a_grant_ends_at_its_time_also_when_it_was_just_used() {
    let rights = rights("");
    let olga = somebody("user:acme/olga");
    let at = |now| {
        let facts = Facts { now, ..facts() };
        rights.authorize(&question(&olga, Action::TargetHold, WEB, facts)).decision
    };
    let end = NOON.plus(Duration::from_secs(3600));

    assert_eq!(at(Timestamp(end.0 - 1)), Verdict::Allow);
    assert_eq!(at(end), Verdict::Deny);
    assert_eq!(at(Timestamp(end.0 + 1)), Verdict::Deny);
}

#[test]
fn a_grant_for_a_time_comes_on_top_and_ends() {
    let rights = rights("");
    let grant = Grant {
        to: "user:acme/zoe".parse().unwrap(),
        role: policy::BREAK_GLASS.to_owned(),
        on: "acme/shop/prod".parse().unwrap(),
        until: Some(NOON.plus(Duration::from_secs(60))),
        reason: "down".to_owned(),
    };
    let more = rights.with_temporary([grant.clone()]).unwrap();
    let zoe = somebody("user:acme/zoe");
    let at = |seconds, action, on| {
        let facts = Facts { now: NOON.plus(Duration::from_secs(seconds)), ..facts() };
        more.authorize(&question(&zoe, action, on, facts)).decision
    };

    assert_eq!(at(59, Action::DeploymentForce, WEB), Verdict::Allow);
    assert_eq!(at(60, Action::DeploymentForce, WEB), Verdict::Deny);
    assert_eq!(at(1, Action::DeploymentApprove, WEB), Verdict::Deny);
    assert_eq!(at(1, Action::PolicyChange, "acme"), Verdict::Deny);
    assert_eq!(at(1, Action::AuditExport, "acme"), Verdict::Deny);
    assert_eq!(more.digest(), rights.digest());
    let forever = rights.with_temporary([Grant { until: None, ..grant.clone() }]);
    assert!(forever.err().unwrap().contains("ends at no time"));
    let unknown = rights.with_temporary([Grant { role: "root".to_owned(), ..grant }]);
    assert!(unknown.err().unwrap().contains("there is no role \"root\""));
}

#[test]
fn a_permit_that_almost_applies_says_which_condition_does_not_hold() {
    let rights = rights(
        r#"
        @id("office-hours")
        @message("canaries of ten percent in office hours")
        permit (principal is User, action == Action::"deployment.force", resource in Project::"acme/shop")
        when {
            context.weekday <= 5 &&
            context has plan && context.plan.percent <= 10 &&
            context.now.toTime() < duration("17h")
        }
        unless { context.labels.contains("frozen=yes") };
        "#,
    );
    let with = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        rights.authorize(&question(&somebody("user:acme/zoe"), Action::DeploymentForce, WEB, facts))
    };

    let fine = with(|_| ());
    assert_verdict(&fine, Verdict::Allow);
    assert_eq!(because(&fine), ["office-hours"]);
    for (change, said) in [
        (
            (|facts| facts.now = NOON.plus(Duration::from_secs(5 * 86_400))) as fn(&mut Facts),
            "context.weekday <= 5",
        ),
        (|facts| facts.plan = None, "context has plan"),
        (|facts| facts.plan.as_mut().unwrap().percent = 11, "context.plan.percent <= 10"),
        (|facts| facts.now = NOON.plus(Duration::from_secs(5 * 3600)), "toTime"),
        (
            |facts| drop(facts.labels.insert("frozen".to_owned(), "yes".to_owned())),
            "!context.labels.contains",
        ),
    ] {
        let decision = with(change);
        assert_verdict(&decision, Verdict::Deny);
        assert_eq!(decision.missing.len(), 1, "{decision:#?}");
        assert!(decision.missing[0].starts_with("policy office-hours: "), "{:?}", decision.missing);
        assert!(decision.missing[0].contains(said), "{said}: {:?}", decision.missing);
    }
}

#[test]
fn a_policy_that_errs_denies_whatever_others_permit() {
    for effect in ["permit", "forbid"] {
        let policy = format!(
            "@id(\"too-large\")\n@message(\"never worked out\")\n{effect} (principal, action, resource)\nwhen {{ context has plan && context.plan.percent * 9223372036854775807 > 20 }};"
        );
        let rights = rights(&policy);

        let decision = ask(&rights, "user:acme/ann", Action::DeploymentSubmit, WEB);

        assert_verdict(&decision, Verdict::Deny);
        assert_eq!(because(&decision), ["too-large"], "{decision:#?}");
        assert!(decision.determining[0].message.contains("overflow"), "{decision:#?}");
        let without = rights.authorize(&question(
            &somebody("user:acme/ann"),
            Action::DeploymentSubmit,
            WEB,
            Facts { plan: None, ..facts() },
        ));
        assert_verdict(&without, Verdict::Allow);
    }
}

#[test]
fn rights_that_were_not_loaded_deny_everything_and_say_why() {
    let rights = Rights::closed("rights/grants.toml cannot be read");
    for action in Action::ALL {
        let decision = ask(&rights, "service:orchestrator", *action, WEB);

        assert_verdict(&decision, Verdict::Deny);
        assert!(decision.hint.unwrap().ends_with("rights/grants.toml cannot be read"));
    }
    assert!(rights.with_temporary([]).is_err());
}

#[test]
fn without_a_grant_nobody_may_do_more_than_ask_for_one() {
    let rights = policy::load(&[]).unwrap();
    for action in Action::ALL {
        let place = match action.on().last() {
            Some(policy::Level::Target) => WEB,
            Some(policy::Level::Organisation) => "acme",
            _ => "engine",
        };
        let decision = ask(&rights, "user:acme/ann", *action, place);

        assert_eq!(decision.is_allowed(), *action == Action::AccessRequest, "{decision:#?}");
    }
}

#[test]
fn an_action_is_done_where_it_is_done() {
    let decision = ask(&rights(""), "user:acme/ann", Action::DeploymentSubmit, "acme/shop");

    assert_eq!(decision.missing, ["deployment.submit is done on: target"]);
}

#[test]
fn a_moment_that_no_calendar_has_denies() {
    let facts = Facts { now: Timestamp(i64::MAX), ..facts() };
    let decision =
        rights("").authorize(&question(&somebody("user:acme/ann"), Action::DeploymentSubmit, WEB, facts));

    assert_verdict(&decision, Verdict::Deny);
    assert!(decision.hint.unwrap().starts_with("the question cannot be asked"));
}
