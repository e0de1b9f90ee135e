//! Signed approvals as people meet them: keys of OpenSSH, a real ssh-agent, ssh-keygen.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    specs::{Spec, scratch},
    stage::{Answer, Stage, command},
};

/// People and their keys, and the file of signers.
struct People(TempDir);

impl People {
    fn new(names: &[&str]) -> People {
        let people = People(scratch());
        names.iter().for_each(|who| people.make(who));
        people
    }

    fn make(&self, who: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"])
            .arg(self.path(who))
            .status()
            .expect("ssh-keygen is needed: tools/setup.sh installs openssh-client");
        assert!(made.success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn key(&self, who: &str) -> String {
        self.path(who).to_string_lossy().into_owned()
    }

    fn line(&self, who: &str) -> String {
        format!("{who} {}", fs::read_to_string(self.path(&format!("{who}.pub"))).unwrap())
    }

    /// These may approve from now on.
    fn may(&self, names: &[&str]) {
        let lines: String = names.iter().map(|who| self.line(who)).collect();
        fs::write(self.path("allowed_signers"), lines).unwrap();
    }

    fn settings(&self, count: u8) -> String {
        format!(
            "[orchestrator.approvals]\nsigners = {:?}\nrequire = [{{ all = [{{ count = {count}, of = [] }}] }}]\n",
            self.path("allowed_signers")
        )
    }
}

/// An ssh-agent that holds the keys of these people.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn of(people: &People, names: &[&str]) -> Agent {
        let socket = people.path(&format!("agent-{}", names.join("-")));
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent is needed: tools/setup.sh installs openssh-client");
        // Its second line is its number: it listens by then.
        let said = BufReader::new(child.stdout.take().unwrap()).lines().nth(1).unwrap().unwrap();
        let agent = Agent { child, socket };
        assert!(said.starts_with("echo Agent pid"), "{said}");
        for who in names {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(people.path(who)).env("SSH_AUTH_SOCK", &agent.socket);
            assert!(add.status().unwrap().success(), "the agent takes no key");
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command with this agent, or with none.
fn with_agent(stage: &Stage, agent: Option<&Path>, arguments: &[&str]) -> Answer {
    let mut command = command(&stage.path(""), arguments);
    match agent {
        Some(socket) => command.env("SSH_AUTH_SOCK", socket),
        None => command.env_remove("SSH_AUTH_SOCK"),
    };
    Answer::of(command, arguments)
}

/// Deploys what waits for signatures; gives the plan's digest.
fn waiting(stage: &Stage) -> String {
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one]).exits(0);
    stage.until("it waits for signatures", || {
        let seen = stage.json_of(&["status"], 20);
        seen["summary"]["phase"] == "awaiting_approval" && seen["signing"].is_object()
    });
    stage.json_of(&["status"], 20)["plan"][0].as_str().unwrap().to_owned()
}

#[test]
fn a_release_waits_for_two_people_who_sign_and_openssh_verifies_what_they_signed() {
    let people = People::new(&["ann", "bob", "mallory"]);
    people.may(&["ann", "bob"]);
    let stage = Stage::configured(&people.settings(2));
    let spec = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["plan", &spec]).exits(0).says("approvals  signed, of exactly this plan: 2 of ann, bob");
    let plan = waiting(&stage);
    let approve = |more: &[&str]| {
        let mut all = vec!["approve", "--plan", &plan];
        all.extend(more);
        with_agent(&stage, None, &all)
    };

    stage.run(&["explain"]).exits(20).says("2 of ann, bob").says("signed with a key of theirs");
    approve(&["--as", "ann"])
        .exits(1)
        .says("no ssh-agent to sign by: SSH_AUTH_SOCK is not set")
        .says("--key FILE");
    let mallory = people.key("mallory");
    approve(&["--as", "mallory", "--key", &mallory])
        .exits(1)
        .says("mallory is not among those who may: ann, bob");
    approve(&["--as", "ann", "--key", &mallory]).exits(1).says("is no key of ann");
    approve(&["--as", "ann", "--key", "no-such-key"]).exits(1).says("ssh-keygen -Y sign");
    approve(&["--as", "ann", "--key", &people.key("ann"), "--lasts", "2days"]).exits(1).says("at most 1day");
    let other = plan.replace(|digit: char| digit.is_ascii_digit(), "0").replacen("sha000", "sha256", 1);
    with_agent(&stage, None, &["approve", "--plan", &other, "--as", "ann"])
        .exits(1)
        .says("it changed meanwhile");

    let agent = Agent::of(&people, &["mallory"]);
    let by_agent = |agent: &Agent, who: &str| {
        with_agent(&stage, Some(&agent.socket), &["approve", "--plan", &plan, "--as", who])
    };
    by_agent(&agent, "ann").exits(1).says("the ssh-agent holds no key of ann").says("ssh-add");
    drop(agent);
    let agent = Agent::of(&people, &["ann", "mallory"]);
    by_agent(&agent, "ann").exits(0).says("approved").says("asked for by unauthenticated:tester");
    stage.run(&["approvals"]).exits(0).says("ann (by signature)").says("1 more of bob");

    let printed = approve(&["--as", "bob", "--print"]).exits(0).says("ssh-keygen -Y sign");
    fs::write(people.path("approval.json"), &printed.out).unwrap();
    let signs = |namespace: &str| {
        let _ = fs::remove_file(people.path("approval.json.sig"));
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(people.path("bob"))
            .arg(people.path("approval.json"));
        assert!(sign.stderr(Stdio::null()).status().unwrap().success());
    };
    let (statement, signature) = (people.key("approval.json"), people.key("approval.json.sig"));
    let hand_in = ["--statement", statement.as_str(), "--signature", signature.as_str()];
    signs("file");
    approve(&hand_in).exits(1).says("sign with -n code-approval@code.example");
    signs("code-approval@code.example");
    approve(&hand_in).exits(0);
    stage.run(&["watch"]).exits(0).says("promoted");

    stage.run(&["certificate", "keys", "trust"]).exits(0);
    stage.run(&["certificate", "export", "--to", "shop"]).exits(0);
    stage.run(&["down"]).exits(0);
    stage
        .run(&["certificate", "verify", "shop", "--promoted"])
        .exits(0)
        .says("by ann (by signature): signed by key SHA256:")
        .says("by bob (by signature): signed by key SHA256:")
        .says("asked for were 2 of ann, bob");
    let verify = |who: &str, place: u8| {
        let folder = stage.path("shop/approvals");
        let statement = fs::File::open(folder.join(format!("{place}/approval.json"))).unwrap();
        let mut verify = Command::new("ssh-keygen");
        verify.args(["-Y", "verify", "-n", "code-approval@code.example", "-I", who, "-f"]);
        verify
            .arg(folder.join("allowed_signers"))
            .arg("-s")
            .arg(folder.join(format!("{place}/approval.sig")));
        verify.stdin(statement).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(verify("ann", 1) && verify("bob", 2) && !verify("bob", 1));
}

#[test]
fn a_key_that_is_taken_out_of_the_file_counts_no_longer_and_a_no_ends_it() {
    let people = People::new(&["ann", "bob", "cat"]);
    people.may(&["ann", "bob"]);
    let stage = Stage::configured(&people.settings(2));
    let plan = waiting(&stage);
    let sign = |what: &str, who: &str, more: &[&str]| {
        let key = people.key(who);
        let mut all = vec![what, "--plan", &plan, "--as", who, "--key", &key];
        all.extend(more);
        with_agent(&stage, None, &all)
    };
    let given = || stage.json(&["approvals"])["signing"]["given"].as_array().unwrap().len();
    sign("approve", "ann", &[]).exits(0);
    assert_eq!(given(), 1);

    people.may(&["bob", "cat"]);
    stage.until("what ann signed is void", || given() == 0);
    sign("approve", "ann", &[]).exits(1).says("ann is not among those who may: bob, cat");
    sign("deny", "cat", &["--reason", "not on a Friday"]).exits(0).says("denied");

    stage.run(&["watch"]).exits(11).says("denied by cat (by signature): not on a Friday");
}

#[test]
fn without_signers_an_approval_is_called_unauthenticated_and_a_key_is_of_no_use() {
    let people = People::new(&["bob"]);
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0").approved_by_one());
    stage.run(&["apply", &one]).exits(0);
    stage.until("it waits for an approval", || {
        stage.json_of(&["status"], 20)["summary"]["phase"] == "awaiting_approval"
    });
    let plan = stage.json_of(&["status"], 20)["plan"][0].as_str().unwrap().to_owned();

    let key = people.key("bob");
    stage
        .run(&["approve", "--plan", &plan, "--as", "bob", "--key", &key])
        .exits(1)
        .says("orchestrator.approvals.signers");
    stage.run(&["approve", "--plan", &plan, "--as", "bob"]).exits(0).says("approved (unauthenticated)");
    stage.run(&["watch"]).exits(0).says("promoted");
    stage.run(&["certificate", "keys", "trust"]).exits(0);
    stage.run(&["certificate", "verify"]).exits(0).says("by bob (unauthenticated): not signed, believed");
}

#[test]
fn an_engine_whose_file_of_signers_cannot_be_used_does_not_start_and_names_the_line() {
    let people = People::new(&["ann"]);
    fs::write(people.path("allowed_signers"), format!("# people\nann,bob {}", people.line("ann"))).unwrap();
    let stage = Stage::folder();
    fs::write(stage.path("code.toml"), people.settings(1)).unwrap();

    stage
        .run(&["up", "--config", "code.toml"])
        .exits(1)
        .says("signers: line 2: ann,bob: a line names one person");
}
