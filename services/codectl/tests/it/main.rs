//! The command line as people and programs meet it: the real binary against a real engine that it started itself, with
//! the process platform and the greeter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod access;
mod approvals;
mod audit;
mod certificates;
mod disk;
mod experts;
mod life;
mod output;
mod plane;
mod specs;
mod stage;
mod tampering;
mod under_way;
#[path = "../../../../libs/certificate/tests/it/emulator.rs"]
mod vault;

use std::thread;

use serde_json::Value;

use specs::{Spec, scratch};
use stage::{Stage, codectl, free_port};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn a_plan_is_applied_exactly_or_not_at_all() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    let two = stage.spec("two", &Spec::new("2.0.0"));
    let seen = stage.json(&["plan", &one])["digest"].as_str().unwrap().to_owned();

    let applied = stage.run(&["apply", &one, "--plan", &seen, "--watch"]);
    let stale = stage.run(&["apply", &two, "--plan", &seen, "--watch"]);

    applied.exits(0).says("promoted");
    stale.exits(11).says("plan again").says("nothing was touched");
    stage.run(&["status"]).exits(11).says("rejected");
}

#[test]
fn what_looks_like_a_placeholder_and_is_none_is_said_before_it_runs() {
    let stage = Stage::up();
    let mistyped = stage.spec("one", &Spec::new("1.0.0").mistyped());

    for command in [&["validate"][..], &["plan"], &["diff"], &["apply", "--watch"]] {
        let asked = [&command[..1], &[mistyped.as_str()], &command[1..]].concat();
        stage.run(&asked).exits(0).says("warning:").says("{host}");
    }
}

#[test]
fn a_plan_says_what_runs_and_is_not_as_promoted() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.run(&["plan", &one]).exits(0).says("what runs is what is asked for");

    stage.kill_instances();

    stage.until("the end is seen", || stage.run(&["drift", &stage.target()]).code == 1);
    let plan = stage.run(&["plan", &one]).exits(0).says("greeter is not as promoted").says("has ended");
    assert!(!plan.out.contains("what runs is what is asked for"), "{}", plan.out);
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.run(&["drift", &stage.target()]).exits(0);
}

#[test]
fn versions_are_shown_where_the_engine_speaks_of_revisions() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let never = stage.spec("never", &Spec::new("2.0.0").never_ready());
    stage.run(&["apply", &never, "--watch"]).exits(10).says("greeter 2.0.0");

    let plan = stage.json(&["plan", &never])["plan"]["changes"][0].clone();
    let digests = [plan["from"].as_str().unwrap().to_owned(), plan["to"].as_str().unwrap().to_owned()];
    let target = stage.target();
    for command in [
        &["plan", &never][..],
        &["status"],
        &["explain"],
        &["history"],
        &["list"],
        &["lock", "show", &target],
    ] {
        let said = stage.run(command).out;
        let digest = digests.iter().find(|digest| {
            said.split(|letter: char| !letter.is_alphanumeric() && letter != '-').any(|word| word == *digest)
        });
        assert_eq!(digest, None, "{command:?} shows a digest: {said}");
    }
    stage.run(&["plan", &never]).says("1.0.0 → 2.0.0");
}

#[test]
fn wrong_arguments_are_said_in_the_form_that_was_asked_for() {
    let home = scratch();

    for form in [&["--output", "json"][..], &["-o", "json"], &["--output=json"], &["-ojson"]] {
        let answer = codectl(home.path(), &[&["promote", "--nonsense"][..], form].concat());

        let said = json(&answer.err);
        assert_eq!((answer.code, said["status"].as_u64()), (2, Some(2)), "{}", answer.err);
        assert!(said["error"].as_str().unwrap().starts_with("unexpected argument '--nonsense'"), "{said}");
    }
    codectl(home.path(), &["promote", "--nonsense"]).exits(2).says("error: unexpected argument '--nonsense'");
}

#[test]
fn every_command_answers_in_json_with_the_same_keys() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    let target = stage.target();
    stage.run(&["apply", &one, "--watch", "--output", "json"]).exits(0);

    for (arguments, keys) in [
        (
            vec!["status"],
            vec!["summary", "version", "owner", "lock", "plan", "steps", "approvals", "explanation"],
        ),
        (vec!["explain"], vec!["headline", "details", "unblockedBy", "nextDeadline"]),
        (vec!["plan", &one], vec!["plan", "digest", "wayBack", "reviews", "obstacles"]),
        (
            vec!["lock", "show", &target],
            vec!["target", "holder", "queue", "held", "snapshot", "quarantined", "events"],
        ),
        (vec!["drift", &target], vec!["drifts", "at"]),
        (vec!["validate", &one], vec!["valid", "digest", "spec"]),
        (vec!["schema"], vec!["$schema", "properties"]),
    ] {
        let document = stage.json(&arguments);
        for key in keys {
            assert!(document.get(key).is_some(), "{arguments:?} has no {key}: {document}");
        }
    }
    let list = stage.json(&["list"]);
    for key in
        ["deployment", "target", "spec", "initiator", "phase", "verdict", "reason", "received", "modules"]
    {
        assert!(list[0].get(key).is_some(), "list has no {key}: {list}");
    }
    let history = stage.json(&["history"]);
    for key in ["id", "version", "writer", "at", "events"] {
        assert!(history[0].get(key).is_some(), "history has no {key}: {history}");
    }
    assert!(stage.json(&["diff", &one])[0].get("change").is_some());
    let refused = stage.run(&["promote", "--output", "json"]).exits(1);
    assert_eq!(json(&refused.err)["status"], 1, "{}", refused.err);
}

#[test]
fn a_release_that_is_never_ready_is_rolled_back_and_refused_from_then_on() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    let never = stage.spec("never", &Spec::new("2.0.0").never_ready());
    stage.run(&["apply", &one, "--watch"]).exits(0);

    let back = stage.run(&["apply", &never, "--watch"]);
    let refused = stage.run(&["apply", &never, "--watch"]);

    back.exits(10).says("rolled back").says("runs again: greeter 1.0.0");
    refused.exits(11).says("--force");
    stage.run(&["explain"]).exits(11).says("quarantined");
    stage.run(&["drift", &stage.target()]).exits(0);
    stage.run(&["rollback", &stage.target()]).exits(1).says("--to");
}

#[test]
fn where_there_is_no_way_back_a_human_is_called_and_closes_it() {
    let stage = Stage::up();
    let spec = stage.spec("one", &Spec::new("1.0.0").never_ready().irreversible());

    let called = stage.run(&["apply", &spec, "--watch"]);
    let closed = stage.run(&["abort", "--close", "--reason", "set right"]);

    called.exits(12).says("a person must look").says("cannot be undone").says("--close");
    closed.exits(0);
    stage.until("the deployment is over", || stage.json_of(&["status"], 12)["summary"]["closed"].is_i64());
    stage.run(&["lock", "show", &stage.target()]).exits(0).says("free");
}

#[test]
fn of_two_operators_who_saw_the_same_revision_one_is_told_to_look_again() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    stage.run(&["apply", &stage.spec("two", &Spec::new("2.0.0").waits_for_a_person())]).exits(0);
    stage.until("it waits for a person", || {
        stage.json_of(&["explain"], 20)["unblockedBy"].to_string().contains("codectl promote")
    });
    // That the guard runs is journalled once it has run for a moment; after that only a person moves it on.
    stage.until("the guard is noted as started", || {
        let status = stage.json_of(&["status"], 20);
        let steps = status["steps"].as_array().unwrap();
        steps.iter().any(|step| step["id"].as_str().unwrap().contains("guard") && step["runner"].is_string())
    });
    let status = stage.json_of(&["status"], 20);
    let id = status["summary"]["deployment"].as_str().unwrap();
    let revision = status["version"].to_string();

    let answers = thread::scope(|scope| {
        let ask = |who: &'static str| {
            let (stage, revision) = (&stage, &revision);
            move || stage.run(&["promote", id, "--expect", revision, "--as", who])
        };
        let (ann, bob) = (scope.spawn(ask("ann")), scope.spawn(ask("bob")));
        [ann.join().unwrap(), bob.join().unwrap()]
    });

    let mut codes = answers.each_ref().map(|answer| answer.code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{answers:?}");
    let loser = answers.iter().find(|answer| answer.code == 1).unwrap();
    assert!(loser.err.contains("look again"), "{loser:?}");
    stage.run(&["watch", id]).exits(0).says("promoted");
}

#[test]
fn an_engine_that_was_killed_goes_on_where_it_was_with_everything_still_running() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let two = stage.spec("two", &Spec::new("2.0.0").approved_by_one());
    stage.run(&["plan", &two]).exits(0).says("1 person has to approve exactly this plan");
    assert_eq!(stage.json(&["plan", &two])["gates"]["approvals"]["required"], 1);
    stage.run(&["apply", &two]).exits(0);
    stage.until("it waits for an approval", || {
        stage.json_of(&["status"], 20)["summary"]["phase"] == "awaiting_approval"
    });
    let before = stage.instances();

    stage.kill_engine();
    let unreachable = stage.run(&["status"]);
    stage.start();

    unreachable.exits(3).says("codectl up");
    assert_eq!(stage.instances(), before);
    assert_eq!(stage.servers(), 1, "the NATS server of the killed engine still runs");
    stage.run(&["drift", &stage.target()]).exits(0);
    let plan = stage.json_of(&["status"], 20)["plan"][0].as_str().unwrap().to_owned();
    stage.run(&["approve", "--plan", &plan]).exits(1).says("cannot approve");
    stage.run(&["approve", "--plan", &plan, "--as", "bob"]).exits(0);
    stage.run(&["watch"]).exits(0).says("promoted");
}

#[test]
fn a_held_target_lets_nobody_in_and_says_who_holds_it() {
    let stage = Stage::up();
    let target = stage.target();
    stage.run(&["lock", "hold", &target, "--reason", "friday", "--as", "ann"]).exits(0).says("friday");
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0"))]).exits(0);
    stage.until("it is queued", || stage.json_of(&["status"], 20)["summary"]["phase"] == "queued");

    let why = stage.run(&["explain"]);
    let cancelled = stage.run(&["abort", "--reason", "not today"]);

    why.exits(20)
        .says("ann (unauthenticated) holds the target: friday")
        .says(&format!("codectl lock release {target}"));
    cancelled.exits(0);
    stage.run(&["watch"]).exits(13).says("not today");
    stage.run(&["list", "--active"]).exits(0).says("no deployments");
}

#[test]
fn a_second_engine_in_the_same_folder_is_refused() {
    let stage = Stage::up();
    let taken = stage.nats().rsplit(':').next().unwrap().to_owned();
    let other = scratch();

    stage.run(&["up"]).exits(1).says("codectl down");
    codectl(other.path(), &["up", "--port", &taken]).exits(1).says("--port");
}

#[test]
fn an_engine_that_is_not_there_is_told_within_the_timeout() {
    let home = scratch();
    let nobody = format!("nats://127.0.0.1:{}", free_port());

    let refused = codectl(home.path(), &["status", "--nats", &nobody]);
    let in_json = codectl(home.path(), &["status", "--nats", &nobody, "--output", "json"]);

    refused.exits(3).says(&nobody).says("codectl up");
    assert_eq!(json(&in_json.exits(3).err)["status"], 3);
    codectl(home.path(), &["down"]).exits(0).says("no engine runs");
}

#[test]
fn a_server_that_says_nothing_is_told_within_the_timeout() {
    let home = scratch();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());

    codectl(home.path(), &["list", "--nats", &url, "--timeout", "300ms"]).exits(3).says(&url);
}

#[test]
fn mistakes_in_a_spec_name_line_column_field_and_cure() {
    let home = scratch();
    let good = Spec::new("1.0.0").text("greeter", 18999);
    for (from, to, place, words) in [
        ("replicas: 1", "replicas: -2", "10:15", "replicas"),
        ("version: 1.0.0", "verzion: 1.0.0", "7:5", "verzion"),
        ("apiVersion: code/v1", "apiVersion: code/v9", "1:13", "code/v1"),
        ("target: process", "target: [process", "", ""),
    ] {
        assert!(good.contains(from), "{good}");
        let file = home.path().join("bad.yaml");
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();

        let answer = codectl(home.path(), &["validate", file.to_str().unwrap()]).exits(2);

        assert!(answer.err.contains(&format!("bad.yaml:{place}")), "{to}: {}", answer.err);
        assert!(answer.err.contains(words), "{to}: {}", answer.err);
    }
    codectl(home.path(), &["validate", "no-such-file.yaml"]).exits(2).says("no-such-file.yaml");
    codectl(home.path(), &["lock", "show", "shop"]).exits(2).says("environment.platform.name");
    codectl(home.path(), &["approve", "--plan", "sha256:00"]).exits(2).says("64 hex digits");
}

#[test]
fn what_is_imported_from_compose_is_a_valid_spec() {
    let home = scratch();
    let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/specs/compose.yaml");
    let imported = codectl(home.path(), &["import", "compose", compose, "--name", "shop"]).exits(0);
    let file = home.path().join("shop.yaml");
    std::fs::write(&file, &imported.out).unwrap();

    let valid = codectl(home.path(), &["validate", file.to_str().unwrap(), "--output", "json"]).exits(0);

    assert_eq!(json(&valid.out)["spec"]["name"], "shop");
    assert!(imported.err.contains("note:"), "{}", imported.err);
}

#[test]
fn an_imported_application_is_named_by_its_file_else_by_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("shop");
    std::fs::create_dir(&folder).unwrap();
    let (named, unnamed) = (folder.join("named.yaml"), folder.join("unnamed.yaml"));
    let services = "services: {web: {image: 'web:1'}}\n";
    std::fs::write(&named, format!("name: guestbook\n{services}")).unwrap();
    std::fs::write(&unnamed, services).unwrap();

    for (file, name) in [(named, "name: guestbook"), (unnamed, "name: shop")] {
        let imported = codectl(home.path(), &["import", "compose", file.to_str().unwrap()]).exits(0);
        assert!(imported.out.lines().any(|line| line == name), "{}", imported.out);
    }
}

#[test]
fn completions_and_schema_are_printed_and_a_closed_pipe_is_no_failure() {
    let home = scratch();
    for shell in ["bash", "zsh", "fish"] {
        let answer = codectl(home.path(), &["completions", shell]).exits(0);
        assert!(answer.out.contains("codectl") && answer.out.len() > 1000, "{shell}");
    }
    let mut child = stage::command(home.path(), &["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success());
}
