//! A deployment that waits, people with keys of OpenSSH, and `ssh-keygen` itself.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use approval::{
    About, Ballot, NAMESPACE, Refusal, Require, Rulebook, Signers, Statement, Vote, Words, in_words,
};
use model::{
    DeploymentSpec, Plan, Principal, Span, TargetId, Timestamp,
    approval::{Clause, Decision, Signature, Signed, Terms},
};
use serde_json::json;
use tempfile::TempDir;

/// 2026-11-21T05:51:00Z.
pub const NOW: Timestamp = Timestamp(1_795_240_260_000);
/// The same as ssh-keygen wants it.
const NOW_WRITTEN: &str = "20261121055100Z";

pub fn spec() -> DeploymentSpec {
    serde_json::from_value(json!({
        "apiVersion": "code/v1", "name": "shop", "environment": "prod", "target": "docker",
        "modules": [{"name": "web", "version": "2.0.0", "run": {"image": "ghcr.io/acme/web"}}],
    }))
    .unwrap()
}

pub fn plan(steps: serde_json::Value) -> Plan {
    let spec = spec();
    serde_json::from_value(json!({
        "target": spec.target_id(), "spec": model::Digest::of(&spec), "baseline": null, "changes": [], "steps": steps,
        "atLeast": "1s",
    }))
    .unwrap()
}

/// What a deployment is, owned.
#[derive(Clone)]
pub struct Deployment {
    pub id: String,
    pub target: TargetId,
    pub initiator: Principal,
    pub modules: Vec<String>,
    pub plan: Plan,
}

impl Deployment {
    pub fn about(&self) -> About<'_> {
        About {
            deployment: &self.id,
            target: &self.target,
            initiator: &self.initiator,
            modules: &self.modules,
            plan: &self.plan,
        }
    }
}

pub fn clause(count: u8, of: &[&str]) -> Clause {
    Clause { count, of: of.iter().map(|who| (*who).to_owned()).collect(), when: None }
}

/// A folder with keys.
pub struct Scene {
    folder: TempDir,
    pub deployment: Deployment,
    file: String,
}

impl Scene {
    /// Ann has two keys, bob and cat one; ada asked.
    pub fn new() -> Scene {
        let folder = TempDir::new().unwrap();
        let deployment = Deployment {
            id: "dep-0193a5b2c4d6".to_owned(),
            target: spec().target_id(),
            initiator: Principal::stated("ada").unwrap(),
            modules: vec!["web 2.0.0".to_owned()],
            plan: plan(json!([])),
        };
        let mut scene = Scene { folder, deployment, file: String::new() };
        for (who, key, kind) in [
            ("ann", "ann", "ed25519"),
            ("ann", "ann2", "ecdsa"),
            ("bob", "bob", "ecdsa"),
            ("cat", "cat", "ed25519"),
            ("ada", "ada", "ed25519"),
        ] {
            let public = scene.make(key, kind);
            scene.file += &format!("{who} {public}\n");
        }
        scene.make("stranger", "ed25519");
        scene
    }

    /// Makes a key; gives the words of its public half without a comment.
    pub fn make(&self, name: &str, kind: &str) -> String {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", "", "-f"])
            .arg(self.path(name))
            .status()
            .expect("ssh-keygen is needed: tools/setup.sh installs openssh-client");
        assert!(made.success());
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// The file of signers.
    pub fn file(&self) -> String {
        self.file.clone()
    }

    pub fn terms(&self, file: &str, all: Vec<Clause>) -> Terms {
        let require = vec![Require { environment: None, all }];
        let signers = Signers::read(file).unwrap();
        let book = Rulebook::new(signers, BTreeMap::new(), require, Span::seconds(86_400), false).unwrap();
        book.terms(&spec()).unwrap()
    }

    /// Two of all.
    pub fn two(&self) -> Terms {
        self.terms(&self.file, vec![clause(2, &[])])
    }

    pub fn statement(&self, terms: &Terms, words: Words<'_>) -> Statement {
        Statement::new(&self.deployment.about(), &terms.digest(), &in_words(terms), &words)
    }

    /// What ssh-keygen makes of it.
    pub fn sign(&self, key: &str, namespace: &str, text: &str, options: &[&str]) -> String {
        let mut child = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(self.path(key))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn signed(&self, key: &str, statement: &Statement) -> Signed {
        let statement = statement.text();
        let signature = Signature::Sshsig(self.sign(key, NAMESPACE, &statement, &[]));
        Signed { statement, signature }
    }

    /// The verdict of ssh-keygen, which knows of nothing but the signature, the key, its namespaces and its times.
    pub fn keygen_says_yes(&self, file: &str, who: &str, signed: &Signed) -> bool {
        let Signature::Sshsig(signature) = &signed.signature;
        std::fs::write(self.path("allowed_signers"), file).unwrap();
        std::fs::write(self.path("approval.sig"), signature).unwrap();
        let mut child = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", who, "-O"])
            .arg(format!("verify-time={NOW_WRITTEN}"))
            .arg("-f")
            .arg(self.path("allowed_signers"))
            .arg("-s")
            .arg(self.path("approval.sig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It may refuse before it reads.
        _ = child.stdin.take().unwrap().write_all(signed.statement.as_bytes());
        child.wait().unwrap().success()
    }

    pub fn examine(&self, ballot: &Ballot, signed: &Signed) -> Result<Vote, Refusal> {
        ballot.examine(&self.deployment.about(), signed, Decision::Approve, NOW)
    }
}

/// An approval now, for a day.
pub fn words<'a>(approver: &'a str, nonce: &'a str) -> Words<'a> {
    let lasts = Span::seconds(86_400);
    Words { decision: Decision::Approve, approver, reason: "", nonce, issued: NOW, lasts }
}

pub const NONCE: &str = "00112233445566778899aabbccddeeff";
