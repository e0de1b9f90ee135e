//! Follows a deployment live. On a terminal the tree is drawn again in place; elsewhere a step is a line when it
//! runs and a line when it ends.

use std::collections::{BTreeMap, BTreeSet};

use client::{Client, Sight};
use model::{
    DeploymentId, Phase, StepId,
    view::{DeploymentView, StepStatus, StepView},
};

use crate::{
    cli::{Global, Which},
    commands::show,
    connect::{connect, resolve},
    failure::Failure,
    output::{self, paint, screen, steps},
};

/// Until it is over, a person is called, or Ctrl-C.
pub async fn watch(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let deployment = resolve(&client, which.deployment).await?;
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
    let mut watch = client.watch(deployment).await?;
    let mut progress = steps::Progress::new();
    let mut screen = Screen::default();
    let mut last = None;
    while let Some(sight) = watch.next().await {
        match sight {
            Ok(Sight::View(view)) => {
                output::know(&view.versions);
                screen.show(&view, &progress);
                last = Some(*view);
            }
            Ok(Sight::Progress(said)) => {
                progress.insert(said.step.clone(), *said);
            }
            Ok(Sight::Silent) => output::note("the engine does not answer; trying again"),
            Ok(Sight::Back) => {
                output::note("the engine answers again");
                screen = Screen { canvas: screen::Canvas::default(), ..screen };
            }
            Err(error) => {
                let hint = match error.is_absence() {
                    true => format!("\n  come back with codectl watch {deployment}"),
                    false => String::new(),
                };
                let failure = Failure::from(error);
                return Err(Failure { text: failure.text + &hint, ..failure });
            }
        }
    }
    let view = last.ok_or_else(|| Failure::other(format!("{deployment} was not seen")))?;
    screen.end(&view);
    Ok(view)
}

#[derive(Default)]
struct Screen {
    canvas: screen::Canvas,
    phase: Option<Phase>,
    owner: Option<String>,
    told: Told,
    /// What was last said of each step, for programs.
    seen: BTreeMap<StepId, (StepStatus, u32)>,
    said: BTreeMap<StepId, String>,
}

impl Screen {
    fn show(&mut self, view: &DeploymentView, progress: &steps::Progress) {
        if output::json() {
            self.documents(view, progress);
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
            self.lines(view, progress);
        }
    }

    fn lines(&mut self, view: &DeploymentView, progress: &steps::Progress) {
        let owner = view.owner.as_ref().map(|(owner, _)| owner.clone());
        if owner.is_some() && self.owner.is_some() && owner != self.owner {
            let name = owner.as_deref().map(steps::short).unwrap_or_default();
            output::line(format!("  {} orchestrator {name} takes over", paint::warn("→")));
        }
        self.owner = owner.or(self.owner.take());
        for step in &view.steps {
            if self.told.is_news(step) {
                output::line(format!("  {}", steps::step_line(step, progress.get(&step.id))));
            }
        }
        if self.moves_to(view.summary.phase) && view.summary.verdict.is_none() {
            output::line(paint::moving(&view.explanation.headline));
        }
    }

    fn documents(&mut self, view: &DeploymentView, progress: &steps::Progress) {
        for step in &view.steps {
            let now = (step.status, step.attempt);
            let said = progress.get(&step.id);
            let open = matches!(step.status, StepStatus::Scheduled | StepStatus::Running);
            let news = said.filter(|_| open).map(|said| format!("{} {:?}", said.text, said.traffic));
            let quiet =
                matches!(step.status, StepStatus::Waiting | StepStatus::Scheduled | StepStatus::Skipped);
            let changed = self.seen.insert(step.id.clone(), now) != Some(now) && !quiet;
            let heard = news.is_some() && self.said.get(&step.id) != news.as_ref();
            if let Some(news) = news {
                self.said.insert(step.id.clone(), news);
            }
            if changed || heard {
                output::json_line(&serde_json::json!({"step": step, "progress": said}));
            }
        }
        if self.moves_to(view.summary.phase) {
            output::json_line(&serde_json::json!({"summary": view.summary, "explanation": view.explanation}));
        }
    }

    /// Whether the phase is another one than before; it is taken down.
    fn moves_to(&mut self, phase: Phase) -> bool {
        self.phase.replace(phase) != Some(phase)
    }

    fn end(&self, view: &DeploymentView) {
        if !output::json() {
            let summary = &view.summary;
            let what = format!("{} on {}", steps::modules(&summary.modules), summary.target);
            output::line(format!("{}  {what}  {}", paint::stand(summary), paint::faint(&summary.deployment)));
        }
    }
}

/// What was printed, where lines are not drawn again: of each attempt of a step that it runs, and how it ended.
#[derive(Default)]
struct Told(BTreeSet<(StepId, u32, bool)>);

impl Told {
    /// Whether a line is due for how the step stands; it is taken down. A step that is only scheduled runs no sooner than
    /// a runner says so, and one that is handed to another runner still runs.
    fn is_news(&mut self, step: &StepView) -> bool {
        let is_over = match step.status {
            StepStatus::Waiting | StepStatus::Scheduled | StepStatus::Skipped => return false,
            StepStatus::Running => false,
            StepStatus::Succeeded | StepStatus::Failed | StepStatus::Errored | StepStatus::Inconclusive => {
                true
            }
        };
        self.0.insert((step.id.clone(), step.attempt, is_over))
    }
}

#[cfg(test)]
mod tests {
    use model::step::{Agent, Stage};

    use super::*;

    fn step(status: StepStatus, attempt: u32) -> StepView {
        StepView {
            id: "01-web-run".parse().unwrap(),
            stage: Stage::Execute,
            agent: Agent::Deployer,
            text: String::new(),
            status,
            attempt,
            runner: None,
            scheduled: None,
            finished: None,
            reason: String::new(),
            gates: Vec::new(),
            findings: Vec::new(),
        }
    }

    #[test]
    fn a_step_is_told_once_when_it_runs_and_once_when_it_ends() {
        use StepStatus::{Errored, Running, Scheduled, Succeeded, Waiting};
        let mut told = Told::default();
        let life = [
            (Waiting, 0),
            (Scheduled, 1),
            (Running, 1),
            (Running, 1),
            // Its runner died, and another took it.
            (Scheduled, 1),
            (Running, 1),
            (Errored, 1),
            (Errored, 1),
            (Scheduled, 2),
            (Succeeded, 2),
        ];

        let printed: Vec<(StepStatus, u32)> =
            life.into_iter().filter(|(status, attempt)| told.is_news(&step(*status, *attempt))).collect();

        assert_eq!(printed, [(Running, 1), (Errored, 1), (Succeeded, 2)]);
    }
}
