//! The operator's file of signers: read at start, where it must be right, and again when it changes.

use std::{path::Path, sync::Arc, time::Duration};

use approval::{Require, Rulebook, Signers};
use chassis::Service;
use tokio::io::AsyncReadExt;
use tracing::{error, info, warn};

use crate::{
    config::{ApprovalSettings, OrchestratorConfig},
    error::Error,
    hub::Hub,
};

/// How often it is looked whether the file changed: a key that is taken out counts no longer than that.
const LOOK: Duration = Duration::from_secs(2);

/// The file, and what it said last.
pub struct Source {
    settings: ApprovalSettings,
    text: Option<String>,
    in_force: Option<Arc<Rulebook>>,
}

impl Source {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    /// It cannot be read, or a line of it or a setting beside it cannot be used: each is named.
    pub async fn open(settings: &ApprovalSettings) -> Result<Source, Error> {
        let mut source = Source { settings: settings.clone(), text: None, in_force: None };
        match &settings.signers {
            None => warn!(
                "approvals are not signed: whoever says a name approves, unauthenticated; set orchestrator.approvals.signers"
            ),
            Some(path) => {
                source.read().await.map_err(Error::Approvals)?;
                info!(path = %path.display(), "approvals are signatures by the keys of this file");
            }
        }
        Ok(source)
    }

    /// What the operator wants of approvals.
    pub fn in_force(&self) -> Option<Arc<Rulebook>> {
        self.in_force.clone()
    }

    /// Reads it again; true when something else is in force now.
    async fn read(&mut self) -> Result<bool, String> {
        let Some(path) = &self.settings.signers else { return Ok(false) };
        let text = text_of(path).await.map_err(|error| {
            format!(
                "signers: {} cannot be read: {error}; name a file that this service may read",
                path.display()
            )
        })?;
        if self.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        let book = rulebook(&self.settings, &text);
        self.text = Some(text);
        let book = Arc::new(book?);
        let is_other = self.in_force.as_ref() != Some(&book);
        self.in_force = Some(book);
        Ok(is_other)
    }

    /// Looks again and again, for as long as the service runs.
    pub fn follow(self, service: &Service<OrchestratorConfig>, hub: &Arc<Hub>) {
        if self.settings.signers.is_none() {
            return;
        }
        let state = Arc::new((tokio::sync::Mutex::new(self), hub.clone()));
        service.every("read the file of signers", LOOK, state, |state| async move {
            let (source, hub) = &*state;
            let mut source = source.lock().await;
            match source.read().await {
                Ok(false) => {}
                Ok(true) => {
                    info!("the file of signers changed: approvals that wait are held against it anew");
                    hub.approvals.send_replace(source.in_force());
                }
                // A file that is half written must not let everybody in, nor lock everybody out.
                Err(why) => error!("orchestrator.approvals: {why}; what was in force before goes on"),
            }
            Ok::<(), Error>(())
        });
    }
}

/// What the file holds, and no more of it than is taken.
async fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let most = approval::signers::MOST as u64 + 1;
    tokio::fs::File::open(path).await?.take(most).read_to_string(&mut text).await?;
    Ok(text)
}

fn rulebook(settings: &ApprovalSettings, text: &str) -> Result<Rulebook, String> {
    let lines = |all: Vec<String>| all.join("\n");
    let signers = Signers::read(text)
        .map_err(|bad| lines(bad.iter().map(|bad| format!("signers: {bad}")).collect()))?;
    let require = settings.require.iter();
    let require =
        require.map(|rule| Require { environment: rule.environment.clone(), all: rule.all.clone() });
    let (groups, lasts) = (settings.groups.clone(), settings.lasts);
    Rulebook::new(signers, groups, require.collect(), lasts, settings.verified)
        .map_err(|wrong| lines(wrong.iter().map(|(field, why)| format!("{field}: {why}")).collect()))
}
