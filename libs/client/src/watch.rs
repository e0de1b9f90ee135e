//! A deployment that is followed: as it stands, and what its runners say meanwhile.

use std::{pin::Pin, time::Duration};

use bus::subjects;
use futures::{Stream, StreamExt};
use model::{DeploymentId, Phase, deployment::StepProgress, view::DeploymentView};
use tokio::time::Instant;

use crate::{Client, Error};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(150);
/// How soon a silent engine is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long an engine may be silent before the watching ends: a killed one is replaced within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// The deployment as it stands.
    View(Box<DeploymentView>),
    /// A runner says how far its step is.
    Progress(Box<StepProgress>),
    /// The engine no longer answers; it is asked again.
    Silent,
    /// It answers again.
    Back,
}

/// A deployment that is followed. The last sight is its view when it is over or calls for a person.
pub struct Watch {
    client: Client,
    deployment: DeploymentId,
    said: Pin<Box<dyn Stream<Item = StepProgress> + Send>>,
    /// When it is looked next.
    next: Instant,
    silent: Option<Instant>,
    /// What was seen and not given yet.
    held: Option<Box<DeploymentView>>,
    over: bool,
}

impl Watch {
    pub(crate) async fn begin(client: &Client, deployment: &DeploymentId) -> Result<Watch, Error> {
        let said = client.bus.listen(&subjects::agents::PROGRESS, Some(deployment.as_str())).await?;
        Ok(Watch {
            client: client.clone(),
            deployment: deployment.clone(),
            said: Box::pin(said.map(|progress| progress.message)),
            next: Instant::now(),
            silent: None,
            held: None,
            over: false,
        })
    }

    /// What is seen next; none when it is over, or after an error. An engine that is silent for a minute is one.
    pub async fn next(&mut self) -> Option<Result<Sight, Error>> {
        if let Some(view) = self.held.take() {
            return Some(Ok(self.seen(view)));
        }
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.next) => {}
                Some(said) = self.said.next() => return Some(Ok(Sight::Progress(Box::new(said)))),
            }
            match self.client.status(&self.deployment).await {
                Ok(view) if self.silent.take().is_some() => {
                    self.held = Some(Box::new(view));
                    return Some(Ok(Sight::Back));
                }
                Ok(view) => return Some(Ok(self.seen(Box::new(view)))),
                Err(error) if error.is_absence() => {
                    self.next = Instant::now() + AGAIN;
                    let Some(since) = self.silent else {
                        self.silent = Some(Instant::now());
                        return Some(Ok(Sight::Silent));
                    };
                    if since.elapsed() > PATIENCE {
                        self.over = true;
                        return Some(Err(error));
                    }
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    fn seen(&mut self, view: Box<DeploymentView>) -> Sight {
        self.over = matches!(view.summary.phase, Phase::Closed | Phase::NeedsHuman);
        self.next = Instant::now() + EVERY;
        Sight::View(view)
    }
}
