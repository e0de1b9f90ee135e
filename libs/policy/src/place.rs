//! Where something is done: the engine, an organisation, and what lies in it.

use std::{fmt, str::FromStr};

use model::{Token, id::BadToken};
use serde::{Deserialize, Serialize};

/// How deep a place lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The engine itself, which belongs to no organisation.
    Engine,
    /// An organisation, which sees nothing of others.
    Organisation,
    /// A project of an organisation.
    Project,
    /// An environment of a project.
    Environment,
    /// What is deployed to.
    Target,
}

impl Level {
    /// The name of the kind in policies.
    pub fn entity(self) -> &'static str {
        match self {
            Level::Engine => "Engine",
            Level::Organisation => "Organisation",
            Level::Project => "Project",
            Level::Environment => "Environment",
            Level::Target => "Target",
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Level::Engine => "engine",
            Level::Organisation => "organisation",
            Level::Project => "project",
            Level::Environment => "environment",
            Level::Target => "target",
        }
    }
}

/// A place: `engine`, or one to four names, `acme/shop/prod/docker.web`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    names: Vec<Token>,
    /// The target's platform; the target's name is the last of the names.
    platform: Option<Token>,
}

/// The text is not a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// Too many parts.
    #[error(
        "{0:?} is not a place: write engine, ORGANISATION, ORGANISATION/PROJECT, .../ENVIRONMENT or .../PLATFORM.NAME"
    )]
    Form(String),
    /// One part is no name.
    #[error(transparent)]
    Name(#[from] BadToken),
}

impl Place {
    /// The engine itself.
    pub fn engine() -> Place {
        Place::default()
    }

    /// How deep it lies.
    pub fn level(&self) -> Level {
        match (self.names.len(), &self.platform) {
            (0, _) => Level::Engine,
            (1, _) => Level::Organisation,
            (2, _) => Level::Project,
            (_, None) => Level::Environment,
            (_, Some(_)) => Level::Target,
        }
    }

    /// Whose it is; the engine is nobody's.
    pub fn organisation(&self) -> Option<&Token> {
        self.names.first()
    }

    /// The project.
    pub fn project(&self) -> Option<&Token> {
        self.names.get(1)
    }

    /// The environment.
    pub fn environment(&self) -> Option<&Token> {
        self.names.get(2)
    }

    /// The target as `PLATFORM.NAME`.
    pub(crate) fn target(&self) -> Option<String> {
        Some(format!("{}.{}", self.platform.as_ref()?, self.names.last()?))
    }

    /// What it lies in; the engine lies in nothing.
    pub fn parent(&self) -> Option<Place> {
        let mut names = self.names.clone();
        names.pop()?;
        Some(Place { names, platform: None })
    }

    /// It is this place or lies in it.
    pub fn is_in(&self, outer: &Place) -> bool {
        if outer.level() == Level::Target { self == outer } else { self.names.starts_with(&outer.names) }
    }

    /// The place itself, cut at this level when it lies deeper.
    pub fn at_most(&self, level: Level) -> Place {
        let mut place = self.clone();
        while place.level() > level {
            let Some(parent) = place.parent() else { break };
            place = parent;
        }
        place
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Place, BadPlace> {
        let bad = || BadPlace::Form(text.chars().take(80).collect());
        if text == "engine" {
            return Ok(Place::engine());
        }
        let parts: Vec<&str> = text.split('/').collect();
        let mut place = Place::engine();
        for (index, part) in parts.iter().enumerate() {
            match index {
                0..3 => place.names.push(part.parse()?),
                3 => {
                    let (platform, name) = part.split_once('.').ok_or_else(bad)?;
                    place.platform = Some(platform.parse()?);
                    place.names.push(name.parse()?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return f.write_str("engine");
        }
        for (index, name) in self.names.iter().enumerate() {
            match (index, &self.platform) {
                (0, _) => write!(f, "{name}")?,
                (3, Some(platform)) => write!(f, "/{platform}.{name}")?,
                _ => write!(f, "/{name}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_written_and_nothing_else_is() {
        for (text, level) in [
            ("engine", Level::Engine),
            ("acme", Level::Organisation),
            ("acme/shop", Level::Project),
            ("acme/shop/prod", Level::Environment),
            ("acme/shop/prod/docker.web", Level::Target),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!((place.to_string().as_str(), place.level()), (text, level));
        }
        for bad in
            ["", "/", "acme/", "acme//prod", "Acme", "acme/../other", "acme/shop/prod/web", "a/b/c/d.e/f"]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_place_lies_in_its_parents_and_in_no_namesake() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        let target = place("acme/shop/prod/docker.web");

        for outer in ["engine", "acme", "acme/shop", "acme/shop/prod", "acme/shop/prod/docker.web"] {
            assert!(target.is_in(&place(outer)), "{outer}");
        }
        for other in
            ["acm", "acme/sho", "acme/shop/pro", "acme/shop/prod/docker.we", "acme/shop/prod/process.web"]
        {
            assert!(!target.is_in(&place(other)), "{other}");
        }
        assert!(!place("acme/shop").is_in(&place("acme/shop/prod")));
        assert_eq!(target.at_most(Level::Environment), place("acme/shop/prod"));
        assert_eq!(place("acme").at_most(Level::Environment), place("acme"));
    }
}
