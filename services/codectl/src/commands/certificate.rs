//! Deployment certificates: shown, verified without an engine, exported for other tools; and the keys that sign them.

mod files;
mod keys;
mod told;

use std::{path::PathBuf, time::Duration};

use bus::subjects;
use certificate::{Certificate, Problem, Trust, Verified, verify::check};
use clap::{Args, Subcommand};
use model::{DeploymentId, certificate::CertificateEntry, deployment::Mode};
use serde_json::json;

use crate::{
    cli::Global,
    client::Client,
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
                      Exit status: 0 valid, 1 not valid (every field that fails is named), 2 usage: no such file, no trust file.\n\
                      A certificate of a rollback or a refusal is valid too; --promoted makes everything but a proven\n\
                      promotion through all gates exit with 1, also a way back that was asked for.\n\nExample:\n  codectl certificate verify shop/ --trust trust.json\n  \
                      codectl certificate verify certificate.json --trust trust.json --promoted"
    )]
    Verify(Verify),
    /// Write a certificate in parts, as cosign, slsa-verifier and other tools read them
    #[command(after_help = "Example:\n  codectl certificate export dep-… --to shop")]
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
    let client = Client::connect(global).await?;
    let deployment = client.resolve(deployment, false).await?;
    let entry = find(global, &client, &deployment).await?;
    Ok(client.bus.get_evidence(&entry.file).await?)
}

/// Where the certificate is. That of a deployment that is over is made within a moment, and waited for.
async fn find(
    global: &Global,
    client: &Client,
    deployment: &DeploymentId,
) -> Result<CertificateEntry, Failure> {
    let bucket = client.bus.bucket(&subjects::buckets::CERTIFICATES);
    let began = tokio::time::Instant::now();
    let mut over = false;
    loop {
        if let Some((entry, _)) = bucket.get(deployment.as_str()).await? {
            return Ok(entry);
        }
        if !over {
            over = client.view(deployment).await?.summary.verdict.is_some();
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
    judge(&bytes, &trust, asked.promoted, changed)
}

/// Verifies and tells; the exit status. `changed`: parts beside the certificate that are not those it encloses.
fn judge(bytes: &[u8], trust: &Trust, promoted: bool, changed: Vec<Problem>) -> Result<u8, Failure> {
    let ready = trust.ready().map_err(|error| Failure::invalid(format!("the trust file: {error}")))?;
    let verified = match certificate::verify(bytes, &ready, output::now()) {
        Ok(_) if !changed.is_empty() => Err(changed),
        verified => verified,
    };
    match verified {
        Ok(verified) => Ok(valid(&verified, promoted)),
        Err(problems) => {
            if output::json() {
                let problems: Vec<_> = problems
                    .iter()
                    .map(|problem| json!({"field": problem.field, "text": problem.text}))
                    .collect();
                output::document(&json!({"valid": false, "problems": problems}));
                return Ok(1);
            }
            output::line(paint::strong(paint::bad("INVALID")));
            for problem in &problems {
                output::line(format!("  {} {}", paint::bad(format!("{}:", problem.field)), problem.text));
            }
            Ok(1)
        }
    }
}

fn valid(verified: &Verified, promoted: bool) -> u8 {
    let positive = verified.is_positive();
    let status = u8::from(promoted && !positive);
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
            "believed": verified.believed,
        }));
        return status;
    }
    let word = paint::strong(paint::good("VALID"));
    output::line(format!("{word}  {}", told::title(&verified.facts)));
    told::facts(&verified.facts).iter().for_each(output::line);
    told::proof(verified).iter().for_each(output::line);
    told::believed(verified).iter().for_each(output::line);
    if status != 0 {
        let what = match verified.facts.mode {
            Mode::Apply => "this is no certificate of a promotion, and --promoted asks for one",
            Mode::Rollback => {
                "this is no certificate of a promotion through gates but of a way back, which nobody had to approve and \
                 no gate judged; --promoted asks for a promotion"
            }
        };
        output::line(paint::bad(what));
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
    if output::json() {
        output::document(&json!({"folder": folder, "files": written}));
        return Ok(0);
    }
    for name in &written {
        output::line(format!("{} {}", paint::good("wrote"), folder.join(name).display()));
    }
    told::commands(&facts, &folder).iter().for_each(|line| output::line(paint::faint(line)));
    let ready = trust.ready().map_err(|error| Failure::invalid(format!("the trust file: {error}")))?;
    if check(&certificate, &ready, output::now()).is_err() {
        output::note(format!(
            "{} it is not valid by this trust file: codectl certificate verify {}",
            paint::warn("note:"),
            folder.display()
        ));
    }
    Ok(0)
}

/// Writes the parts of a certificate; gives their names.
pub fn write(
    certificate: &Certificate,
    trust: &Trust,
    folder: &std::path::Path,
) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for (name, bytes) in certificate.files(trust) {
        files::put(&folder.join(&name), &bytes)?;
        names.push(name);
    }
    Ok(names)
}
