//! All stories.

use model::{
    Phase, Verdict,
    command::Action,
    deployment::Mode,
    expert,
    spec::{GateMode, WhenBusy},
};
use serde_json::{Value, json};

use super::{
    Scenario, Wanted, When,
    parts::{
        LIMIT, abort, analysis, flaw, module, person, promote, release, revision, spec, story, strategy,
        waiting, web, with, worker,
    },
};
use crate::sim::world::Flaw;

const STRATEGIES: [&str; 4] = ["canary", "blue-green", "rolling", "recreate"];
const HOUR: i64 = 3_600_000;

/// The story of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// Every story.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for name in STRATEGIES {
        all.extend([
            good(name),
            bad(name),
            first(name),
            first_bad(name),
            three(name),
            approvals(name),
            background(name),
        ]);
        all.extend([two_queued(name), flaky(name), abort_midway(name)]);
    }
    for name in ["canary", "blue-green"] {
        all.extend([abort_while_waiting(name), supersede(name), a_person_promotes(name)]);
        all.push(dies_while_waiting(name));
    }
    all.extend([abort_in_hold(), promote_in_hold(), supersede_in_hold(), dies_in_hold()]);
    all.extend([
        inconclusive(),
        timed_pause_promoted(),
        removed_module(),
        only_the_number_changes(),
        nobody_routes_to_it(),
        quarantined(),
        forced(),
        blocked_way_back(),
        no_way_back(),
        back_to_an_older_release(),
        nothing_changes(),
        abort_before_the_change(),
        advised("advise-good", GateMode::Advise, Some(expert::Action::Approve), Verdict::Promoted),
        advised("advise-against", GateMode::Advise, Some(expert::Action::Reject), Verdict::Promoted),
        advised("advise-silent", GateMode::Advise, None, Verdict::Promoted),
        advised("require-good", GateMode::Require, Some(expert::Action::Approve), Verdict::Promoted),
        advised("require-against", GateMode::Require, Some(expert::Action::NeedsChange), Verdict::Rejected),
        advised("require-no-quorum", GateMode::Require, Some(expert::Action::NoQuorum), Verdict::Rejected),
        advised("require-silent", GateMode::Require, None, Verdict::Rejected),
    ]);
    all
}

/// Experts look at the plan, and the gate makes this of it.
fn advised(name: &str, gate: GateMode, panel: Option<expert::Action>, end: Verdict) -> Scenario {
    let mut new = web("canary", "2.0.0");
    new.gates.experts = gate;
    let mut story = story(format!("experts/{name}"), Some(&web("canary", "1.0.0")), &new, end);
    story.panel = panel;
    story
}

fn good(name: &str) -> Scenario {
    story(format!("{name}/good"), Some(&web(name, "1.0.0")), &web(name, "2.0.0"), Verdict::Promoted)
}

/// Bad at the gate that the strategy has.
fn bad(name: &str) -> Scenario {
    let mut new = web(name, "2.0.0");
    let kind = match name {
        "canary" => Flaw::Analysis(25),
        "blue-green" => Flaw::Analysis(100),
        "rolling" => {
            new.modules[0].analysis = serde_json::from_value(analysis("10s")).ok();
            Flaw::Background(30)
        }
        _ => Flaw::Smoke,
    };
    let mut story = story(format!("{name}/bad"), Some(&web(name, "1.0.0")), &new, Verdict::RolledBack);
    story.flaws.push(flaw(&new, "web", kind));
    story
}

fn first(name: &str) -> Scenario {
    story(format!("{name}/first"), None, &web(name, "1.0.0"), Verdict::Promoted)
}

/// There is nothing to go back to but nothing.
fn first_bad(name: &str) -> Scenario {
    let new = web(name, "1.0.0");
    let mut story = story(format!("{name}/first-bad"), None, &new, Verdict::RolledBack);
    story.flaws.push(flaw(&new, "web", Flaw::Smoke));
    story
}

/// Three modules; the third fails when half of its traffic is on the new revision.
fn three(name: &str) -> Scenario {
    let modules = |version: &str| -> Vec<Value> {
        let third =
            with(module("cart", version, 8083), "dependsOn", json!([{"module": "store"}, {"module": "web"}]));
        let third = with(third, "analysis", analysis("10s"));
        vec![
            module("store", version, 8081),
            with(module("web", version, 8082), "dependsOn", json!([{"module": "store"}])),
            third,
        ]
    };
    let (old, new) = (spec(&strategy(name), modules("1.0.0")), spec(&strategy(name), modules("2.0.0")));
    let end = if name == "recreate" { Verdict::Promoted } else { Verdict::RolledBack };
    let mut story = story(format!("{name}/three-modules"), Some(&old), &new, end);
    if name != "recreate" {
        story
            .flaws
            .extend([flaw(&new, "cart", Flaw::Background(50)), flaw(&new, "cart", Flaw::Analysis(50))]);
    }
    story
}

fn approvals(name: &str) -> Scenario {
    let mut new = web(name, "2.0.0");
    new.gates.approvals = serde_json::from_value(json!({"required": 2})).ok();
    let mut story = story(format!("{name}/approvals"), Some(&web(name, "1.0.0")), &new, Verdict::Promoted);
    for (name, delay) in [("ann", 4_000), ("bob", 9_000)] {
        story.people.push(person(name, 0, When::Phase(0, Phase::AwaitingApproval), delay, Wanted::Approve));
    }
    story
}

fn background(name: &str) -> Scenario {
    let mut new = web(name, "2.0.0");
    new.modules[0].analysis = serde_json::from_value(analysis("10s")).ok();
    story(format!("{name}/background"), Some(&web(name, "1.0.0")), &new, Verdict::Promoted)
}

fn two_queued(name: &str) -> Scenario {
    let (second, third) = (web(name, "2.0.0"), web(name, "3.0.0"));
    let mut story =
        story(format!("{name}/two-queued"), Some(&web(name, "1.0.0")), &second, Verdict::Promoted);
    story.releases.push(release(1, &third, When::Phase(0, Phase::Executing)));
    story.ends.push(Verdict::Promoted);
    story
}

fn flaky(name: &str) -> Scenario {
    let new = web(name, "2.0.0");
    let mut story = story(format!("{name}/flaky"), Some(&web(name, "1.0.0")), &new, Verdict::Promoted);
    story.flaws.push(flaw(&new, "web", Flaw::Error(3)));
    story
}

/// A person aborts when all has changed, during a long hook.
fn abort_midway(name: &str) -> Scenario {
    let mut new = web(name, "2.0.0");
    new.hooks = serde_json::from_value(
        json!([{"name": "long", "when": "beforePromotion", "command": ["sleep"], "timeout": "9m"}]),
    )
    .unwrap_or_default();
    let mut story =
        story(format!("{name}/abort-midway"), Some(&web(name, "1.0.0")), &new, Verdict::RolledBack);
    story.people.push(person("ann", 0, When::Open(0, "hook"), 500, abort()));
    story
}

fn waiting_web(name: &str, version: &str) -> model::DeploymentSpec {
    spec(&waiting(name), vec![module("web", version, 8080)])
}

fn abort_while_waiting(name: &str) -> Scenario {
    let new = waiting_web(name, "2.0.0");
    let mut story = story(format!("{name}/abort"), Some(&web(name, "1.0.0")), &new, Verdict::RolledBack);
    story.people.push(person("ann", 0, When::WaitsForPromote(0), 3_000, abort()));
    story
}

/// Nobody is there, and what is on trial dies: it goes back by itself, long before anybody's deadline.
fn dies_while_waiting(name: &str) -> Scenario {
    let new = waiting_web(name, "2.0.0");
    let mut story =
        story(format!("{name}/dies-while-waiting"), Some(&web(name, "1.0.0")), &new, Verdict::RolledBack);
    let (module, revision) = revision(&new, "web");
    story.people.push(person("nobody", 0, When::WaitsForPromote(0), 3_000, Wanted::Strike(module, revision)));
    story
}

/// Held for half a day, longer than the total deadline: what happens is what people or the release do.
fn held_web(version: &str) -> model::DeploymentSpec {
    spec(&json!({"blueGreen": {"hold": "12h"}}), vec![module("web", version, 8080)])
}

fn in_hold(name: &str, end: Verdict) -> Scenario {
    let new = held_web("2.0.0");
    story(format!("blue-green/{name}-in-hold"), Some(&web("blue-green", "1.0.0")), &new, end)
}

fn abort_in_hold() -> Scenario {
    let mut story = in_hold("abort", Verdict::RolledBack);
    story.people.push(person("ann", 0, When::Open(0, "hold"), 3_000, abort()));
    story
}

/// The person comes after the total deadline: a hold does not use it up.
fn promote_in_hold() -> Scenario {
    let mut story = in_hold("promote", Verdict::Promoted);
    story.people.push(person("ann", 0, When::Open(0, "hold"), 2 * HOUR, promote()));
    story.limit = LIMIT + 3 * HOUR;
    story
}

fn supersede_in_hold() -> Scenario {
    let mut story = in_hold("supersede", Verdict::Superseded);
    let mut newer = web("blue-green", "3.0.0");
    newer.when_busy = WhenBusy::Supersede;
    story.releases.push(release(1, &newer, When::Open(0, "hold")));
    story.ends.push(Verdict::Promoted);
    story
}

/// What has the traffic dies while the old set still stands.
fn dies_in_hold() -> Scenario {
    let mut story = in_hold("dies", Verdict::RolledBack);
    let (module, revision) = revision(&story.releases[0].spec, "web");
    story.people.push(person("nobody", 0, When::Open(0, "hold"), 3_000, Wanted::Strike(module, revision)));
    story
}

fn supersede(name: &str) -> Scenario {
    let new = waiting_web(name, "2.0.0");
    let mut newer = web(name, "3.0.0");
    newer.when_busy = WhenBusy::Supersede;
    let mut story = story(format!("{name}/supersede"), Some(&web(name, "1.0.0")), &new, Verdict::Superseded);
    story.releases.push(release(1, &newer, When::WaitsForPromote(0)));
    story.ends.push(Verdict::Promoted);
    story
}

/// The person comes after the total deadline: waiting for people does not use it up, and a background analysis waits too.
fn a_person_promotes(name: &str) -> Scenario {
    let mut new = waiting_web(name, "2.0.0");
    new.modules[0].analysis = serde_json::from_value(analysis("10s")).ok();
    let mut story =
        story(format!("{name}/a-person-promotes"), Some(&web(name, "1.0.0")), &new, Verdict::Promoted);
    story.people.push(person("ann", 0, When::WaitsForPromote(0), 2 * HOUR, promote()));
    story.limit = LIMIT + 3 * HOUR;
    story
}

fn inconclusive() -> Scenario {
    let new = web("canary", "2.0.0");
    let mut story =
        story("canary/inconclusive".to_owned(), Some(&web("canary", "1.0.0")), &new, Verdict::RolledBack);
    story.flaws.push(flaw(&new, "web", Flaw::Inconclusive));
    story
}

/// A person ends one timed pause; the next pause, which waits for a person, must still wait: nobody comes.
fn timed_pause_promoted() -> Scenario {
    let steps = json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "10m"}}, {"setWeight": 50}, {"pause": {}}]}});
    let mut new = spec(&steps, vec![module("web", "2.0.0", 8080)]);
    new.deadlines.human = "30m".parse().expect("a span");
    let mut story = story(
        "canary/one-promote-one-pause".to_owned(),
        Some(&web("canary", "1.0.0")),
        &new,
        Verdict::RolledBack,
    );
    story.people.push(person("ann", 0, When::Open(0, "pause"), 1_000, promote()));
    story.limit = LIMIT + HOUR;
    story
}

fn removed_module() -> Scenario {
    let strategy = strategy("canary");
    let old = spec(
        &strategy,
        vec![module("web", "1.0.0", 8080), module("old", "1.0.0", 8081), worker("mail", "1.0.0")],
    );
    let new = spec(&strategy, vec![module("web", "2.0.0", 8080)]);
    story("canary/removed-module".to_owned(), Some(&old), &new, Verdict::Promoted)
}

fn only_the_number_changes() -> Scenario {
    let strategy = strategy("rolling");
    let old = spec(&strategy, vec![module("web", "1.0.0", 8080), worker("mail", "1.0.0")]);
    let new = spec(
        &strategy,
        vec![
            with(module("web", "1.0.0", 8080), "replicas", json!(2)),
            with(worker("mail", "1.0.0"), "replicas", json!(5)),
        ],
    );
    story("rolling/only-the-number-changes".to_owned(), Some(&old), &new, Verdict::Promoted)
}

/// Without routes only the instances themselves can carry a fence. Aborted at once, so that jobs of the change are
/// still under way when the way back, which finds nothing to do, is over.
fn nobody_routes_to_it() -> Scenario {
    let strategy = waiting("blue-green");
    let (old, new) =
        (spec(&strategy, vec![worker("mail", "1.0.0")]), spec(&strategy, vec![worker("mail", "2.0.0")]));
    let mut story = story("blue-green/nobody-routes-to-it".to_owned(), Some(&old), &new, Verdict::RolledBack);
    story.people.push(person("ann", 0, When::Open(0, "scale-3-mail"), 0, abort()));
    story
}

/// The same bad spec again is refused.
fn quarantined() -> Scenario {
    let mut story = bad("canary");
    story.name = "canary/quarantined".to_owned();
    let spec = story.releases[0].spec.clone();
    story.releases.push(release(1, &spec, When::Over(0)));
    story.ends.push(Verdict::Rejected);
    story
}

/// A forced one may run again, and is judged again.
fn forced() -> Scenario {
    let mut story = quarantined();
    story.name = "canary/forced".to_owned();
    story.releases[1].force = Some("the cause was elsewhere".to_owned());
    story.ends[1] = Verdict::RolledBack;
    story
}

/// The way back fails until a person has seen to the cause and asks for another try.
fn blocked_way_back() -> Scenario {
    let old = web("recreate", "1.0.0");
    let mut story = bad("recreate");
    story.name = "recreate/blocked-way-back".to_owned();
    // One runner, so that it remembers every attempt of the first try: the second try must not be answered from there.
    story.runners = 1;
    story.flaws.push(flaw(&old, "web", Flaw::NoWayBack(20 * 60_000)));
    story.people.push(person(
        "ann",
        0,
        When::Phase(0, Phase::NeedsHuman),
        25 * 60_000,
        Wanted::Do(Action::Retry {}),
    ));
    story.limit = LIMIT + HOUR;
    story
}

/// A hook that cannot be undone has run: nothing goes back by itself.
fn no_way_back() -> Scenario {
    let mut story = bad("canary");
    story.name = "canary/no-way-back".to_owned();
    story.releases[0].spec.hooks = serde_json::from_value(
        json!([{"name": "migrate", "when": "beforeDeploy", "command": ["migrate"], "irreversible": true}]),
    )
    .unwrap_or_default();
    let close = Wanted::Do(Action::Close { reason: "looked at it".to_owned() });
    story.people.push(person("ann", 0, When::Phase(0, Phase::NeedsHuman), 10_000, close));
    story.ends = vec![Verdict::NeedsHuman];
    story
}

fn back_to_an_older_release() -> Scenario {
    let mut story = good("canary");
    story.name = "canary/back-to-an-older-release".to_owned();
    let mut back = release(1, &web("canary", "1.0.0"), When::Over(0));
    back.mode = Mode::Rollback;
    story.releases.push(back);
    story.ends.push(Verdict::Promoted);
    story
}

fn nothing_changes() -> Scenario {
    let same = web("canary", "1.0.0");
    story("canary/nothing-changes".to_owned(), Some(&same), &same, Verdict::Promoted)
}

fn abort_before_the_change() -> Scenario {
    let mut story = approvals("canary");
    story.name = "canary/abort-before-the-change".to_owned();
    story.people = vec![person("ann", 0, When::Phase(0, Phase::AwaitingApproval), 2_000, abort())];
    story.ends = vec![Verdict::Cancelled];
    story
}
