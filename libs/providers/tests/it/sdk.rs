//! The emulators against the vendors' own Python packages, and our requests against theirs.
//!
//! The packages accept every emulated answer and raise their own error for every emulated fault; what our client sends
//! is, field for field, what they send for the same question.

use std::{io::Write, path::Path, process::Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// Where the packages are (`tools/setup.sh --all`).
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/py/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/providers/sdk.py");

#[derive(Deserialize)]
struct Case {
    case: String,
    ok: bool,
    detail: String,
}

/// What a request says, beside who sent it.
fn essence(request: &emulators::Recorded) -> Value {
    let header = |name: &str| request.headers.get(name).cloned();
    json!({
        "path": request.path,
        "query": request.query,
        "body": request.body,
        "type": header("content-type"),
        "version": header("anthropic-version"),
        "key": [header("authorization"), header("x-api-key"), header("x-goog-api-key")],
    })
}

#[tokio::test]
async fn the_vendors_own_packages_agree_with_us() {
    if !Path::new(PYTHON).exists() {
        testkit::skip("no Python packages in .tools/py", "tools/setup.sh --all installs them");
        return;
    }
    let emulator = emulator(vec![]).await;
    let mut catalogue = catalogue(&emulator, "");
    let ollama = catalogue.providers.get_mut(&token("ollama")).unwrap();
    // Ollama wants no key, and its package sends none.
    ollama.key = None;
    let circle = open(&catalogue);
    let names: Vec<&str> =
        EXPERTS.map(|(name, _)| name).into_iter().filter(|name| *name != "openai-compatible").collect();
    for name in &names {
        soon(expert(&circle, name).ask(&question())).await.unwrap();
        let pieces = soon(expert(&circle, name).stream(&question())).await.unwrap();
        soon(futures::StreamExt::collect::<Vec<_>>(pieces)).await;
    }
    let ours = emulator.requests();
    emulator.forget_requests();

    let sent = |model: &str| ours.iter().find(|request| request.model == model).unwrap();
    let spec = json!({
        "base": format!("http://{}", emulator.address()),
        "system": question().system,
        "user": question().user,
        "nonce": "n0nce-77",
        "max_tokens": 4096,
        "context": 100_000,
        "schema": sent("anthropic-1").body["output_config"]["format"]["schema"],
        "deepseek_system": sent("deepseek-1").body["messages"][0]["content"],
    });
    let cases = tokio::task::spawn_blocking(move || run(&spec)).await.unwrap();

    let failed: Vec<String> =
        cases.iter().filter(|case| !case.ok).map(|case| format!("{}: {}", case.case, case.detail)).collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
    assert!(cases.len() >= 150, "only {} cases were run", cases.len());

    let theirs: Vec<_> = emulator.requests().into_iter().take(ours.len()).collect();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(essence(ours), essence(theirs), "{} (ours, theirs)", ours.model);
    }
}

fn run(spec: &Value) -> Vec<Case> {
    let mut python = std::process::Command::new(PYTHON)
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(spec.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
