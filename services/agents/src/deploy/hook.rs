//! A command of the spec's author: no shell, a bounded time, a bare environment.

use std::{process::Stdio, time::Duration};

use model::{Finding, Outcome, Severity, deployment::StepJob, spec::Hook, step::StepResult};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::{Error, context::Ctx, error::Result};

/// The exit status that asks to be tried again (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;
/// What is kept of a hook's output.
const OUTPUT_BYTES: usize = 16 * 1024;
const LINES: usize = 20;
/// Between asking a hook to end and killing it.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a hook. A hook that was begun and whose end nobody saw is run again only when it can be undone; any other is
/// left to a person.
pub async fn run(job: &StepJob, ctx: &Ctx, index: u32, again: bool) -> Result<StepResult> {
    let Some(hook) = job.spec.hooks.get(index as usize) else {
        return Err(Error::verdict(format!("the spec has no hook {index}")));
    };
    let name = &hook.name;
    if hook.irreversible {
        // The claim is shared by all runners: another machine's journal is not ours to read.
        let claim = json!({"runner": ctx.runner, "attempt": job.attempt, "at": ctx.now()});
        if again || !ctx.store.claim(&format!("hook.{}", job.idem_key), &claim).await? {
            let text = format!(
                "hook {name} was begun before and cannot be undone: a person must look what it did, it is not run again"
            );
            return Err(Error::trouble(text));
        }
    }
    let Some((program, arguments)) = hook.command.split_first() else {
        return Err(Error::verdict(format!("hook {name} has no command")));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(job, ctx, hook)).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Err(Error::verdict(format!("hook {name}: cannot run {program}: {error}"))),
    };
    let group = Group(child.id());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out_kept, err_kept) = (Kept::default(), Kept::default());
    let work = async { tokio::join!(child.wait(), tail(out, &out_kept), tail(err, &err_kept)).0 };
    let output = || format!("{}{}", shown(&out_kept), shown(&err_kept));
    let ended = tokio::select! {
        ended = work => Some(ended),
        () = tokio::time::sleep(hook.timeout.0) => None,
        () = ctx.stop.cancel.cancelled() => None,
    };
    let Some(status) = ended else {
        group.end(&mut child).await;
        if ctx.stop.cancel.is_cancelled() {
            return Err(Error::trouble(format!("hook {name} was stopped")));
        }
        return Err(verdict(hook, format!("hook {name} took longer than {}", hook.timeout), &output()));
    };
    let status = status.map_err(|error| Error::trouble(format!("hook {name}: waiting for it: {error}")))?;
    let output = output();
    match status.code() {
        Some(0) => Ok(ended_well(hook, &output)),
        Some(TRY_AGAIN) if hook.irreversible => Err(Error::trouble(format!(
            "hook {name} asks to be tried again, but it cannot be undone: a person must do it"
        ))),
        Some(TRY_AGAIN) => {
            let last = output.lines().last().map_or(String::new(), |last| format!(": {last}"));
            Err(Error::trouble(format!("hook {name} asks to be tried again (exit status {TRY_AGAIN}){last}")))
        }
        Some(code) => Err(verdict(hook, format!("hook {name} ended with exit status {code}"), &output)),
        None => Err(verdict(hook, format!("hook {name} was ended by a signal"), &output)),
    }
}

fn environment(job: &StepJob, ctx: &Ctx, hook: &Hook) -> Vec<(String, String)> {
    let stage = serde_json::to_value(job.step.stage).ok().and_then(|stage| stage.as_str().map(str::to_owned));
    let values = [
        ("PATH", ctx.config.hook_path.clone()),
        ("CODE_DEPLOYMENT", job.deployment.to_string()),
        ("CODE_TARGET", job.spec.target_id().to_string()),
        ("CODE_ENVIRONMENT", job.spec.environment.to_string()),
        ("CODE_NAME", job.spec.name.to_string()),
        ("CODE_HOOK", hook.name.to_string()),
        ("CODE_STEP", job.step.id.to_string()),
        ("CODE_PHASE", stage.unwrap_or_default()),
        ("CODE_ATTEMPT", job.attempt.to_string()),
        ("CODE_IDEMPOTENCY_KEY", job.idem_key.clone()),
        ("CODE_PLAN", job.plan.to_string()),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// What a hook wrote is told also when it ended well: who looks for it looks at its step.
fn ended_well(hook: &Hook, output: &str) -> StepResult {
    let reason = format!("hook {} ended well", hook.name);
    let findings = match last_lines(output) {
        None => Vec::new(),
        Some(_) => vec![told(hook, Severity::Info, &reason, output)],
    };
    StepResult { findings, ..StepResult::new(Outcome::Succeeded, reason) }
}

fn verdict(hook: &Hook, reason: String, output: &str) -> Error {
    let findings = vec![told(hook, Severity::High, &reason, output)];
    Error::Verdict { reason, findings }
}

fn told(hook: &Hook, severity: Severity, reason: &str, output: &str) -> Finding {
    let message = match last_lines(output) {
        None => format!("{reason}; it wrote nothing"),
        Some(last) => format!("{reason}; its last lines:\n{last}"),
    };
    Finding {
        rule: "deploy/hook".to_owned(),
        severity,
        module: None,
        field: format!("hooks.{}", hook.name),
        message,
        cure: String::new(),
        waived: None,
    }
}

fn last_lines(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    Some(last).filter(|last| !last.trim().is_empty())
}

/// What a hook wrote so far, read by others while it writes.
type Kept = Mutex<Vec<u8>>;

fn shown(kept: &Kept) -> String {
    String::from_utf8_lossy(&kept.lock()).into_owned()
}

/// Keeps the end of what is written; the rest is read and dropped, so that the writer never waits.
async fn tail(from: Option<impl AsyncRead + Unpin>, kept: &Kept) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let mut kept = kept.lock();
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(OUTPUT_BYTES);
        kept.drain(..surplus);
    }
}

/// The hook's process group: nothing it started outlives it, also when the step is dropped.
struct Group(Option<u32>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    async fn end(&self, child: &mut Child) {
        self.signal(Signal::SIGTERM);
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
        self.signal(Signal::SIGKILL);
        let _ = child.wait().await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
