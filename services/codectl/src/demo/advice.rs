//! Experts: their advice in a plan, and a gate that holds a release back.

use client::Client;
use model::{Verdict, deployment::CauseKind};

use super::{Ledger, Load, Release, Stage, act, deploy};
use crate::{
    commands::{experts, show},
    failure::Failure,
    output::{self, paint, steps},
};

/// A release with a step that cannot be undone and that nobody has to approve.
pub async fn tell(
    number: u32,
    stage: &Stage,
    client: &Client,
    load: &Load,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    act(number, "3.1.0 drops a column for good: experts hold it back");
    let before = load.counts();
    let view = deploy(stage, client, &Release::without_return("3.1.0"), None).await?;
    if let Some(advice) = &view.advice {
        experts::advice(advice);
    }
    output::line("");
    output::line(paint::faint(format!("$ codectl explain {}", view.summary.deployment)));
    output::line(steps::head(&view));
    show::explanation(&view);
    let kind = view.cause.as_ref().map(|cause| cause.kind);
    ledger.check(
        view.summary.verdict == Some(Verdict::Rejected) && kind == Some(CauseKind::Advice),
        "3.1.0 held back by the gate for experts, nothing was touched",
    );
    let named = view
        .advice
        .iter()
        .flat_map(|advice| &advice.findings)
        .any(|finding| finding.experts.iter().any(|expert| expert.as_str() == "rollback-safety"));
    ledger.check(named, "the reason names the step after which there is no way back, and who found it");
    load.wait_for(before.requests + 50).await?;
    let counts = load.counts().since(&before);
    ledger.check(
        counts.failed() == 0,
        format!("{} requests meanwhile, {} failed", counts.requests, counts.failed()),
    );
    Ok(())
}
