//! `codectl access …`: keys, and whom the NATS server knows.

use std::{fs, path::Path};

use bus::{Bus, Key, Outsider, Role, key_file};
use model::{ReplicaId, Token};
use serde_json::json;

use crate::{
    cli::{
        Global,
        access::{Access, Outsiders, Place, Prepare},
    },
    connect::key,
    failure::Failure,
    home::Home,
    output::{self, paint},
    sources,
};

/// `codectl access`
pub async fn access(global: &Global, access: Access) -> Result<u8, Failure> {
    match access {
        Access::Publisher(which) => outsiders(global, Outsider::Publisher, which),
        Access::Expert(which) => outsiders(global, Outsider::Expert, which),
        Access::Provision { config } => provision(global, config.as_deref()).await,
        Access::Prepare(prepare) => hand_out(&prepare),
    }
}

fn failed(error: bus::Error) -> Failure {
    Failure::other(chassis::chain(&error))
}

/// The keys that are meant, and how the server is told of a change.
struct Keys<'a> {
    home: Home,
    place: &'a Place,
    access: bus::Access,
}

impl Keys<'_> {
    fn of<'a>(global: &Global, place: &'a Place) -> Keys<'a> {
        let home = Home::of(global);
        let access = place.keys.as_ref().map_or_else(|| home.access(), bus::Access::of);
        Keys { home, place, access }
    }

    /// Has the server know whom the keys say; what is left to do is said in the end.
    fn tell(&self) -> Result<Option<String>, Failure> {
        match &self.place.configuration {
            Some(file) => {
                let users = self.access.users().map_err(failed)?;
                bus::access::write_configuration(&users, file).map_err(failed)?;
                Ok(Some(format!("the servers that include {} must read it again: SIGHUP", file.display())))
            }
            None => self.home.tell_server().map(|()| None),
        }
    }
}

fn outsiders(global: &Global, kind: Outsider, which: Outsiders) -> Result<u8, Failure> {
    match which {
        Outsiders::Add { name, to, place } => {
            let keys = Keys::of(global, &place);
            if place.keys.is_none() {
                keys.access.prepare().map_err(failed)?;
            }
            let file = to.unwrap_or_else(|| keys.access.key(&kind.user(&name)));
            let known = keys.access.invite(kind, &name, &file).map_err(failed)?;
            let left = keys.tell()?;
            if output::json() {
                output::document(&json!({"name": name, "key": known.key, "file": file, "left": left}));
                return Ok(0);
            }
            output::line(format!("{} {}, {}", paint::good("added"), kind.user(&name), known.key));
            output::line(format!("its key: {}", file.display()));
            output::line(paint::faint(how(kind, &name)));
            left.iter().for_each(|left| output::line(format!("{} {left}", paint::warn("note:"))));
        }
        Outsiders::List { place } => {
            let mut all = Keys::of(global, &place).access.outsiders().map_err(failed)?;
            all.retain(|known| known.kind == kind);
            if output::json() {
                output::document(&all);
                return Ok(0);
            }
            all.iter()
                .for_each(|known| output::line(format!("{}  {}", known.name, paint::faint(&known.key))));
            if all.is_empty() {
                output::line("nobody has such a key");
            }
        }
        Outsiders::Remove { name, place } => {
            let keys = Keys::of(global, &place);
            let gone = keys.access.dismiss(kind, &name).map_err(failed)?;
            let gone = gone.ok_or_else(|| Failure::invalid(format!("{} has no key", kind.user(&name))))?;
            let left = keys.tell()?;
            if output::json() {
                output::document(&json!({"name": name, "key": gone.key, "left": left}));
                return Ok(0);
            }
            output::line(format!("{} {}, {}", paint::good("removed"), kind.user(&name), gone.key));
            left.iter().for_each(|left| output::line(format!("{} {left}", paint::warn("note:"))));
        }
    }
    Ok(0)
}

/// How a program uses its key.
fn how(kind: Outsider, name: &Token) -> String {
    let subject = kind.subject(name);
    match kind {
        Outsider::Publisher => {
            format!(
                "it publishes CloudEvents on {subject} and hears answers below _INBOX.{}",
                kind.user(name)
            )
        }
        Outsider::Expert => format!("it answers questions on {subject} in the queue {name}"),
    }
}

async fn provision(global: &Global, config: Option<&Path>) -> Result<u8, Failure> {
    let common = sources::of::<orchestrator::Config>(&sources::read(config)?)?.0;
    let home = Home::of(global);
    let running = home.running().map(|running| running.nats);
    let url = global.nats.clone().or(running).unwrap_or_else(|| common.nats_url.clone());
    let role = Role::Provisioner;
    let settings = common.bus(role.as_str(), &ReplicaId::new());
    let key = key(global, role).or(settings.key.clone());
    let settings = bus::Settings { url, key, ..settings };
    Bus::connect(&settings).await.map_err(failed)?.ensure().await.map_err(failed)?;
    if output::json() {
        output::document(&json!({"nats": settings.url}));
    } else {
        output::line(format!("{} all streams and consumers are there", paint::good("ready")));
    }
    Ok(0)
}

fn hand_out(prepare: &Prepare) -> Result<u8, Failure> {
    let access = bus::Access::of(&prepare.to);
    let users = access.prepare().map_err(failed)?;
    bus::access::write_configuration(&users, &prepare.configuration).map_err(failed)?;
    if let Some(folder) = &prepare.hand_out {
        for role in Role::ALL {
            let place = folder.join(role.service().unwrap_or(role.as_str()));
            fs::create_dir_all(&place)
                .map_err(|error| Failure::other(format!("making {}: {error}", place.display())))?;
            let key = Key::read(&access.key(role.as_str())).map_err(failed)?;
            key.write(&key_file(&place, role.as_str())).map_err(failed)?;
        }
    }
    if output::json() {
        output::document(&json!({"keys": access.keys(), "configuration": prepare.configuration}));
    } else {
        output::line(format!("{} the keys in {}", paint::good("ready"), access.keys().display()));
    }
    Ok(0)
}
