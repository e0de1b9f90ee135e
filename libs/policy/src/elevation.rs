//! More rights for a time: asked for and granted by somebody else, or taken at once in need. An aggregate of events.

use std::time::Duration;

use model::{Timestamp, Token};
use serde::{Deserialize, Serialize};

use crate::{BREAK_GLASS, Facts, Grant, Grantee, Kind, Place, Subject};

/// Longest that a broken glass gives rights.
pub const BREAK_GLASS_AT_MOST: Duration = Duration::from_secs(60 * 60);
/// Longest that a role which was asked for is granted.
pub const ORDINARY_AT_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How old the second factor of somebody who breaks the glass may be.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// Longest reason, ticket or finding in bytes.
const TEXT: usize = 500;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The role. [`BREAK_GLASS`] is given at once.
    pub role: Token,
    /// Where.
    pub on: Place,
    /// For how long, from when it is granted.
    pub span: Duration,
    /// Why.
    pub reason: String,
    /// The ticket that says more; to break the glass it must be there.
    pub ticket: String,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin.
    Ask(Ask),
    /// Grant or refuse what was asked for.
    Review {
        /// It is granted.
        grant: bool,
        /// Why.
        reason: String,
    },
    /// Take the right away before its time.
    End {
        /// Why.
        reason: String,
    },
    /// Say what was done with a right that was taken in need.
    Close {
        /// What was found.
        finding: String,
    },
}

/// What happened. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked.
    Asked {
        /// Who.
        by: Subject,
        /// For what.
        ask: Ask,
        /// When.
        at: Timestamp,
    },
    /// Somebody else looked at it.
    Reviewed {
        /// Who.
        by: Subject,
        /// Granted or refused.
        grant: bool,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The right is there, until then.
    Granted {
        /// When it ends by itself.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Its time was over.
    Expired {
        /// When that was noted; it had ended at `until`.
        at: Timestamp,
    },
    /// It was taken away before its time.
    Ended {
        /// By whom.
        by: Subject,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody else said what was done with it.
    Closed {
        /// Who.
        by: Subject,
        /// What was found.
        finding: String,
        /// When.
        at: Timestamp,
    },
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for somebody else.
    Asked,
    /// It was refused.
    Refused,
    /// The right is there, as long as its time is not over.
    Granted,
    /// The right is over; of a broken glass, somebody else still has to close it.
    Over,
    /// Somebody else has closed it.
    Closed,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not fit how it stands.
    #[error("it is {state:?}, and cannot be {asked}")]
    State {
        /// How it stands.
        state: State,
        /// What was to be done.
        asked: &'static str,
    },
    /// It was begun already.
    #[error("it was asked for already; ask for another right under another id")]
    Begun,
    /// There is nothing of the kind.
    #[error("nothing was asked for under this id")]
    Nothing,
    /// Only somebody else may.
    #[error("{0} asked for it; somebody else has to do this")]
    Same(Box<Subject>),
    /// Programs do none of this.
    #[error("{0} is a program; a person has to do this")]
    Program(Box<Subject>),
    /// It belongs to another organisation.
    #[error("{0} does not belong to the organisation of {1}")]
    Foreign(Box<Subject>, Box<Place>),
    /// A text is missing or too long.
    #[error("{0}: write 1 to {TEXT} bytes without control characters")]
    Text(&'static str),
    /// It would last too long, or no time at all.
    #[error("span: {asked} s; role {role} is given for 1 to {most} s")]
    Span {
        /// What was asked for.
        asked: u64,
        /// The role.
        role: Token,
        /// The most.
        most: u64,
    },
    /// The second factor is missing or too old.
    #[error("a second factor that was shown within the last 5 minutes is needed; sign in again with one")]
    Factor,
}

/// More rights for a time, as the events tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elevation {
    by: Subject,
    ask: Ask,
    state: State,
    until: Option<Timestamp>,
}

impl Elevation {
    /// As these events tell it; none where they do not begin with an ask.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Elevation> {
        let mut events = events.into_iter();
        let Event::Asked { by, ask, .. } = events.next()? else { return None };
        let mut elevation = Elevation { by: by.clone(), ask: ask.clone(), state: State::Asked, until: None };
        for event in events {
            elevation.apply(event);
        }
        Some(elevation)
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Asked { .. } => {}
            Event::Reviewed { grant, .. } => {
                if !grant {
                    self.state = State::Refused;
                }
            }
            Event::Granted { until, .. } => {
                self.state = State::Granted;
                self.until = Some(*until);
            }
            Event::Expired { .. } | Event::Ended { .. } => self.state = State::Over,
            Event::Closed { .. } => self.state = State::Closed,
        }
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Who asked.
    pub fn by(&self) -> &Subject {
        &self.by
    }

    /// It was taken in need: everybody is told, certificates say so, and somebody else has to close it.
    pub fn is_break_glass(&self) -> bool {
        self.ask.role.as_str() == BREAK_GLASS
    }

    /// It waits for somebody else: to be reviewed, or to be closed.
    pub fn waits_for_somebody_else(&self) -> bool {
        match self.state {
            State::Asked => true,
            State::Granted | State::Over => self.is_break_glass(),
            State::Refused | State::Closed => false,
        }
    }

    /// The grant, as long as it is there. That its time is over counts at once, whether or not it was noted.
    pub fn grant(&self, now: Timestamp) -> Option<Grant> {
        let grant = Grant {
            to: Grantee::One(self.by.clone()),
            role: self.ask.role.to_string(),
            on: self.ask.on.clone(),
            until: Some(self.until?),
            reason: self.ask.reason.clone(),
        };
        (self.state == State::Granted && grant.is_in_force(now)).then_some(grant)
    }

    /// What the passing of time adds to the journal.
    pub fn due(&self, now: Timestamp) -> Option<Event> {
        let is_over = self.state == State::Granted && self.until.is_some_and(|until| now >= until);
        is_over.then_some(Event::Expired { at: now })
    }
}

/// What a command adds to the journal. That whoever commands it has the right to is asked of [`crate::Rights`] before:
/// `access.request`, `access.break-glass` or `access.review` on that place, with the same facts.
impl Command {
    /// What it adds to the journal of this elevation, or why nothing.
    pub fn decide(
        &self,
        elevation: Option<&Elevation>,
        by: &Subject,
        facts: &Facts,
    ) -> Result<Vec<Event>, Refused> {
        let now = facts.now;
        if by.kind() != Kind::User {
            return Err(Refused::Program(Box::new(by.clone())));
        }
        // Whom it reaches is one person, not the groups that they are in today.
        let by = &by.clone().in_groups([]);
        match (self, elevation) {
            (Command::Ask(_), Some(_)) => Err(Refused::Begun),
            (Command::Ask(ask), None) => begin(ask, by, facts),
            (_, None) => Err(Refused::Nothing),
            (Command::Review { grant, reason }, Some(open)) => {
                open.in_state(&[State::Asked], "reviewed")?;
                open.somebody_else(by)?;
                text("reason", reason)?;
                let reviewed =
                    Event::Reviewed { by: by.clone(), grant: *grant, reason: reason.clone(), at: now };
                let granted = Event::Granted { until: now.plus(open.ask.span), at: now };
                Ok([reviewed].into_iter().chain(grant.then_some(granted)).collect())
            }
            (Command::End { reason }, Some(open)) => {
                open.in_state(&[State::Asked, State::Granted], "ended")?;
                open.own(by)?;
                text("reason", reason)?;
                Ok(vec![Event::Ended { by: by.clone(), reason: reason.clone(), at: now }])
            }
            (Command::Close { finding }, Some(open)) => {
                if !open.is_break_glass() {
                    return Err(Refused::State { state: open.state, asked: "closed" });
                }
                open.in_state(&[State::Granted, State::Over], "closed")?;
                open.somebody_else(by)?;
                text("finding", finding)?;
                let ended = (open.state == State::Granted).then(|| {
                    open.due(now).unwrap_or_else(|| Event::Ended {
                        by: by.clone(),
                        reason: "closed".to_owned(),
                        at: now,
                    })
                });
                let closed = Event::Closed { by: by.clone(), finding: finding.clone(), at: now };
                Ok(ended.into_iter().chain([closed]).collect())
            }
        }
    }
}

impl Elevation {
    fn in_state(&self, allowed: &[State], asked: &'static str) -> Result<(), Refused> {
        if allowed.contains(&self.state) { Ok(()) } else { Err(Refused::State { state: self.state, asked }) }
    }

    fn own(&self, by: &Subject) -> Result<(), Refused> {
        if by.organisation() == self.by.organisation() {
            Ok(())
        } else {
            Err(Refused::Foreign(Box::new(by.clone()), Box::new(self.ask.on.clone())))
        }
    }

    fn somebody_else(&self, by: &Subject) -> Result<(), Refused> {
        self.own(by)?;
        if by == &self.by { Err(Refused::Same(Box::new(by.clone()))) } else { Ok(()) }
    }
}

fn text(field: &'static str, text: &str) -> Result<(), Refused> {
    let fits =
        (1..=TEXT).contains(&text.trim().len()) && text.len() <= TEXT && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Refused::Text(field)) }
}

fn begin(ask: &Ask, by: &Subject, facts: &Facts) -> Result<Vec<Event>, Refused> {
    let is_break_glass = ask.role.as_str() == BREAK_GLASS;
    let most = if is_break_glass { BREAK_GLASS_AT_MOST } else { ORDINARY_AT_MOST };
    if by.organisation() != ask.on.organisation() {
        return Err(Refused::Foreign(Box::new(by.clone()), Box::new(ask.on.clone())));
    }
    text("reason", &ask.reason)?;
    if is_break_glass || !ask.ticket.is_empty() {
        text("ticket", &ask.ticket)?;
    }
    if ask.span < Duration::from_secs(1) || ask.span > most {
        let (asked, most) = (ask.span.as_secs(), most.as_secs());
        return Err(Refused::Span { asked, role: ask.role.clone(), most });
    }
    let asked = Event::Asked { by: by.clone(), ask: ask.clone(), at: facts.now };
    if !is_break_glass {
        return Ok(vec![asked]);
    }
    if !facts.mfa || facts.factor_age.is_none_or(|age| age > FRESH) {
        return Err(Refused::Factor);
    }
    Ok(vec![asked, Event::Granted { until: facts.now.plus(ask.span), at: facts.now }])
}

#[cfg(test)]
mod tests;
