//! A second opinion: a verifier in Python that was written from the documentation says the same of a thousand changed
//! certificates. Needs Python with `cryptography`: `make verifier`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use certificate::{Certificate, Deployment, Trust, verify};
use model::Record;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    fixture::{
        NOW, Office, facts, journal, planned_again, promoted, promoted_with, rejected, retried, rolled_back,
    },
    forged::{FORGERIES, called_promoted},
    log::{Log, leaves_but},
    logged::{PASSED_OFF, ranged, ranged_by},
    mutations::sign,
    recounted::measured,
    signed::{UNSIGNED, signed as signed_for},
    untrue::{LIES, advised, others},
};

/// Changed files of each kind of deployment.
const FILES: usize = 70;

/// A folder of certificates, and what we say of each.
#[derive(Default)]
struct Cases(BTreeMap<String, (Vec<u8>, Vec<String>)>);

impl Cases {
    fn add(&mut self, what: &str, bytes: Vec<u8>, trust: &certificate::trust::Ready) {
        let problems = verify(&bytes, trust, NOW).err().unwrap_or_default();
        let problems = problems.iter().map(ToString::to_string).collect();
        self.0.insert(format!("{:04}-{what}", self.0.len()), (bytes, problems));
    }

    /// Asks the other verifier about all of them; gives those on which it differs, and how many there are of either kind.
    fn ask(&self, python: &Path, trust: &Trust) -> (String, usize, usize) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust.json");
        std::fs::write(&file, serde_json::to_vec(trust).unwrap()).unwrap();
        let mut command = Command::new(python);
        command.arg("-B").arg(from_root("tests/verifier/certificate.py")).arg(&file).arg(NOW.0.to_string());
        for (name, (bytes, _)) in &self.0 {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            command.arg(path);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said.len(), self.0.len(), "{}", String::from_utf8_lossy(&output.stderr));
        let (mut differs, mut valid) = (String::new(), 0);
        for ((name, (_, problems)), line) in self.0.iter().zip(said) {
            let theirs = line.ends_with(" valid");
            valid += usize::from(theirs);
            if theirs != problems.is_empty() {
                let _ = writeln!(differs, "{name}: we say {problems:?}, they {line}");
            }
        }
        (differs, valid, self.0.len() - valid)
    }
}

fn from_root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn scalars(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| scalars(value, format!("{path}/{name}"), found))
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, value)| scalars(value, format!("{path}/{at}"), found))
        }
        _ => found.push(path),
    }
}

/// Changes a file as somebody without a key would: one value of it, at a random place.
fn changed(file: &Value, random: &mut StdRng) -> Option<Value> {
    let mut places = Vec::new();
    scalars(file, String::new(), &mut places);
    let path = &places[random.random_range(0..places.len())];
    let mut changed = file.clone();
    let value = changed.pointer_mut(path)?;
    *value = match value.as_str() {
        Some(text) if !text.is_empty() => {
            let mut chars: Vec<char> = text.chars().collect();
            let at = random.random_range(0..chars.len());
            match random.random_range(0..3) {
                0 => drop(chars.remove(at)),
                1 => chars.insert(at, ['A', '1', '"', ' ', 'é'][random.random_range(0..5)]),
                _ => chars[at] = ['B', '2', '}', '\n', '/'][random.random_range(0..5)],
            }
            Value::from(chars.into_iter().collect::<String>())
        }
        _ => json!(1),
    };
    (changed != *file).then_some(changed)
}

async fn signed(office: &Office, told: &Deployment, records: &[Record]) -> Vec<u8> {
    let (_, documents) = facts(records);
    sign(office, told, documents, journal(records)).await.to_bytes()
}

#[tokio::test]
async fn another_verifier_says_the_same_of_a_thousand_changed_certificates() {
    let python = [from_root(".tools/py/bin/python"), "python3".into()].into_iter().find(|python| {
        Command::new(python).args(["-c", "import cryptography"]).status().is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        testkit::skip("no Python with the package cryptography", "tools/setup.sh --all makes one");
        return;
    };
    let (office, log) = (Office::open(), Log::new());
    let (plain, with_log) = (office.ready(), log.trust(&office));
    let mut random = StdRng::seed_from_u64(8);
    let (mut without, mut within) = (Cases::default(), Cases::default());

    for (what, records) in [
        ("promoted", promoted()),
        ("measured", measured()),
        ("advised", advised()),
        ("unproven", promoted_with(Vec::new())),
        ("rolled-back", rolled_back()),
        ("rejected", rejected()),
        ("planned-again", planned_again().0),
        ("retried", retried()),
        ("signed", signed_for()),
    ] {
        let file = office.issue(&records).await.to_bytes();
        println!("{what}: {:.1} KiB", file.len() as f64 / 1024.0);
        without.add(&format!("{what}-honest"), file.clone(), &plain);
        let file: Value = serde_json::from_slice(&file).unwrap();
        for at in 0..FILES {
            if let Some(changed) = changed(&file, &mut random) {
                without.add(&format!("{what}-file-{at}"), serde_json::to_vec(&changed).unwrap(), &plain);
            }
        }
    }
    for (what, records) in [
        ("advised", advised()),
        ("measured", measured()),
        ("rolled-back", rolled_back()),
        ("rejected", rejected()),
    ] {
        for (at, (_, changed)) in
            others(&serde_json::to_value(facts(&records).0).unwrap()).into_iter().enumerate().step_by(2)
        {
            let told: Deployment = serde_json::from_value(changed).unwrap();
            without.add(&format!("{what}-signed-{at}"), signed(&office, &told, &records).await, &plain);
        }
    }
    for (at, (_, _, lie)) in LIES.iter().enumerate() {
        let mut told = facts(&advised()).0;
        lie(&mut told);
        without.add(&format!("lie-{at}"), signed(&office, &told, &advised()).await, &plain);
    }
    for (at, (_, _, forge)) in FORGERIES.iter().enumerate() {
        let mut records = advised();
        forge(&mut records);
        let (told, documents) = called_promoted(&records);
        let certificate: Certificate = sign(&office, &told, documents, journal(&records)).await;
        without.add(&format!("forgery-{at}"), certificate.to_bytes(), &plain);
    }
    for (at, (_, forge)) in UNSIGNED.iter().enumerate() {
        let records = forge();
        let (told, documents) = called_promoted(&records);
        let certificate: Certificate = sign(&office, &told, documents, journal(&records)).await;
        without.add(&format!("unsigned-{at}"), certificate.to_bytes(), &plain);
    }
    let logged = ranged(&office, &log, |_, _| {}).await;
    println!("promoted, with the log's proofs: {:.1} KiB", logged.to_bytes().len() as f64 / 1024.0);
    within.add("logged-honest", logged.to_bytes(), &with_log);
    let file: Value = serde_json::from_slice(&logged.to_bytes()).unwrap();
    for at in 0..2 * FILES {
        if let Some(changed) = changed(&file, &mut random) {
            within.add(&format!("logged-file-{at}"), serde_json::to_vec(&changed).unwrap(), &with_log);
        }
    }
    for (at, (_, change)) in PASSED_OFF.iter().enumerate() {
        let certificate = ranged_by(&office, &log, leaves_but(&promoted(), *change), |_, _| {}).await;
        within.add(&format!("passed-off-{at}"), certificate.to_bytes(), &with_log);
    }

    let (one, valid, invalid) = without.ask(&python, &office.trust());
    let trust = Trust { log: Some(log.policy()), ..office.trust() };
    let (two, more_valid, more_invalid) = within.ask(&python, &trust);
    let (valid, invalid) = (valid + more_valid, invalid + more_invalid);
    println!("{} certificates: both say valid of {valid} and invalid of {invalid}", valid + invalid);

    assert!(one.is_empty() && two.is_empty(), "{one}{two}");
    assert!(valid >= 8 && invalid >= 1000, "{valid} valid, {invalid} invalid");
}
