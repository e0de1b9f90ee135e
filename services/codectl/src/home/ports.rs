//! The ports on which an engine is found: those it had before, as long as nobody else has taken them.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
};

use ground::file::{self, Access};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Ports of 127.0.0.1; 0 where none is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// Of the NATS server.
    pub nats: u16,
    /// Of `/live`, `/ready` and `/metrics`.
    pub health: u16,
}

impl Ports {
    /// Those of the engine that last ran in this folder. A file that cannot be read is as good as none: it only saves
    /// clients from looking again.
    pub fn last(home: &Path) -> Ports {
        fs::read(place(home)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Those of them that nobody has taken; 0 in place of the others.
    pub fn still_free(self) -> Ports {
        let free = |port: u16| if is_free(port).is_ok() { port } else { 0 };
        Ports { nats: free(self.nats), health: free(self.health) }
    }

    /// The next engine here takes the same.
    pub fn remember(&self, home: &Path) -> Result<(), Failure> {
        let place = place(home);
        let text = serde_json::to_vec_pretty(self).map_err(|error| Failure::other(error.to_string()))?;
        let failed = |error: io::Error| Failure::other(format!("writing {}: {error}", place.display()));
        file::replace(&place, &text, Access::Everyone).map(drop).map_err(failed)
    }

    /// What to tell people whose clients and scrapers look for the engine at the ports it had `before`.
    pub fn moved(&self, before: Ports) -> Vec<String> {
        let parts = [("the NATS server", before.nats, self.nats), ("/metrics", before.health, self.health)];
        let moved = parts.into_iter().filter(|(_, before, now)| *before != 0 && before != now);
        moved
            .map(|(what, before, now)| {
                format!(
                    "port {before}, where {what} was before, is not free: it is at port {now} from now on"
                )
            })
            .collect()
    }
}

/// Whether a port of this machine can be listened on.
pub fn is_free(port: u16) -> io::Result<()> {
    TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), port)).map(drop)
}

fn place(home: &Path) -> std::path::PathBuf {
    home.join("ports.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_remembered_and_a_ruined_file_is_as_good_as_none() {
        let home = tempfile::tempdir().unwrap();
        let ports = Ports { nats: 1, health: 2 };

        assert_eq!(Ports::last(home.path()), Ports::default());
        ports.remember(home.path()).unwrap();
        assert_eq!(Ports::last(home.path()), ports);
        fs::write(place(home.path()), "{\"nats\":").unwrap();
        assert_eq!(Ports::last(home.path()), Ports::default());
    }

    #[test]
    fn a_port_that_somebody_took_is_not_asked_for_and_that_it_moved_is_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().map(|address| (address.port(), taken)).unwrap();
        let before = Ports { nats: taken.0, health: 0 };

        assert_eq!(before.still_free(), Ports::default());
        let said = Ports { nats: 4222, health: 9 }.moved(before);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains(&taken.0.to_string()) && said[0].contains("4222"), "{said:?}");
        assert!(before.moved(before).is_empty());
    }
}
