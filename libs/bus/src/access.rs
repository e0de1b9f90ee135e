//! Which keys the broker knows, and what it lets each of them do: its configuration, written from the table of speech.
//!
//! The engine and its operators are users of the account `CODE`. Programs of other people are users of the account `EXT`,
//! which has no streams and shares two things with `CODE`: what publishers ask for, and the doors behind which experts
//! stand. A user of `EXT` neither reaches nor hears anything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use ground::file::{self, Access as Readers};
use model::Token;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Role,
    key::{Key, key_file, private_folder},
    rights::Rights,
    subject::{SHARDS, log_stream},
    subjects::{self, HEARS_ALL, LINES, LOGS},
};

/// What a role may do.
pub fn rights(role: Role) -> Rights {
    let mut rights = Rights::of_anybody(role.as_str());
    for line in LINES {
        line.give(role, &mut rights);
    }
    if HEARS_ALL.contains(&role) {
        for stream in heard_streams() {
            rights.may_follow(&stream, None);
            rights.may_read(&stream);
        }
    }
    if role == Role::Provisioner {
        for what in ["INFO", "STREAM.INFO.*", "STREAM.CREATE.*", "CONSUMER.CREATE.>"] {
            rights.may_say(format!("$JS.API.{what}"));
        }
    }
    rights
}

/// The streams that the audit log hears: every journal, the trail, the events and the dead letters.
pub fn heard_streams() -> Vec<String> {
    use crate::subject::{DEAD, EVENTS, TRAIL};
    let logs = LOGS.iter().flat_map(|noun| (0..SHARDS).map(move |shard| log_stream(noun, shard)));
    logs.chain([TRAIL, EVENTS, DEAD].map(str::to_owned)).collect()
}

/// What a program of other people is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outsider {
    /// It publishes CloudEvents, under its own name.
    Publisher,
    /// It answers as an expert, under its own name.
    Expert,
}

impl Outsider {
    /// The user's name, which is also that of its key file: a publisher and an expert may have the same name.
    pub fn user(self, name: &Token) -> String {
        match self {
            Outsider::Publisher => format!("publisher-{name}"),
            Outsider::Expert => format!("expert-{name}"),
        }
    }

    /// Where a publisher publishes, and where an expert is asked.
    pub fn subject(self, name: &Token) -> String {
        match self {
            Outsider::Publisher => subjects::inbox::SUBMIT.subject(name),
            Outsider::Expert => subjects::experts::PLUG_IN.subject(name),
        }
    }

    /// What it may do.
    pub fn rights(self, name: &Token) -> Rights {
        let mut rights = Rights::default();
        let inbox = format!("_INBOX.{}.>", self.user(name));
        rights.may_hear(inbox.clone());
        rights.may_say(inbox);
        match self {
            Outsider::Publisher => rights.may_say(self.subject(name)),
            Outsider::Expert => {
                rights.may_hear(format!("{} {name}", self.subject(name)));
                // Where answers into another account go.
                rights.may_say("_R_.>");
            }
        }
        rights
    }
}

/// Whom the broker knows, by public keys. The default is nobody: then nobody may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    engine: BTreeMap<String, (String, Rights)>,
    system: BTreeSet<String>,
    outsiders: BTreeMap<(Outsider, Token), String>,
}

impl Users {
    /// One more user of a role.
    pub fn add(&mut self, role: Role, public: &str) {
        match role {
            Role::System => {
                self.system.insert(public.to_owned());
            }
            _ => self.admit(role.as_str(), public, rights(role)),
        }
    }

    /// One more user of the engine's account, with rights of its own: for tests, which also speak where the table has no
    /// line.
    pub fn admit(&mut self, user: &str, public: &str, rights: Rights) {
        self.engine.insert(public.to_owned(), (user.to_owned(), rights));
    }

    /// One more program of other people.
    pub fn invite(&mut self, outsider: Outsider, name: Token, public: &str) {
        self.outsiders.insert((outsider, name), public.to_owned());
    }

    /// One program of other people less.
    pub fn dismiss(&mut self, outsider: Outsider, name: &Token) {
        self.outsiders.remove(&(outsider, name.clone()));
    }

    /// The part of the server's configuration that says who may do what.
    pub fn configuration(&self) -> String {
        let mut text = String::from(
            "# Written from the table of speech (libs/bus/src/subjects.rs); changes made by hand are lost.\n\
             system_account: SYS\n\
             authorization { timeout: 5 }\n\
             accounts {\n",
        );
        let system: Vec<String> = self.system.iter().map(|key| format!("{{ nkey: {key} }}")).collect();
        let _ = writeln!(text, "  SYS {{ users: [ {} ] }}", system.join(", "));
        text.push_str("  CODE {\n    jetstream: enabled\n    users: [\n");
        for (key, (name, rights)) in &self.engine {
            write_user(&mut text, name, key, rights);
        }
        let doors = format!("{}.*", subjects::experts::PLUG_IN.prefix());
        let _ = write!(
            text,
            "    ]\n    exports: [ {{ service: \"{WORLD}\", accounts: [ EXT ] }} ]\n    \
             imports: [ {{ service: {{ account: EXT, subject: \"{doors}\" }} }} ]\n  }}\n  \
             EXT {{\n    limits {{ max_payload: 1MB, max_connections: 500, max_subscriptions: 2000 }}\n    users: [\n"
        );
        for ((outsider, name), key) in &self.outsiders {
            write_user(&mut text, &outsider.user(name), key, &outsider.rights(name));
        }
        let _ = write!(
            text,
            "    ]\n    exports: [ {{ service: \"{doors}\", accounts: [ CODE ] }} ]\n    \
             imports: [ {{ service: {{ account: CODE, subject: \"{WORLD}\" }} }} ]\n  }}\n}}\n"
        );
        text
    }
}

/// Whatever publishers ask for.
const WORLD: &str = "code.v1.in.>";

fn write_user(text: &mut String, name: &str, key: &str, rights: &Rights) {
    let list = |subjects: &BTreeSet<String>| {
        // An empty list would allow everything.
        match subjects.is_empty() {
            true => "deny: [ \">\" ]".to_owned(),
            false => {
                let quoted: Vec<String> = subjects.iter().map(|subject| format!("\"{subject}\"")).collect();
                format!("allow: [ {} ]", quoted.join(", "))
            }
        }
    };
    let _ = writeln!(
        text,
        "      # {name}\n      {{ nkey: {key}, permissions: {{ publish: {{ {} }}, subscribe: {{ {} }} }} }}",
        list(&rights.publish),
        list(&rights.subscribe)
    );
}

/// The folder in which the keys of an engine lie: `keys/<user>.nk`, one file per user, and `outsiders.json` with the public
/// keys of programs of other people.
#[derive(Clone, Debug)]
pub struct Access(PathBuf);

/// A program of other people, as it stands in `outsiders.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What it is.
    pub kind: Outsider,
    /// Under which name.
    pub name: Token,
    /// Its public key (`U…`).
    pub key: String,
}

impl Access {
    /// In this folder.
    pub fn of(folder: impl Into<PathBuf>) -> Access {
        Access(folder.into())
    }

    /// Where the keys lie.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Where the key of a user lies.
    pub fn key(&self, user: &str) -> PathBuf {
        key_file(&self.keys(), user)
    }

    /// Makes the keys that are missing, in folders that only their owner may look into, and says whom the broker is to know.
    pub fn prepare(&self) -> Result<Users, Error> {
        private_folder(&self.0)?;
        private_folder(&self.keys())?;
        for role in Role::ALL {
            let path = self.key(role.as_str());
            if !path.exists() {
                Key::generate().write(&path)?;
            }
        }
        self.users()
    }

    /// Whom the broker is to know, by the keys that are there.
    pub fn users(&self) -> Result<Users, Error> {
        let mut users = Users::default();
        for role in Role::ALL {
            users.add(role, &Key::read(&self.key(role.as_str()))?.public());
        }
        for known in self.outsiders()? {
            users.invite(known.kind, known.name, &known.key);
        }
        Ok(users)
    }

    /// The programs of other people that the broker is to know.
    pub fn outsiders(&self) -> Result<Vec<Known>, Error> {
        let path = self.0.join("outsiders.json");
        let read = file::read(&path).map_err(|source| io("reading", &path, source))?;
        let Some(bytes) = read else { return Ok(Vec::new()) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map_err(|error| Error::Key { path, why: format!("it is no list of programs: {error}") })
    }

    /// Makes a key for a program of other people, writes its secret half to `to`, and remembers its public half. The name
    /// must be new.
    pub fn invite(&self, kind: Outsider, name: &Token, to: &Path) -> Result<Known, Error> {
        let mut all = self.outsiders()?;
        if let Some(known) = all.iter().find(|known| known.kind == kind && known.name == *name) {
            let why = format!("{} has a key already, {}: remove it first", kind.user(name), known.key);
            return Err(Error::Key { path: to.to_owned(), why });
        }
        if to.exists() {
            let why = "it is there already, and no key is written over another".to_owned();
            return Err(Error::Key { path: to.to_owned(), why });
        }
        let key = Key::generate();
        let known = Known { kind, name: name.clone(), key: key.public() };
        all.push(known.clone());
        key.write(to)?;
        self.remember(&all)?;
        Ok(known)
    }

    /// Forgets a program of other people; none when it was not known. Its key file is its own.
    pub fn dismiss(&self, kind: Outsider, name: &Token) -> Result<Option<Known>, Error> {
        let mut all = self.outsiders()?;
        let found = all.iter().position(|known| known.kind == kind && known.name == *name);
        let Some(place) = found else { return Ok(None) };
        let gone = all.remove(place);
        self.remember(&all)?;
        Ok(Some(gone))
    }

    fn remember(&self, all: &[Known]) -> Result<(), Error> {
        private_folder(&self.0)?;
        let path = self.0.join("outsiders.json");
        let text = serde_json::to_vec_pretty(all)
            .map_err(|error| Error::broker(format!("writing {}", path.display()), error))?;
        file::replace(&path, &text, Readers::Owner).map(drop).map_err(|source| io("writing", &path, source))
    }
}

fn io(what: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { what: format!("{what} {}", path.display()), source }
}

/// Writes who may do what to a file that a server's configuration includes.
pub fn write_configuration(users: &Users, path: &Path) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| io("making", folder, source))?;
    }
    // Public keys only: whoever runs the server reads it.
    file::replace(path, users.configuration().as_bytes(), Readers::Everyone)
        .map(drop)
        .map_err(|source| io("writing", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_in_the_list_of_lines() {
        let text = include_str!("subjects.rs");
        let mut module = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("pub mod ") {
                module = name.trim_end_matches(" {");
            }
            if let Some(rest) = line.strip_prefix("    pub const ") {
                let name = rest.split(':').next().unwrap();
                assert!(text.contains(&format!("    &{module}::{name},")), "{module}::{name} is in no list");
            }
        }
    }

    #[test]
    fn nobody_has_a_list_that_is_empty_or_allows_everything() {
        for role in Role::ALL {
            let rights = rights(role);
            for list in [&rights.publish, &rights.subscribe] {
                assert!(!list.is_empty() && !list.contains(">") && !list.contains("*"), "{role}: {list:?}");
            }
        }
    }

    #[test]
    fn only_the_provisioner_makes_streams_and_nobody_takes_anything_away() {
        for role in Role::ALL {
            for subject in rights(role).publish {
                let removes =
                    ["DELETE", "PURGE", "UPDATE", "RESTORE", "SNAPSHOT", "LEADER", "PAUSE", "RESET"]
                        .iter()
                        .any(|word| subject.contains(word));
                // A refused event may hold a secret, which is overwritten where it came in.
                let is_inbox = subject == "$JS.API.STREAM.MSG.DELETE.INBOX";
                let may = is_inbox && role == Role::Orchestrator;
                assert!(!removes || may, "{role} may publish {subject}");
                let makes = subject.contains("STREAM.CREATE");
                assert!(!makes || role == Role::Provisioner, "{role} may publish {subject}");
            }
        }
    }

    #[test]
    fn an_operator_hears_no_calls_and_follows_deployments_only() {
        let rights = rights(Role::Operator);

        let mut consumers = rights.publish.iter().filter(|subject| subject.contains("CONSUMER"));
        assert!(consumers.all(|subject| subject.contains(".LOG_deployment_")), "{rights:?}");
        assert!(!rights.subscribe.iter().any(|subject| subject.contains(".rpc.")), "{rights:?}");
        assert!(!rights.publish.contains("_INBOX.>"), "an operator could answer in the name of others");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let access = Access::of(folder.path().join("access"));
        access.prepare().unwrap();
        let path = access.key("operator");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&access.keys())), (0o600, 0o700));
        let same = access.users().unwrap();

        assert_eq!(access.prepare().unwrap(), same, "keys that are there stay");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Key::read(&path).unwrap_err().to_string();

        assert!(error.contains("operator.nk") && error.contains("chmod 600"), "{error}");
    }
}
