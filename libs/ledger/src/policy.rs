//! Trust policies: which logs are believed, and whose cosignatures they need.

use std::{collections::BTreeMap, str::FromStr};

use serde::Serialize;

use crate::{Checkpoint, Error, KeyKind, SignedCheckpoint, VerifyingKey, checkpoint::Signed};

const WHAT: &str = "policy";
/// Most logs, witnesses and groups.
const MAX_LINES: usize = 1024;

/// A [C2SP tlog-policy](https://c2sp.org/tlog-policy).
///
/// Stricter than the format asks: a log that is listed with keys of several kinds must have signed with each kind, and
/// a policy without a log believes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifyingKey>,
    witnesses: BTreeMap<String, WitnessLine>,
    groups: BTreeMap<String, Group>,
    /// `none` when it is absent here; a policy without the line is refused.
    quorum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct WitnessLine {
    key: VerifyingKey,
    url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    least: usize,
    members: Vec<String>,
}

/// Who vouches for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The log's own signatures.
    pub log: Vec<Signed>,
    /// The witnesses of the policy that cosigned, by the policy's names.
    pub witnesses: Vec<Signed>,
}

impl Policy {
    /// A policy that trusts these keys of a log without a witness.
    pub fn of_log(keys: &[VerifyingKey]) -> Policy {
        Policy { logs: keys.to_vec(), witnesses: BTreeMap::new(), groups: BTreeMap::new(), quorum: None }
    }

    /// The logs' keys.
    pub fn logs(&self) -> &[VerifyingKey] {
        &self.logs
    }

    /// Names, keys and addresses of the witnesses.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &VerifyingKey, Option<&str>)> {
        self.witnesses.iter().map(|(name, line)| (name.as_str(), &line.key, line.url.as_deref()))
    }

    /// The checkpoint is signed by a trusted log and cosigned by a quorum.
    pub fn check(&self, signed: &SignedCheckpoint) -> Result<Trust, Error> {
        let (Checkpoint { size, .. }, log) = signed.verify_log(&self.logs)?;
        let cosigned = signed.verify(self.witnesses.values().map(|line| &line.key))?;
        let names = self.witnesses.iter().filter_map(|(name, line)| {
            let (key, time) = cosigned.iter().find(|(key, _)| **key == line.key)?;
            Some(Signed { name: name.clone(), kind: key.kind().as_str(), time: *time })
        });
        let witnesses: Vec<Signed> = names.collect();
        if let Some(quorum) = &self.quorum {
            let has = |name: &str| witnesses.iter().any(|witness| witness.name == name);
            if !self.witnessed(quorum, &has) {
                let who: Vec<&str> = witnesses.iter().map(|witness| witness.name.as_str()).collect();
                return Err(Error::Untrusted(format!(
                    "the checkpoint of size {size} lacks the quorum {quorum}: cosigned by {}",
                    if who.is_empty() { "no witness of the policy".to_owned() } else { who.join(", ") }
                )));
            }
        }
        Ok(Trust { log, witnesses })
    }

    /// Groups name only what stands above them, so this ends.
    fn witnessed(&self, name: &str, has: &impl Fn(&str) -> bool) -> bool {
        match self.groups.get(name) {
            Some(group) => {
                group.members.iter().filter(|member| self.witnessed(member, has)).count() >= group.least
            }
            None => has(name),
        }
    }

    fn take(
        &mut self,
        words: &[&str],
        quorum: &mut Option<Option<String>>,
        used: &mut Vec<String>,
    ) -> Result<(), String> {
        match words {
            ["log", vkey] | ["log", vkey, _] => self.take_log(vkey),
            ["witness", name, vkey] => self.take_witness(name, vkey, None),
            ["witness", name, vkey, url] => self.take_witness(name, vkey, Some(url)),
            ["group", name, least, members @ ..] => self.take_group(name, least, members, used),
            ["quorum", name] => {
                if quorum.is_some() {
                    return Err("a second line `quorum`".to_owned());
                }
                if *name != "none" && !self.defines(name) {
                    return Err(format!("{name} is not defined above"));
                }
                *quorum = Some((*name != "none").then(|| (*name).to_owned()));
                Ok(())
            }
            _ => {
                let line: String = words.join(" ").chars().take(60).collect();
                Err(format!("{line:?} is not a line of a policy"))
            }
        }
    }

    fn take_log(&mut self, vkey: &str) -> Result<(), String> {
        let key = key(vkey)?;
        if key.kind() == KeyKind::Ed25519Cosigner {
            return Err("a log does not sign with a witness's kind of key".to_owned());
        }
        self.is_new(&key)?;
        self.logs.push(key);
        Ok(())
    }

    fn take_witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = key(vkey)?;
        if !key.kind().is_timestamped() {
            return Err("a witness signs with a cosigner's kind of key".to_owned());
        }
        self.is_new(&key)?;
        let name = self.new_name(name)?;
        self.witnesses.insert(name, WitnessLine { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn take_group(
        &mut self,
        name: &str,
        least: &str,
        members: &[&str],
        used: &mut Vec<String>,
    ) -> Result<(), String> {
        let name = self.new_name(name)?;
        for member in members {
            if !self.defines(member) {
                return Err(format!("{member} is not defined above"));
            }
            if used.iter().any(|used| used == member) {
                return Err(format!("{member} is a member twice"));
            }
            used.push((*member).to_owned());
        }
        let least = match least {
            "any" => 1,
            "all" => members.len(),
            number => crate::text::decimal(WHAT, number)
                .map_err(|_| format!("{number} is not a number"))?
                .try_into()
                .unwrap_or(usize::MAX),
        };
        if least == 0 || least > members.len() {
            return Err(format!("{least} of {} members", members.len()));
        }
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.insert(name, Group { least, members });
        Ok(())
    }

    fn defines(&self, name: &str) -> bool {
        self.witnesses.contains_key(name) || self.groups.contains_key(name)
    }

    fn new_name(&self, name: &str) -> Result<String, String> {
        if name == "none" || self.defines(name) {
            return Err(format!("the name {name} is taken"));
        }
        Ok(name.to_owned())
    }

    fn is_new(&self, key: &VerifyingKey) -> Result<(), String> {
        let mut known = self.logs.iter().chain(self.witnesses.values().map(|line| &line.key));
        if known.any(|known| known.bytes() == key.bytes()) {
            return Err(format!("the key of {} stands here twice", key.name()));
        }
        Ok(())
    }
}

fn key(vkey: &str) -> Result<VerifyingKey, String> {
    vkey.parse().map_err(|error: Error| error.to_string())
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(file: &str) -> Result<Policy, Error> {
        let mut policy = Policy::of_log(&[]);
        let (mut quorum, mut used) = (None, Vec::new());
        if file.chars().any(|c| c.is_control() && c != '\t' && c != '\n') {
            return Err(Error::format(WHAT, "it holds control characters"));
        }
        for (number, line) in file.split('\n').enumerate() {
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            if words.is_empty() || words[0].starts_with('#') {
                continue;
            }
            if number > MAX_LINES {
                return Err(Error::format(WHAT, "it has more than 1024 lines"));
            }
            policy
                .take(&words, &mut quorum, &mut used)
                .map_err(|why| Error::format(WHAT, format!("line {}: {why}", number + 1)))?;
        }
        policy.quorum = quorum.ok_or_else(|| Error::format(WHAT, "no line `quorum`"))?;
        if policy.logs.is_empty() {
            return Err(Error::format(WHAT, "no line `log`: nothing would be believed"));
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests;
