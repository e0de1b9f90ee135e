//! Grants: a role, to whom, where, and until when.

use std::str::FromStr as _;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Flaw, Grantee, Place};

/// The role that is only had by breaking the glass.
pub const BREAK_GLASS: &str = "break-glass";
/// Most grants of one set of rights.
pub(crate) const GRANTS: usize = 20_000;

/// Somebody has a role on a place and everything in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub to: Grantee,
    /// The role: the `@id` of a template.
    pub role: String,
    /// Where.
    pub on: Place,
    /// From then on it counts for nothing. None: until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Grant {
    /// It counts at this moment.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// To whom and where, in words.
    pub(crate) fn shown(&self) -> String {
        format!("{} on {}", self.to, self.on)
    }
}

/// A file of grants, with the places of its values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    grant: Vec<toml::Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    to: toml::Spanned<String>,
    role: toml::Spanned<String>,
    on: toml::Spanned<String>,
    until: Option<toml::Spanned<toml::value::Datetime>>,
    reason: Option<toml::Spanned<String>>,
}

/// Longest reason in bytes.
const REASON: usize = 500;

/// Reads the grants of a file. `knows` says whether there is a role of this name.
pub(crate) fn read(file: &str, text: &str, knows: impl Fn(&str) -> bool) -> Result<Vec<Grant>, Vec<Flaw>> {
    let parsed: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let cure =
            "write [[grant]] with to, role, on, and if wanted until and reason, as docs/rights.md shows";
        vec![Flaw::at(file, text, at, error.message().to_owned(), cure)]
    })?;

    let mut flaws = Vec::new();
    let mut grants = Vec::new();
    for written in parsed.grant {
        let written = written.into_inner();
        let mut flaw = |at: usize, message: String, cure: &str| {
            flaws.push(Flaw::at(file, text, at, message, cure));
        };
        let (to_at, role_at, on_at) =
            (written.to.span().start, written.role.span().start, written.on.span().start);
        let to = Grantee::from_str(written.to.get_ref());
        let on = Place::from_str(written.on.get_ref());
        let role = written.role.into_inner();
        if let Err(error) = &to {
            flaw(to_at, format!("to: {error}"), "name somebody or a group, such as \"group:acme/sre\"");
        }
        if let Err(error) = &on {
            flaw(on_at, format!("on: {error}"), "name a place, such as \"acme/shop/prod\"");
        }
        if role == BREAK_GLASS {
            flaw(
                role_at,
                format!("role: {role} is not granted by a file"),
                "it is taken in need, with a reason, for an hour at most",
            );
        } else if !knows(&role) {
            flaw(
                role_at,
                format!("role: there is no role {role:?}"),
                "name a built-in role or the @id of a template in one of the files",
            );
        }
        let until = match &written.until {
            None => None,
            Some(at) => {
                let read = at.get_ref().to_string().parse::<jiff::Timestamp>();
                if read.is_err() {
                    flaw(
                        at.span().start,
                        format!("until: {} names no moment", at.get_ref()),
                        "write date, time and offset, such as 2026-12-31T18:00:00Z",
                    );
                }
                read.ok().map(|at| Timestamp(at.as_millisecond()))
            }
        };
        let reason = written.reason.map(|reason| (reason.span().start, reason.into_inner()));
        if let Some((at, reason)) = reason.as_ref().filter(|(_, reason)| reason.len() > REASON) {
            flaw(*at, format!("reason: has {} bytes", reason.len()), "write at most 500 bytes");
        }
        let (Ok(to), Ok(on)) = (to, on) else { continue };
        if to.organisation().is_some()
            && on.organisation().is_some()
            && to.organisation() != on.organisation()
        {
            flaw(
                on_at,
                format!("on: {on} belongs to another organisation than {to}"),
                "grant it to somebody of the same organisation",
            );
        }
        grants.push(Grant { to, role, on, until, reason: reason.map(|(_, text)| text).unwrap_or_default() });
    }
    if grants.len() > GRANTS {
        flaws.push(Flaw::at(
            file,
            text,
            0,
            format!("has {} grants", grants.len()),
            "grant to groups; at most 20000 are taken",
        ));
    }
    if flaws.is_empty() { Ok(grants) } else { Err(flaws) }
}
