//! Programs that reach nobody.

use std::{path::Path, process::Command};

/// How a program is run without a network.
pub struct Closed {
    /// In a namespace of its own, where even the loopback is down.
    unshare: bool,
}

impl Closed {
    /// Tries whether this machine allows it.
    pub fn new() -> Closed {
        let tried = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).output();
        Closed { unshare: tried.is_ok_and(|output| output.status.success()) }
    }

    /// What stands before the command on a command line.
    pub fn words(&self) -> &'static str {
        if self.unshare { "unshare --user --map-root-user --net " } else { "" }
    }

    /// What is true of the network of such a program.
    pub fn proof(&self) -> &'static str {
        if self.unshare {
            "the network closed: no interface, not even the loopback"
        } else {
            "no engine named (this machine allows no network namespace, so the network was not closed)"
        }
    }

    /// The program with its arguments still to come.
    pub fn command(&self, program: &Path) -> Command {
        if !self.unshare {
            return Command::new(program);
        }
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).arg(program);
        command
    }
}
