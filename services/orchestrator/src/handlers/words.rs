//! Texts that people give on the way in: what is journalled is read on terminals, so each is one line of what can be seen.
//! Every request with a text passes here before anything is decided on it. What somebody signed stays as it was signed; what
//! is journalled beside it does not.

use model::{
    command::{Action, Command, Submit, TargetAction, TargetCommand},
    journal::{JournalAction, JournalRequest},
};

/// Why a quarantine is overruled.
pub fn of_submit(submit: Submit) -> Submit {
    Submit { force: submit.force.map(plain), ..submit }
}

/// Why somebody does it.
pub fn of_command(command: Command) -> Command {
    let action = match command.action {
        Action::Abort { reason } => Action::Abort { reason: plain(reason) },
        Action::Close { reason } => Action::Close { reason: plain(reason) },
        Action::Deny { plan, reason, signed } => Action::Deny { plan, reason: plain(reason), signed },
        silent @ (Action::Promote { .. }
        | Action::Pause {}
        | Action::Resume {}
        | Action::Retry {}
        | Action::Approve { .. }) => silent,
    };
    Command { action, ..command }
}

/// Why a target is held.
pub fn of_target(command: TargetCommand) -> TargetCommand {
    let action = match command.action {
        TargetAction::Hold { reason } => TargetAction::Hold { reason: plain(reason) },
        silent @ (TargetAction::Show {} | TargetAction::Unhold {}) => silent,
    };
    TargetCommand { action, ..command }
}

/// Why records are passed over.
pub fn of_journal(request: JournalRequest) -> JournalRequest {
    let action = match request.action {
        JournalAction::Skip { id, records, reason } => {
            JournalAction::Skip { id, records, reason: plain(reason) }
        }
        silent @ (JournalAction::List {} | JournalAction::Show { .. }) => silent,
    };
    JournalRequest { action }
}

/// One line of what can be seen.
fn plain(text: impl AsRef<str>) -> String {
    scrub::one_line(text.as_ref()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "wrong day\nerror: all is lost\u{1b}[2J\u{202e}";
    const SHOWN: &str = "wrong day ⏎ error: all is lost";

    /// Every request that carries a text, and the text that is journalled of it.
    #[test]
    fn whatever_text_somebody_gives_is_one_line_of_what_can_be_seen() {
        let reason = RAW.to_owned();
        let command =
            |action| Command { deployment: model::DeploymentId::derived("shop"), expect: None, action };
        let target = "default.scripted.shop".parse().unwrap();
        let plan = model::Digest::of(&1);

        let submit = of_submit(Submit {
            document: String::new(),
            request_id: None,
            plan: None,
            force: Some(reason.clone()),
            mode: model::deployment::Mode::Apply,
        });
        let abort = of_command(command(Action::Abort { reason: reason.clone() }));
        let close = of_command(command(Action::Close { reason: reason.clone() }));
        let deny =
            of_command(command(Action::Deny { plan: plan.clone(), reason: reason.clone(), signed: None }));
        let hold = of_target(TargetCommand { target, action: TargetAction::Hold { reason: reason.clone() } });
        let records = vec![(1, plan.clone())];
        let skip = JournalAction::Skip { id: "dep-1".to_owned(), records: records.clone(), reason };
        let skip = of_journal(JournalRequest { action: skip });

        assert_eq!(submit.force.as_deref(), Some(SHOWN));
        assert_eq!(abort.action, Action::Abort { reason: SHOWN.to_owned() });
        assert_eq!(close.action, Action::Close { reason: SHOWN.to_owned() });
        assert_eq!(deny.action, Action::Deny { plan, reason: SHOWN.to_owned(), signed: None });
        assert_eq!(hold.action, TargetAction::Hold { reason: SHOWN.to_owned() });
        let shown = JournalAction::Skip { id: "dep-1".to_owned(), records, reason: SHOWN.to_owned() };
        assert_eq!(skip.action, shown);
    }
}
