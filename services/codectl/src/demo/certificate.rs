//! The end of the story: the certificate of the last release is verified with the network closed; then one byte of it
//! is changed.

use std::{fs, path::Path, process::Output, time::Duration};

use ::certificate::{Certificate, Trust};
use client::Client;
use model::{DeploymentId, command::ListRequest};

use super::{Ledger, act, closed::Closed, failed, stage::Stage};
use crate::{commands::certificate as command, failure::Failure, output, output::paint};

/// How long a certificate and its proof may take after the deployment is over.
const PATIENCE: Duration = Duration::from_secs(40);

/// Tells it.
pub async fn tell(number: u32, stage: &Stage, client: &Client, ledger: &mut Ledger) -> Result<(), Failure> {
    act(number, "the network is closed: what the certificates still prove");
    let request = ListRequest { target: None, active: false, limit: Some(10) };
    let list = client.list(&request).await?;
    let Some(last) = list.first() else { return Err(Failure::other("there is no deployment to certify")) };
    let bad = list.iter().find(|summary| summary.verdict == Some(model::Verdict::RolledBack));
    let (file, logged) = fetch(client, &last.deployment).await?;
    let trust = command::trust_of_engine(client, !logged).await?;
    let folder = stage.folder().join("certificate");
    let certificate: Certificate = command::parse(&file)?;
    command::write(&certificate, &trust, &folder)?;
    let trust_file = stage.folder().join("trust.json");
    save(&trust_file, &trust)?;
    ledger.check(logged, "the audit log holds the certificate");
    let proven = certificate.journal.range.is_some();
    ledger.check(proven, "the audit log proves that it holds the journal, from the first record to the last");

    let closed = Closed::new();
    output::line(paint::faint(format!(
        "$ {}codectl certificate verify certificate/ --promoted",
        closed.words()
    )));
    let output = verify(&closed, &[&folder], &trust_file, true)?;
    show(&output);
    ledger.check(output.status.code() == Some(0), format!("VALID with {}", closed.proof()));

    if let Some(bad) = bad {
        let (file, _) = fetch(client, &bad.deployment).await?;
        let place = stage.folder().join("rolled-back.json");
        put(&place, &file)?;
        let output = verify(&closed, &[&place], &trust_file, false)?;
        let text = String::from_utf8_lossy(&output.stdout);
        output::line(paint::faint("$ codectl certificate verify rolled-back.json"));
        text.lines().take(3).for_each(|line| output::raw(format!("  {line}\n")));
        let told = output.status.code() == Some(0) && text.contains("ROLLED BACK");
        ledger.check(told, "the release that was taken back has a valid certificate that says so");
    }

    let flipped = stage.folder().join("flipped.json");
    let at = flip(&file, &flipped)?;
    output::line(paint::faint(format!(
        "$ codectl certificate verify flipped.json   (byte {at} is another one)"
    )));
    let output = verify(&closed, &[&flipped], &trust_file, true)?;
    show(&output);
    let named = String::from_utf8_lossy(&output.stdout).contains("bundle.dsseEnvelope");
    ledger
        .check(output.status.code() == Some(1) && named, "one flipped byte: INVALID, and the field is named");
    Ok(())
}

/// The certificate's file as soon as there is one, and whether the audit log has it.
async fn fetch(client: &Client, deployment: &DeploymentId) -> Result<(Vec<u8>, bool), Failure> {
    let began = tokio::time::Instant::now();
    loop {
        let entry = client.certificate(deployment).await?;
        let late = began.elapsed() > PATIENCE;
        match entry {
            Some(entry) if entry.index.is_some() || late => {
                return Ok((client.evidence(&entry.file).await?, entry.index.is_some()));
            }
            None if late => return Err(Failure::other(format!("{deployment} has no certificate"))),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Writes the certificate with one byte of its signed text changed; says which.
fn flip(file: &[u8], place: &Path) -> Result<usize, Failure> {
    let certificate: Certificate = command::parse(file)?;
    let payload = certificate.bundle.dsse_envelope.payload.as_bytes();
    let begin = file.windows(payload.len()).position(|window| window == payload);
    let at = begin.ok_or_else(|| Failure::other("the certificate does not hold its own payload"))?
        + payload.len() / 2;
    let mut changed = file.to_vec();
    // The neighbouring letter of base64, so that it still reads as such.
    changed[at] = match changed[at] {
        b'A' => b'B',
        b'z' | b'Z' | b'9' | b'+' | b'/' => b'A',
        other => other ^ 1,
    };
    put(place, &changed)?;
    Ok(at)
}

fn put(place: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(place, bytes).map_err(failed("writing a certificate"))
}

fn save(place: &Path, trust: &Trust) -> Result<(), Failure> {
    put(place, &serde_json::to_vec_pretty(trust).unwrap_or_default())
}

fn show(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    // Another program's words, as they are: no names are put into them.
    text.lines().for_each(|line| output::raw(format!("  {line}\n")));
    String::from_utf8_lossy(&output.stderr).lines().for_each(|line| output::raw(format!("  {line}\n")));
}

/// Runs the verifier of this program without a network.
fn verify(closed: &Closed, files: &[&Path], trust: &Path, promoted: bool) -> Result<Output, Failure> {
    let mut command = closed.command(&std::env::current_exe().map_err(failed("finding codectl"))?);
    let colour = if output::colour() { "always" } else { "never" };
    command.args(["--color", colour, "--output", "text", "--nats", "nats://192.0.2.1:4222"]);
    command.args(["certificate", "verify"]).args(files).arg("--trust").arg(trust);
    if promoted {
        command.arg("--promoted");
    }
    command.output().map_err(failed("running codectl"))
}
