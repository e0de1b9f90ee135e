//! A command of the spec's author: no shell, a bounded time, a bare environment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::{Digest, Finding, Outcome, Severity, deployment::StepJob, spec::Hook, step::StepResult};
use sandbox::{End, Launch, Limits, Profile};
use serde_json::json;
use tracing::warn;

use crate::{Error, config::HookProfile, context::Ctx, error::Result};

/// The exit status that asks to be tried again (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;
/// What is kept of a hook's output.
const OUTPUT_BYTES: usize = 16 * 1024;
const LINES: usize = 20;

/// Runs a hook. A hook that was begun and whose end nobody saw is run again only when it can be undone; any other is
/// left to a person.
pub async fn run(job: &StepJob, ctx: &Ctx, index: u32, again: bool) -> Result<StepResult> {
    let Some(hook) = job.spec.hooks.get(index as usize) else {
        return Err(Error::verdict(format!("the spec has no hook {index}")));
    };
    let name = &hook.name;
    if hook.irreversible {
        // The claim is shared by all runners: another machine's journal is not ours to read. It is the step's and not the
        // attempt's: a deployment whose journal lost its end begins the step anew, under another key.
        let claim = json!({"runner": ctx.runner, "attempt": job.attempt, "at": ctx.now()});
        if again || !ctx.store.claim(&format!("hook.{}.{}", job.deployment, job.step.id), &claim).await? {
            let text = format!(
                "hook {name} was begun before and cannot be undone: a person must look what it did, it is not run again"
            );
            return Err(Error::trouble(text));
        }
    }
    let Some((program, arguments)) = hook.command.split_first() else {
        return Err(Error::verdict(format!("hook {name} has no command")));
    };
    let work = Work::of(job, ctx, hook).await?;
    let environment = environment(job, ctx, hook, &work);
    let launch = sandbox::launch::find(program, work.place(), &ctx.config.hooks.path).map(|program| Launch {
        program,
        arguments: arguments.to_vec(),
        environment,
        folder: work.place().to_owned(),
        user: None,
        profile: work.profile(ctx.config.hooks.profile),
        limits: Limits::default(),
        missing: ctx.config.hooks.unenforced,
    });
    let refused = |error: sandbox::Error| {
        Error::verdict(format!("hook {name}: cannot run {program}: {}", chassis::chain(&error)))
    };
    let running = launch.and_then(|launch| launch.run("code-hook", OUTPUT_BYTES)).map_err(refused)?;
    let open: Vec<String> = running.unenforced.iter().map(ToString::to_string).collect();
    if !open.is_empty() {
        warn!(hook = %name, open = open.join("; "), "a hook runs with less than its profile asks for");
    }
    let ended = running.wait(hook.timeout.0, ctx.stop.cancel.cancelled()).await;
    let ended = ended.map_err(|error| Error::trouble(format!("hook {name}: {}", chassis::chain(&error))))?;
    let output = ended.output;
    match ended.end {
        End::Exited(0) => Ok(ended_well(hook, &output)),
        End::Exited(TRY_AGAIN) if hook.irreversible => Err(Error::trouble(format!(
            "hook {name} asks to be tried again, but it cannot be undone: a person must do it"
        ))),
        End::Exited(TRY_AGAIN) => {
            let last = output.lines().last().map_or(String::new(), |last| format!(": {last}"));
            Err(Error::trouble(format!("hook {name} asks to be tried again (exit status {TRY_AGAIN}){last}")))
        }
        End::Exited(code) => {
            Err(verdict(hook, format!("hook {name} ended with exit status {code}"), &output))
        }
        End::Signalled(_) => Err(verdict(hook, format!("hook {name} was ended by a signal"), &output)),
        End::Late => Err(verdict(hook, format!("hook {name} took longer than {}", hook.timeout), &output)),
        End::Stopped => Err(Error::trouble(format!("hook {name} was stopped"))),
    }
}

/// Where a hook stands: where we do, or in a folder of its own that goes with it.
struct Work {
    place: PathBuf,
    is_own: bool,
}

impl Work {
    async fn of(job: &StepJob, ctx: &Ctx, hook: &Hook) -> Result<Work> {
        let failed = |what: &str, error: std::io::Error| {
            Error::trouble(format!("hook {}: its folder cannot be {what}: {error}", hook.name))
        };
        if ctx.config.hooks.profile != HookProfile::Contained {
            let place = std::env::current_dir().map_err(|error| failed("found", error))?;
            return Ok(Work { place, is_own: false });
        }
        let name = Digest::of_bytes(format!("{}/{}", job.idem_key, job.attempt).as_bytes());
        let place = ctx.config.state_dir.join("hooks").join(name.short());
        tokio::fs::create_dir_all(&place).await.map_err(|error| failed("made", error))?;
        let place = tokio::fs::canonicalize(&place).await.map_err(|error| failed("found", error))?;
        Ok(Work { place, is_own: true })
    }

    fn place(&self) -> &Path {
        &self.place
    }

    fn profile(&self, profile: HookProfile) -> Profile {
        match profile {
            HookProfile::Open => Profile::open(),
            HookProfile::Guarded => Profile::guarded(),
            HookProfile::Offline => Profile::offline(),
            HookProfile::Contained => Profile::contained([self.place.clone()]),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.is_own {
            let _ = std::fs::remove_dir_all(&self.place);
        }
    }
}

fn environment(job: &StepJob, ctx: &Ctx, hook: &Hook, work: &Work) -> BTreeMap<String, String> {
    let stage = serde_json::to_value(job.step.stage).ok().and_then(|stage| stage.as_str().map(str::to_owned));
    let values = [
        ("PATH", ctx.config.hooks.path.clone()),
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
    let own = work.is_own.then(|| ("TMPDIR", work.place.display().to_string()));
    values.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a hook wrote is told also when it ended well: who looks for it looks at its step.
fn ended_well(hook: &Hook, output: &str) -> StepResult {
    let reason = format!("hook {} ended well", hook.name);
    let findings = match last_lines(output) {
        None => Vec::new(),
        Some(_) => vec![finding_of(hook, Severity::Info, &reason, output)],
    };
    StepResult { findings, ..StepResult::new(Outcome::Succeeded, reason) }
}

fn verdict(hook: &Hook, reason: String, output: &str) -> Error {
    let findings = vec![finding_of(hook, Severity::High, &reason, output)];
    Error::Verdict { reason, findings }
}

fn finding_of(hook: &Hook, severity: Severity, reason: &str, output: &str) -> Finding {
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
