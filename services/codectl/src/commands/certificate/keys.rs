//! The keys that sign certificates: shown, trusted, replaced, revoked.

use std::path::PathBuf;

use bus::Change;
use certificate::{
    Trust, TrustedKey,
    keys::file::{self, Keyring},
    verify::short,
};
use clap::{Args, Subcommand};
use client::Client;
use model::Span;

use super::files;
use crate::{
    cli::Global,
    commands::read,
    connect::connect,
    failure::Failure,
    home::Home,
    output::{self, paint},
};

/// `certificate keys`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// List the keys that the engine's certifiers sign with; of a folder with --keys
    List(Folder),
    /// Take the engine's keys and its audit log into a trust file, once, from an engine that you trust
    #[command(
        after_help = "Compare the fingerprints with those on the certifier's host: codectl certificate keys list --keys FOLDER\n\n\
                      Example:\n  codectl certificate keys trust             # into trust.json of the engine's home\n  \
                      codectl certificate keys trust --to prod-trust.json"
    )]
    Trust(TakeTrust),
    /// Make new keys; the old ones stay valid for a while. Certifiers sign with the new ones from then on
    #[command(
        after_help = "Example:\n  codectl certificate keys rotate --keys /var/lib/code/agents/keys --overlap 14d"
    )]
    Rotate(Rotate),
    /// Say that a key may be in other hands: what no witness saw before is no longer valid
    Revoke(Revoke),
}

/// A folder of keys.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder of the keys, on the certifier's host. Needs no engine.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
}

/// `certificate keys trust`
#[derive(Debug, Args)]
pub struct TakeTrust {
    /// The trust file. Default: `trust.json` in the engine's home.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Certificates are to be valid without the audit log's proof.
    #[arg(long)]
    pub without_log: bool,
}

/// `certificate keys rotate`
#[derive(Debug, Args)]
pub struct Rotate {
    /// The folder of the keys. Default: that of the engine in this home.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// File with the passphrase. Default: `passphrase` beside the keys.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// How long the old keys stay valid.
    #[arg(long, default_value = "14d")]
    pub overlap: Span,
}

/// `certificate keys revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's id, or its beginning.
    pub id: String,
    /// The folder of the keys. Default: that of the engine in this home.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
}

/// Does it.
pub async fn run(global: &Global, keys: Keys) -> Result<u8, Failure> {
    match keys {
        Keys::List(folder) => list(global, &folder).await,
        Keys::Trust(take) => trust(global, &take).await,
        Keys::Rotate(asked) => rotate(global, &asked),
        Keys::Revoke(asked) => revoke(global, &asked).await,
    }
}

/// Revokes a key on its host, and tells the engine at once where there is one.
async fn revoke(global: &Global, asked: &Revoke) -> Result<u8, Failure> {
    let folder = folder(global, asked.keys.as_ref());
    let ring = file::revoke(&folder, &asked.id, output::now()).map_err(failed)?;
    show(&ring.keys);
    let revoked: Vec<&TrustedKey> = ring.keys.iter().filter(|key| key.revoked.is_some()).collect();
    let told = match connect(global).await {
        Ok(client) => tell(&client, &revoked).await,
        Err(failure) => Err(failure),
    };
    let note = match told {
        Ok(()) => "the engine tells it from now on".to_owned(),
        Err(failure) => format!(
            "the engine was not told ({}): a certifier that reads this folder tells it within seconds",
            failure.text.lines().next().unwrap_or_default()
        ),
    };
    output::note(format!(
        "{} {note}; certifiers make a new key by themselves; give verifiers a new trust file: codectl certificate keys trust",
        paint::warn("note:")
    ));
    Ok(0)
}

/// Publishes what is known of these keys. An earlier end that somebody else told stands.
async fn tell(client: &Client, keys: &[&TrustedKey]) -> Result<(), Failure> {
    let bucket = client.signing_keys();
    for key in keys {
        let name = key.id.get(..32).unwrap_or(&key.id);
        let broken = |error: serde_json::Error| Failure::other(format!("signing key {name}: {error}"));
        let told = |found: Option<&serde_json::Value>| {
            // What no certifier ever told is not used yet; it is told with its revocation when it is.
            let Some(found) = found else { return Ok(Change::Keep) };
            let known: TrustedKey = serde_json::from_value(found.clone()).map_err(broken)?;
            Ok::<_, Failure>(Change::Put(serde_json::to_value(key.joined(&known)).map_err(broken)?))
        };
        bucket.change(name, told).await?;
    }
    Ok(())
}

fn failed(error: certificate::Error) -> Failure {
    Failure::from(model::Fault::new(error.code(), chassis::chain(&error)))
}

fn folder(global: &Global, named: Option<&PathBuf>) -> PathBuf {
    named.cloned().unwrap_or_else(|| Home::of(global).0.join("agents/keys"))
}

async fn list(global: &Global, asked: &Folder) -> Result<u8, Failure> {
    let keys = match &asked.keys {
        Some(folder) => Keyring::read(folder).map_err(failed)?.keys,
        None => published(&connect(global).await?).await?,
    };
    show(&keys);
    Ok(0)
}

fn show(keys: &[TrustedKey]) {
    if output::json() {
        output::document(&keys);
        return;
    }
    if keys.is_empty() {
        output::line("no keys yet; they are made when the first certificate is signed");
    }
    for key in keys {
        let until = match (key.revoked, key.valid_until) {
            (Some(at), _) => paint::bad(format!("revoked {at}")),
            (None, Some(until)) => paint::warn(format!("until {until}")),
            (None, None) => paint::good("in force"),
        };
        output::line(format!(
            "{:<18} {}  from {}  {until}",
            key.algorithm.as_str(),
            short(&key.id),
            key.valid_from
        ));
        output::line(paint::faint(format!("  {}", key.id)));
    }
}

/// The keys that certifiers told, oldest first.
async fn published(client: &Client) -> Result<Vec<TrustedKey>, Failure> {
    let mut keys = Vec::new();
    for entry in client.signing_keys().all().await? {
        let Some(value) = entry.value else { continue };
        let key: TrustedKey = serde_json::from_value(value)
            .map_err(|error| Failure::other(format!("signing key {}: {error}", entry.key)))?;
        key.key().map_err(failed)?;
        keys.push(key);
    }
    keys.sort_by(|one, two| (one.valid_from, &one.id).cmp(&(two.valid_from, &two.id)));
    Ok(keys)
}

/// Everything a verifier needs, as the engine tells it.
pub async fn of_engine(client: &Client, without_log: bool) -> Result<Trust, Failure> {
    let keys = published(client).await?;
    let log = if without_log {
        None
    } else {
        let state = client.audit_status(false).await.map_err(Failure::from).map_err(|failure| {
            let hint = "\n  is the audit service running? without a log: --without-log";
            Failure { text: format!("asking for the audit log's keys: {}{hint}", failure.text), ..failure }
        })?;
        let logs: Vec<String> = state.keys.iter().map(|key| format!("log {key}\n")).collect();
        Some(format!("{}quorum none\n", logs.concat()))
    };
    Ok(Trust { keys, log })
}

async fn trust(global: &Global, take: &TakeTrust) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let trust = of_engine(&client, take.without_log).await?;
    if trust.keys.is_empty() {
        return Err(Failure::other(
            "no certifier has told a key yet; they do when the first deployment is over",
        ));
    }
    trust.ready().map_err(failed)?;
    let path = take.to.clone().unwrap_or_else(|| files::trust_file(global));
    let mut text = serde_json::to_vec_pretty(&trust).map_err(|error| Failure::other(error.to_string()))?;
    text.push(b'\n');
    files::put(&path, &text)?;
    if output::json() {
        output::document(&trust);
        return Ok(0);
    }
    show(&trust.keys);
    for line in trust.log.iter().flat_map(|log| log.lines()) {
        output::line(paint::faint(format!("  {line}")));
    }
    output::line(format!("{} {}", paint::good("wrote"), path.display()));
    let hint =
        "compare these fingerprints with those on the certifier's host; add witnesses of the log by hand";
    output::line(paint::faint(hint));
    Ok(0)
}

fn rotate(global: &Global, asked: &Rotate) -> Result<u8, Failure> {
    let folder = folder(global, asked.keys.as_ref());
    let place = asked.passphrase_file.clone().unwrap_or_else(|| folder.join("passphrase"));
    let passphrase = ground::Secret::line(read(&place)?);
    let ring = file::rotate(&folder, &passphrase, output::now(), asked.overlap.0).map_err(failed)?;
    show(&ring.keys);
    Ok(0)
}
