//! Giving up rights for good, in a thread that then starts the program and ends.

use std::{
    io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::{Limit, Missing, Profile, Unenforced, Writes, syscalls};

/// What `start` gave, and what is not in force for it.
pub(crate) type Started<T> = (io::Result<T>, Vec<Unenforced>);

/// Starts with what the profile denies. Refuses by giving back what cannot be enforced, when that is asked for.
pub(crate) fn start<T: Send>(
    profile: &Profile,
    missing: Missing,
    start: impl FnOnce() -> io::Result<T> + Send,
) -> Result<Started<T>, Unenforced> {
    if !profile.is_confined() {
        return Ok((start(), Vec::new()));
    }
    let confined = || {
        let unenforced = confine(profile);
        let refused = unenforced.iter().find(|one| !one.what.is_second_lock());
        match refused.filter(|_| missing == Missing::Refused) {
            Some(refused) => Err(refused.clone()),
            None => Ok((start(), unenforced)),
        }
    };
    let ended = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn_scoped(scope, confined)
            .map(|own| own.join())
    });
    match ended {
        Ok(Ok(started)) => started,
        Ok(Err(_)) => Ok((Err(io::Error::other("the thread that starts it panicked")), Vec::new())),
        Err(error) => Ok((Err(error), Vec::new())),
    }
}

/// Gives up what this thread may do; what it could not give up.
fn confine(profile: &Profile) -> Vec<Unenforced> {
    let mut unenforced = Vec::new();
    if profile.offline
        && let Err(error) = unshare(CloneFlags::CLONE_NEWNET)
    {
        unenforced.push(Unenforced::new(Limit::Namespace, error));
    }
    unenforced.extend(powers());
    unenforced.extend(neighbours());
    if let Writes::Below(folders) = &profile.writes {
        match below(folders) {
            Ok(RulesetStatus::FullyEnforced) => {}
            Ok(RulesetStatus::PartiallyEnforced) => {
                let why = "this kernel's Landlock knows only a part of it";
                unenforced.push(Unenforced::new(Limit::Writes, why));
            }
            Ok(RulesetStatus::NotEnforced) => {
                unenforced.push(Unenforced::new(Limit::Writes, "this kernel has no Landlock"));
            }
            Err(why) => unenforced.push(Unenforced::new(Limit::Writes, why)),
        }
    }
    if let Err(why) = filter(profile.offline) {
        unenforced.push(Unenforced::new(Limit::Syscalls, &why));
        if profile.offline {
            unenforced.push(Unenforced::new(Limit::Network, why));
        }
    }
    unenforced
}

fn filter(offline: bool) -> Result<(), String> {
    let filters = syscalls::filters(offline).map_err(|error| format!("seccomp: {error}"))?;
    for filter in &filters {
        seccompiler::apply_filter(filter).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

/// Powers of root that reach past the other locks: by `CAP_PERFMON` alone the memory of others is read in spite of Landlock.
const POWERS: [CapabilitySet; 18] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::PERFMON,
    CapabilitySet::BPF,
    CapabilitySet::CHECKPOINT_RESTORE,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_TIME,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::SYS_TTY_CONFIG,
    CapabilitySet::SYSLOG,
    CapabilitySet::MKNOD,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::AUDIT_READ,
    CapabilitySet::LINUX_IMMUTABLE,
];

/// The program never has these, also when it runs as root. Whoever is not root has none and can give none up.
fn powers() -> Option<Unenforced> {
    let lost = POWERS.iter().find_map(|power| remove_capability_from_bounding_set(*power).err())?;
    let is_root = nix::unistd::geteuid().is_root();
    is_root.then(|| Unenforced::new(Limit::Neighbours, format!("capabilities: {lost}")))
}

/// No signals to processes outside, and none of their abstract sockets. What the kernel then also keeps from us is their
/// memory and environment.
fn neighbours() -> Option<Unenforced> {
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let scopes = Scope::Signal | Scope::AbstractUnixSocket;
        // Whoever makes devices reaches all memory by way of them.
        let devices = AccessFs::MakeBlock | AccessFs::MakeChar;
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        let ruleset = ruleset.handle_access(devices)?.scope(scopes)?;
        Ok(ruleset.create()?.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => None,
        Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced) => {
            Some(Unenforced::new(Limit::Neighbours, "this kernel's Landlock is older than version 6"))
        }
        Err(error) => Some(Unenforced::new(Limit::Neighbours, format!("Landlock: {error}"))),
    }
}

/// Lets this thread write below these folders only.
fn below(folders: &[PathBuf]) -> Result<RulesetStatus, String> {
    let writes = AccessFs::from_write(ABI::V3);
    // Whoever may make devices writes to disks by way of them.
    let inside = writes & !(AccessFs::MakeBlock | AccessFs::MakeChar);
    let null = writes & AccessFs::from_file(ABI::V3);
    let mut places = vec![(Path::new("/dev/null"), null)];
    places.extend(folders.iter().map(|folder| (folder.as_path(), inside)));
    let failed = |error: RulesetError| format!("Landlock: {error}");
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(writes).map_err(failed)?;
    let mut ruleset = ruleset.create().map_err(failed)?;
    for (place, access) in places {
        let opened = PathFd::new(place).map_err(|error| format!("Landlock: {error}"))?;
        let rule = PathBeneath::new(opened, access);
        ruleset = ruleset.add_rule(rule).map_err(failed)?;
    }
    Ok(ruleset.restrict_self().map_err(failed)?.ruleset)
}
