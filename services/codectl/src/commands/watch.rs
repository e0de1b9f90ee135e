//! Follows a deployment live. On a terminal the tree is drawn again in place; elsewhere every change is a line.

use std::{collections::BTreeMap, time::Duration};

use bus::subjects;
use futures::StreamExt;
use model::{
    DeploymentId, Phase, StepId,
    view::{DeploymentView, StepStatus},
};

use crate::{
    cli::{Global, Which},
    client::Client,
    commands::show,
    failure::Failure,
    output::{self, paint, steps},
};

const EVERY: Duration = Duration::from_millis(150);

/// Until it is over, or a person is called.
pub async fn watch(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let deployment = client.resolve(which.deployment, false).await?;
    let view = follow(&client, &deployment).await?;
    Ok(show::exit_status(&view.summary))
}

/// Draws until it is over, or a person is called.
pub async fn follow(client: &Client, deployment: &DeploymentId) -> Result<DeploymentView, Failure> {
    let mut signals = client.bus.listen(&subjects::agents::PROGRESS, Some(deployment.as_str())).await?;
    let mut progress = steps::Progress::new();
    let mut screen = Screen::default();
    let mut trouble = 0_u32;
    loop {
        let view = match client.view(deployment).await {
            Ok(view) => view,
            // An orchestrator that was just killed is replaced within seconds.
            Err(failure) if failure.status == 3 && trouble < 20 => {
                trouble += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        trouble = 0;
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
    drawn: usize,
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
            let lines = steps::tree(view, progress);
            let mut text = String::new();
            if self.drawn > 0 {
                text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
            }
            lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            output::raw(text);
            self.drawn = lines.len();
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
            } else {
                output::line(format!(
                    "{} {}",
                    paint::strong(view.summary.phase),
                    paint::faint(&view.explanation.headline)
                ));
            }
        }
    }

    fn end(&self, view: &DeploymentView) {
        if output::json() {
            return;
        }
        if let Some(verdict) = view.summary.verdict {
            output::line(format!("{} {}", paint::verdict(verdict), paint::faint(&view.summary.reason)));
        }
    }
}
