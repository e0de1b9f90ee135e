//! Follows a deployment live. On a terminal the tree is drawn again in place; elsewhere every change is a line.

use std::{collections::BTreeMap, time::Duration};

use bus::subjects;
use futures::StreamExt;
use model::{
    DeploymentId, Phase, StepId,
    view::{DeploymentView, StepStatus},
};
use tokio::time::Instant;

use crate::{
    cli::{Global, Which},
    client::Client,
    commands::show,
    failure::Failure,
    output::{self, paint, screen, steps},
};

const EVERY: Duration = Duration::from_millis(150);

/// How long an engine may be silent before the watching ends: a killed one is replaced within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Until it is over, a person is called, or Ctrl-C.
pub async fn watch(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let deployment = client.resolve(which.deployment, false).await?;
    until_interrupted(&client, &deployment).await
}

/// Draws until it is over, a person is called, or Ctrl-C; then says why. Ctrl-C leaves the deployment alone.
pub async fn until_interrupted(client: &Client, deployment: &DeploymentId) -> Result<u8, Failure> {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let view = tokio::select! {
        view = follow(client, deployment) => view?,
        () = interrupted => {
            output::note(format!("\n{deployment} goes on without being watched; come back with\n  codectl watch {deployment}"));
            return Ok(show::UNDER_WAY);
        }
    };
    if !output::json() {
        show::reasons(&view);
    }
    Ok(show::exit_status(&view.summary))
}

/// Draws until it is over, or a person is called.
pub async fn follow(client: &Client, deployment: &DeploymentId) -> Result<DeploymentView, Failure> {
    let mut signals = client.bus.listen(&subjects::agents::PROGRESS, Some(deployment.as_str())).await?;
    let mut progress = steps::Progress::new();
    let mut screen = Screen::default();
    let mut silent: Option<Instant> = None;
    loop {
        let view = match client.view(deployment).await {
            Ok(view) => view,
            Err(failure) if failure.status == 3 => {
                let since = *silent.get_or_insert_with(|| {
                    output::note("the engine does not answer; trying again");
                    Instant::now()
                });
                if since.elapsed() > PATIENCE {
                    return Err(Failure {
                        text: format!("{}\n  come back with codectl watch {deployment}", failure.text),
                        ..failure
                    });
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if silent.take().is_some() {
            output::note("the engine answers again");
            screen = Screen { canvas: screen::Canvas::default(), ..screen };
        }
        screen.show(&view, &progress);
        let over = matches!(view.summary.phase, Phase::Closed | Phase::NeedsHuman);
        if over {
            screen.end(&view);
            return Ok(view);
        }
        let next = tokio::time::sleep(EVERY);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                Some((_, said)) = signals.next() => { progress.insert(said.step.clone(), said); }
            }
        }
    }
}

#[derive(Default)]
struct Screen {
    canvas: screen::Canvas,
    seen: BTreeMap<StepId, (StepStatus, u32)>,
    phase: Option<Phase>,
    owner: Option<String>,
    said: BTreeMap<StepId, String>,
}

impl Screen {
    fn show(&mut self, view: &DeploymentView, progress: &steps::Progress) {
        if output::json() {
            self.changes(view, progress, true);
        } else if output::live() {
            let (width, rows) = screen::size().unwrap_or((80, 24));
            let mut lines = steps::tree_within(view, progress, rows.saturating_sub(2));
            if view.summary.verdict.is_none() {
                let said = &view.explanation.headline;
                lines.push(format!("  {} {said}", paint::moving("→")));
            }
            if let Some(text) = self.canvas.draw(&lines, width) {
                output::raw(text);
            }
        } else {
            self.changes(view, progress, false);
        }
    }

    fn changes(&mut self, view: &DeploymentView, progress: &steps::Progress, json: bool) {
        let owner = view.owner.as_ref().map(|(owner, _)| owner.clone());
        let moved = self.phase != Some(view.summary.phase);
        if owner.is_some() && self.owner.is_some() && owner != self.owner && !json {
            let name = owner.as_deref().map(steps::short).unwrap_or_default();
            output::line(format!("  {} orchestrator {name} takes over", paint::warn("→")));
        }
        self.owner = owner.or(self.owner.take());
        for step in &view.steps {
            let now = (step.status, step.attempt);
            let said = progress.get(&step.id);
            let open = matches!(step.status, StepStatus::Scheduled | StepStatus::Running);
            let news = said.filter(|_| open).map(|said| format!("{} {:?}", said.text, said.traffic));
            let quiet =
                matches!(step.status, StepStatus::Waiting | StepStatus::Scheduled | StepStatus::Skipped);
            let changed = self.seen.insert(step.id.clone(), now) != Some(now) && !quiet;
            let heard = news.is_some() && self.said.get(&step.id) != news.as_ref();
            if !(changed || heard) {
                continue;
            }
            if let Some(news) = news {
                self.said.insert(step.id.clone(), news);
            }
            if json {
                output::json_line(&serde_json::json!({"step": step, "progress": said}));
            } else {
                output::line(format!("  {}", steps::step_line(step, said)));
            }
        }
        if moved {
            self.phase = Some(view.summary.phase);
            if json {
                output::json_line(
                    &serde_json::json!({"summary": view.summary, "explanation": view.explanation}),
                );
            } else if view.summary.verdict.is_none() {
                output::line(paint::moving(&view.explanation.headline));
            }
        }
    }

    fn end(&self, view: &DeploymentView) {
        if !output::json() {
            let summary = &view.summary;
            let what = format!("{} on {}", steps::modules(&summary.modules), summary.target);
            output::line(format!("{}  {what}  {}", paint::stand(summary), paint::faint(&summary.deployment)));
        }
    }
}
