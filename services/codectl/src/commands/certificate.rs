//! Deployment certificates: shown, verified without an engine, exported for other tools; and the keys that sign them.

mod evidence;
mod files;
mod keys;
mod told;

use std::{path::PathBuf, time::Duration};

use certificate::{
    Certificate, Problem, Trust, Verified,
    evidence::{Evidence, Recounted},
    verify::check,
};
use clap::{Args, Subcommand};
use client::Client;
use model::{DeploymentId, certificate::CertificateEntry, deployment::Mode};
use serde_json::json;

use crate::{
    cli::Global,
    connect::{connect, resolve},
    failure::Failure,
    output::{self, paint},
};

/// How often it is looked whether a certificate is there.
const LOOK: Duration = Duration::from_millis(200);

/// `certificate`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a certificate says
    #[command(
        after_help = "Example:\n  codectl certificate show           # of the newest deployment\n  codectl certificate show dep-…\n  codectl certificate show shop/certificate.json"
    )]
    Show(Which),
    /// Verify a certificate; needs no engine and no network
    #[command(
        after_help = "Who deployed what where, on whose approval, on what evidence, and whether the audit log agrees.\n\n\
                      What is signed is told again from the enclosed spec, plan, journal and log proof; what they cannot show\n\
                      is listed as believed, with who is believed.\n\n\
                      With --evidence every gate is judged again from the document of what it measured, and value, samples, limit\n\
                      and outcome are compared; codectl certificate export dep-… --evidence FOLDER writes these documents.\n\n\
                      Exit status: 0 valid, 1 not valid (every field that fails is named), 2 usage: no such file, no trust file,\n\
                      4 valid, but with --evidence not every gate could be judged again: those are named.\n\
                      A certificate of a rollback or a refusal is valid too; --promoted makes everything but a proven\n\
                      promotion through all gates exit with 1, also a way back that was asked for.\n\nExample:\n  codectl certificate verify shop/ --trust trust.json\n  \
                      codectl certificate verify certificate.json --trust trust.json --promoted\n  \
                      codectl certificate verify shop/ --trust trust.json --evidence shop/evidence"
    )]
    Verify(Verify),
    /// Write a certificate in parts, as cosign, slsa-verifier and other tools read them
    #[command(
        after_help = "Exit status: 0 written, 1 failed, 2 usage, 4 written, but a document for --evidence could not be had.\n\n\
                      Example:\n  codectl certificate export dep-… --to shop --evidence shop/evidence"
    )]
    Export(Export),
    /// The keys that sign certificates, and whom to trust
    #[command(subcommand)]
    Keys(keys::Keys),
}

/// A certificate.
#[derive(Debug, Args)]
pub struct Which {
    /// `dep-…`, or a file, or a folder that was exported; none means that of the newest deployment.
    pub certificate: Option<String>,
}

/// `certificate verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Whom to trust: a file that came by another way than the certificate. Default: `trust.json` in the engine's home.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Only a proven promotion through all gates will do; a way back is none.
    #[arg(long)]
    pub promoted: bool,
    /// Judges every gate again from the documents in this folder. They are known by their SHA-256, whatever their names.
    #[arg(long, value_name = "FOLDER")]
    pub evidence: Option<PathBuf>,
}

/// `certificate export`
#[derive(Debug, Args)]
pub struct Export {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// The folder. Default: the deployment's id.
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
    /// Also gets from the engine what the gates measured, and writes it into this folder, each document by its digest.
    #[arg(long, value_name = "FOLDER")]
    pub evidence: Option<PathBuf>,
    /// The trust file whose keys are written beside it. Default: `trust.json` in the engine's home.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
}

pub use files::parse;
pub use keys::of_engine as trust_of_engine;

/// Does it.
pub async fn run(global: &Global, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Show(which) => show(global, &which).await,
        Command::Verify(verify) => self::verify(global, &verify).await,
        Command::Export(export) => self::export(global, &export).await,
        Command::Keys(keys) => keys::run(global, keys).await,
    }
}

/// The bytes of a certificate: from a file, a folder, or the engine.
async fn fetch(global: &Global, which: &Which) -> Result<Vec<u8>, Failure> {
    let named = which.certificate.as_deref();
    let deployment = match named.map(str::parse::<DeploymentId>) {
        Some(Ok(deployment)) if !std::path::Path::new(deployment.as_str()).exists() => Some(deployment),
        None => None,
        Some(_) => return files::read(std::path::Path::new(named.unwrap_or_default())),
    };
    let client = connect(global).await?;
    let deployment = resolve(&client, deployment).await?;
    let entry = find(global, &client, &deployment).await?;
    Ok(client.evidence(&entry.file).await?)
}

/// Where the certificate is. That of a deployment that is over is made within a moment, and waited for.
async fn find(
    global: &Global,
    client: &Client,
    deployment: &DeploymentId,
) -> Result<CertificateEntry, Failure> {
    let began = tokio::time::Instant::now();
    let mut over = false;
    loop {
        if let Some(entry) = client.certificate(deployment).await? {
            return Ok(entry);
        }
        if !over {
            over = client.status(deployment).await?.summary.verdict.is_some();
        }
        if !over {
            return Err(Failure::other(format!(
                "{deployment} has no certificate\n  one is made when a deployment is over; codectl status {deployment} \
                 says where it is"
            )));
        }
        if began.elapsed() > global.timeout.0 {
            return Err(Failure::other(format!(
                "{deployment} is over and has no certificate after {}\n  is a certifier running? wait longer with \
                 --timeout",
                global.timeout
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn show(global: &Global, which: &Which) -> Result<u8, Failure> {
    let bytes = fetch(global, which).await?;
    let certificate = files::parse(&bytes)?;
    let facts = certificate
        .unverified_facts()
        .map_err(|error| Failure::invalid(format!("what the certificate says cannot be read: {error}")))?;
    if output::json() {
        output::document(&facts);
        return Ok(0);
    }
    output::line(format!("{}  {}", told::title(&facts), paint::warn("not verified")));
    told::facts(&facts).iter().for_each(output::line);
    match &certificate.log {
        Some(_) => output::line(told::row("log", "a proof of the audit log is enclosed")),
        None => output::line(told::row("log", "no proof of an audit log is enclosed")),
    }
    Ok(0)
}

async fn verify(global: &Global, asked: &Verify) -> Result<u8, Failure> {
    let trust = files::trust(global, asked.trust.as_deref())?;
    let bytes = fetch(global, &asked.which).await?;
    let folder = asked.which.certificate.as_deref().map(std::path::Path::new).filter(|path| path.is_dir());
    let changed = folder.map_or_else(Vec::new, |folder| files::changed_parts(&bytes, &trust, folder));
    let evidence = asked.evidence.as_deref().map(evidence::read).transpose()?;
    judge(&bytes, &trust, asked.promoted, changed, evidence)
}

/// Verifies and tells; the exit status. `changed`: parts beside the certificate that are not those it encloses.
fn judge(
    bytes: &[u8],
    trust: &Trust,
    promoted: bool,
    mut changed: Vec<Problem>,
    evidence: Option<(Evidence, Vec<Problem>)>,
) -> Result<u8, Failure> {
    let ready = trust.ready().map_err(|error| Failure::invalid(format!("the trust file: {error}")))?;
    let (evidence, misnamed) = evidence.unzip();
    changed.extend(misnamed.unwrap_or_default());
    let mut recounted = None;
    let verified = certificate::verify(bytes, &ready, output::now()).and_then(|mut verified| {
        if let Some(evidence) = &evidence {
            let gates = evidence.recount(&verified);
            verified.believe_less(&gates);
            changed.extend(evidence::problems(&gates));
            recounted = Some(gates);
        }
        if changed.is_empty() { Ok(verified) } else { Err(changed) }
    });
    match verified {
        Ok(verified) => Ok(valid(&verified, promoted, recounted.as_deref())),
        Err(problems) => {
            invalid(&problems, recounted.as_deref());
            Ok(1)
        }
    }
}

fn invalid(problems: &[Problem], recounted: Option<&[Recounted]>) {
    if output::json() {
        let problems: Vec<_> =
            problems.iter().map(|problem| json!({"field": problem.field, "text": problem.text})).collect();
        output::document(&json!({"valid": false, "problems": problems, "evidence": recounted}));
        return;
    }
    output::line(paint::strong(paint::bad("INVALID")));
    for problem in problems {
        output::line(format!("  {} {}", paint::bad(format!("{}:", problem.field)), problem.text));
    }
    evidence::lines(recounted.unwrap_or_default()).iter().for_each(output::line);
}

fn valid(verified: &Verified, promoted: bool, recounted: Option<&[Recounted]>) -> u8 {
    let positive = verified.is_positive();
    let status = match promoted && !positive {
        true => 1,
        false => evidence::status(recounted.unwrap_or_default()),
    };
    if output::json() {
        let log = verified.log.as_ref().map(|log| {
            json!({
                "origin": log.origin, "index": log.index, "size": log.size, "witnesses": log.witnesses, "at": log.at,
                "signed": log.signed,
            })
        });
        let keys: Vec<_> = verified.keys.iter().map(|key| &key.id).collect();
        output::document(&json!({
            "valid": true, "promoted": positive, "certificate": verified.facts, "keys": keys, "log": log,
            "believed": verified.believed, "signed": verified.signed, "requirement": verified.requirement,
            "evidence": recounted,
        }));
        return status;
    }
    let word = paint::strong(paint::good("VALID"));
    output::line(format!("{word}  {}", told::title(&verified.facts)));
    told::facts(&verified.facts).iter().for_each(output::line);
    told::proof(verified).iter().for_each(output::line);
    evidence::lines(recounted.unwrap_or_default()).iter().for_each(output::line);
    told::believed(verified).iter().for_each(output::line);
    if status == 1 {
        let what = match verified.facts.mode {
            Mode::Apply => "this is no certificate of a promotion, and --promoted asks for one",
            Mode::Rollback => {
                "this is no certificate of a promotion through gates but of a way back, which nobody had to approve and \
                 no gate judged; --promoted asks for a promotion"
            }
        };
        output::line(paint::bad(what));
    } else if status != 0 {
        output::line(paint::warn("not every gate could be judged again from --evidence"));
    }
    status
}

async fn export(global: &Global, export: &Export) -> Result<u8, Failure> {
    let trust = files::trust(global, export.trust.as_deref())?;
    let certificate = files::parse(&fetch(global, &export.which).await?)?;
    let facts = certificate
        .unverified_facts()
        .map_err(|error| Failure::invalid(format!("what the certificate says cannot be read: {error}")))?;
    let folder = export.to.clone().unwrap_or_else(|| PathBuf::from(facts.deployment.as_str()));
    let written = write(&certificate, &trust, &folder)?;
    let documents = match &export.evidence {
        Some(to) => Some(evidence::fetch(global, &facts, to).await?),
        None => None,
    };
    let status = documents.as_ref().map_or(0, evidence::Fetched::status);
    if output::json() {
        output::document(&json!({"folder": folder, "files": written, "evidence": documents}));
        return Ok(status);
    }
    for name in &written {
        output::line(format!("{} {}", paint::good("wrote"), folder.join(name).display()));
    }
    documents.iter().flat_map(evidence::Fetched::lines).for_each(output::line);
    told::commands(&facts, &folder).iter().for_each(|line| output::line(paint::faint(line)));
    let ready = trust.ready().map_err(|error| Failure::invalid(format!("the trust file: {error}")))?;
    if check(&certificate, &ready, output::now()).is_err() {
        output::note(format!(
            "{} it is not valid by this trust file: codectl certificate verify {}",
            paint::warn("note:"),
            folder.display()
        ));
    }
    Ok(status)
}

/// Writes the parts of a certificate; gives their names.
pub fn write(
    certificate: &Certificate,
    trust: &Trust,
    folder: &std::path::Path,
) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for (name, bytes) in certificate::files(certificate, trust) {
        files::put(&folder.join(&name), &bytes)?;
        names.push(name);
    }
    Ok(names)
}
