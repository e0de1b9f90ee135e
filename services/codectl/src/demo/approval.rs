//! A release that waits for a signature. The approver signs the plan with a key of their own; the same signature is then
//! handed in for another plan; and OpenSSH, which knows nothing of us, says who signed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use client::Client;
use model::{DeploymentId, Digest, Phase, Verdict, command::Submit};

use super::{Ledger, act, closed::Closed, failed, keys::WHO, releases::Release, stage::Stage, submit};
use crate::{commands::watch, failure::Failure, output, output::paint};

/// How long a release may take until it waits for people.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells it.
pub async fn tell(number: u32, stage: &Stage, client: &Client, ledger: &mut Ledger) -> Result<(), Failure> {
    act(number, "5.0.0 waits for a signature, made with a key that only its approver has");
    let desk =
        Desk { program: std::env::current_exe().map_err(failed("finding codectl"))?, folder: stage.folder() };
    let (deployment, plan) = waiting(stage, client, &Release::to_be_signed("5.0.0")).await?;
    let plan = plan.to_string();
    let statement =
        desk.codectl(&["approve", deployment.as_str(), "--plan", &plan, "--as", WHO, "--print"])?;
    if !statement.status.success() {
        return Err(Failure::other(String::from_utf8_lossy(&statement.stderr).into_owned()));
    }
    fs::write(desk.path("approval.json"), &statement.stdout).map_err(failed("writing the statement"))?;
    let signed = desk.sign()?;
    ledger.check(
        signed.status.success(),
        format!("{WHO} signed the plan with ssh-keygen, away from the engine"),
    );
    let handed = desk.hand_in(&deployment, &plan)?;
    ledger.check(handed.status.code() == Some(0), "the engine counts the signature, whoever hands it in");
    let view = watch::follow(client, &deployment).await?;
    ledger.check(view.summary.verdict == Some(Verdict::Promoted), "5.0.0 promoted once it was approved");

    let (other, other_plan) = waiting(stage, client, &Release::to_be_signed("5.1.0")).await?;
    let refused = desk.hand_in(&other, &other_plan.to_string())?;
    let still = client.status(&other).await?.summary.phase == Phase::AwaitingApproval;
    ledger.check(
        refused.status.code() != Some(0) && still,
        "the same signature for the plan of 5.1.0: refused, it goes on waiting",
    );
    let aborted = desk.codectl(&["abort", other.as_str()])?;
    if !aborted.status.success() {
        return Err(Failure::other(String::from_utf8_lossy(&aborted.stderr).into_owned()));
    }

    let closed = Closed::new();
    let verified = desk.verify(&closed)?;
    let said = String::from_utf8_lossy(&verified.stdout);
    ledger.check(
        verified.status.success() && said.starts_with("Good"),
        format!("OpenSSH alone says who signed, with {}", closed.proof()),
    );
    Ok(())
}

/// Hands a release in and waits until it waits for people; gives its plan.
async fn waiting(
    stage: &Stage,
    client: &Client,
    release: &Release,
) -> Result<(DeploymentId, Digest), Failure> {
    let asked: Submit = submit(stage.spec(release), None);
    let deployment = client.submit(&asked).await?.deployment;
    output::line(paint::faint(format!("$ codectl apply greeter-{}.yaml", release.version)));
    let began = tokio::time::Instant::now();
    while began.elapsed() < PATIENCE {
        let view = client.status(&deployment).await?;
        match (&view.plan, &view.signing, view.summary.phase) {
            (Some((_, plan)), Some(standing), Phase::AwaitingApproval) => {
                output::line(format!("  {} waits for {}", release.version, standing.requirement));
                return Ok((deployment, plan.digest()));
            }
            (_, _, Phase::Closed) => {
                return Err(Failure::other(format!(
                    "{deployment} ended early: {}",
                    view.explanation.headline
                )));
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    Err(Failure::other(format!("{deployment} does not wait for a signature after {} s", PATIENCE.as_secs())))
}

/// Where the approver works: a folder with the key and the statement.
struct Desk<'a> {
    program: PathBuf,
    folder: &'a Path,
}

impl Desk<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a command of ours as the approver would, and shows it.
    fn codectl(&self, arguments: &[&str]) -> Result<Output, Failure> {
        output::line(paint::faint(format!("$ codectl {}", arguments.join(" "))));
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.folder).args(["--color", "never", "--output", "text"]).args(arguments);
        let output = command.current_dir(self.folder).output().map_err(failed("running codectl"))?;
        String::from_utf8_lossy(&output.stderr).lines().for_each(|line| output::raw(format!("  {line}\n")));
        Ok(output)
    }

    fn sign(&self) -> Result<Output, Failure> {
        output::line(paint::faint(format!(
            "$ ssh-keygen -Y sign -n {} -f {WHO} approval.json",
            approval::NAMESPACE
        )));
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", approval::NAMESPACE, "-f", WHO, "approval.json"]);
        command.current_dir(self.folder).stdin(Stdio::null()).output().map_err(failed("running ssh-keygen"))
    }

    fn hand_in(&self, deployment: &DeploymentId, plan: &str) -> Result<Output, Failure> {
        let (statement, signature) = ("approval.json", "approval.json.sig");
        let files = ["--statement", statement, "--signature", signature];
        self.codectl(&[&["approve", deployment.as_str(), "--plan", plan], files.as_slice()].concat())
    }

    /// What OpenSSH says of the signature, where it reaches nobody.
    fn verify(&self, closed: &Closed) -> Result<Output, Failure> {
        let file = "approval.json.sig";
        let arguments =
            ["-Y", "verify", "-f", "allowed_signers", "-I", WHO, "-n", approval::NAMESPACE, "-s", file];
        output::line(paint::faint(format!(
            "$ {}ssh-keygen {} < approval.json",
            closed.words(),
            arguments.join(" ")
        )));
        let statement =
            fs::File::open(self.path("approval.json")).map_err(failed("reading the statement"))?;
        let mut command = closed.command(Path::new("ssh-keygen"));
        let output = command.args(arguments).current_dir(self.folder).stdin(statement).output();
        let output = output.map_err(failed("running ssh-keygen"))?;
        String::from_utf8_lossy(&output.stdout).lines().for_each(|line| output::raw(format!("  {line}\n")));
        Ok(output)
    }
}
