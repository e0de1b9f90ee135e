//! The kinds of damage, and what each may cost.

use std::str::FromStr;

macro_rules! kinds {
    ($($kind:ident $name:literal $says:literal,)+) => {
        /// One kind of damage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $says] $kind,)+
        }

        impl Kind {
            /// All of them; a round's first damage is the one at its seed's place.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)+ }
            }

            /// What is done.
            pub fn says(self) -> &'static str {
                match self { $(Kind::$kind => $says,)+ }
            }
        }
    };
}

kinds! {
    EngineKilled "engine-killed" "kill -9 of the engine",
    EnginePaused "engine-paused" "SIGSTOP of the engine for up to 6 s",
    EngineStopped "engine-stopped" "the engine is stopped in order and started again",
    EngineKilledStarting "engine-killed-starting" "kill -9 of the engine, and again while it starts",
    ServerKilled "server-killed" "kill -9 of nats-server",
    ServerPaused "server-paused" "SIGSTOP of nats-server for up to 6 s",
    BothKilled "both-killed" "kill -9 of the engine and of nats-server at once",
    PlaneKilled "plane-killed" "kill -9 of the data plane",
    PlanePaused "plane-paused" "SIGSTOP of the data plane for up to 3 s",
    PlaneAndEngineKilled "plane-and-engine-killed" "kill -9 of the data plane and the engine at once",
    OldKilled "old-killed" "kill -9 of an instance of the release before",
    NewKilled "new-killed" "kill -9 of an instance of the new release",
    InstancePaused "instance-paused" "SIGSTOP of an instance for up to 3 s",
    HookPaused "hook-paused" "SIGSTOP of a hook's process group for up to 3 s",
    DiskFull "disk-full" "the disk of the engine's home is full for up to 4 s",
    DiskFullKilled "disk-full-killed" "the disk is full and the engine is killed; space comes later",
    ClockBack "clock-back" "the engine's wall clock goes back by up to 2 h, and right again",
    ClockForward "clock-forward" "the engine's wall clock goes forward by up to 2 h, and right again",
    JournalTorn "journal-torn" "the end of the deployments' journal is torn off while everything is stopped",
    JournalFlipped "journal-flipped" "a byte of the deployments' journal is flipped while everything is stopped",
    TargetTorn "target-torn" "the end of the target's journal is torn off while everything is stopped",
    TargetFlipped "target-flipped" "a byte of the target's journal is flipped while everything is stopped",
    TargetLost "target-lost" "the stream with the target's journal is gone",
    StoreOlder "store-older" "an older copy of the whole JetStream store is put back",
    ForeignRecord "foreign-record" "a foreign message on the deployment's journal",
    ForeignTarget "foreign-target" "a foreign message on the target's journal",
    InstanceFileTorn "instance-file-torn" "an instance.json is cut short",
    StepFileTorn "step-file-torn" "a file of the runner's journal is cut short while everything is stopped",
    EngineFileGone "engine-file-gone" "engine.json is gone while the engine runs, then the engine is killed",
    TileDamaged "tile-damaged" "a byte of an audit tile is flipped",
    Descriptors "descriptors" "idle clients use up what descriptors there are",
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Kind, String> {
        let found = Kind::ALL.iter().find(|kind| kind.name() == name);
        found.copied().ok_or_else(|| format!("there is no kind {name:?}; see --list"))
    }
}

/// How the engine has to be started for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As a person would.
    Plain,
    /// With a clock that a file sets.
    Clocked,
    /// With 1024 descriptors.
    Narrow,
    /// On a small disk of its own.
    SmallDisk,
}

impl Kind {
    /// How the engine is started.
    pub fn flavour(self) -> Flavour {
        match self {
            Kind::ClockBack | Kind::ClockForward => Flavour::Clocked,
            Kind::Descriptors => Flavour::Narrow,
            Kind::DiskFull | Kind::DiskFullKilled => Flavour::SmallDisk,
            _ => Flavour::Plain,
        }
    }

    /// The data plane, an instance that answers, or the tables of who answers are taken from clients: their requests may
    /// fail meanwhile. The data plane is a process of its own: what is done to the engine, to NATS and to journals is nothing
    /// to clients.
    pub fn takes_from_clients(self) -> bool {
        matches!(
            self,
            Kind::PlaneKilled
                | Kind::PlanePaused
                | Kind::PlaneAndEngineKilled
                | Kind::OldKilled
                | Kind::NewKilled
                | Kind::InstancePaused
                | Kind::InstanceFileTorn
                | Kind::StoreOlder
                | Kind::Descriptors
        )
    }

    /// A good release may be taken back for it: something that the release needs was taken from it, or the time.
    pub fn may_turn_back(self) -> bool {
        !matches!(
            self,
            Kind::EngineKilled
                | Kind::EnginePaused
                | Kind::EngineStopped
                | Kind::EngineKilledStarting
                | Kind::ServerKilled
                | Kind::ServerPaused
                | Kind::BothKilled
                | Kind::PlaneKilled
                | Kind::PlanePaused
                | Kind::PlaneAndEngineKilled
                | Kind::EngineFileGone
                | Kind::HookPaused
                | Kind::ForeignRecord
                | Kind::ForeignTarget
                | Kind::Descriptors
                | Kind::TileDamaged
        )
    }

    /// Records that were acknowledged are lost or unreadable: the deployment may not be known any more, and what is
    /// known of it may be older than what runs.
    pub fn loses_records(self) -> bool {
        matches!(
            self,
            Kind::JournalTorn
                | Kind::JournalFlipped
                | Kind::TargetTorn
                | Kind::TargetFlipped
                | Kind::TargetLost
                | Kind::StoreOlder
        )
    }

    /// What is dated meanwhile has another date than what is dated before and after.
    pub fn sets_the_clock(self) -> bool {
        matches!(self, Kind::ClockBack | Kind::ClockForward)
    }

    /// An instance is ended by it, perhaps after the verdict; then it stays ended and `drift` says so.
    pub fn takes_instances(self) -> bool {
        matches!(self, Kind::OldKilled | Kind::NewKilled | Kind::InstanceFileTorn)
    }

    /// An instance may be started a second time for it.
    pub fn starts_instances_again(self) -> bool {
        matches!(self, Kind::OldKilled | Kind::NewKilled | Kind::InstancePaused | Kind::InstanceFileTorn)
    }

    /// A hook may be begun a second time for it, when it can be undone: who ran it is gone before its end was noted.
    pub fn interrupts_steps(self) -> bool {
        !matches!(
            self,
            Kind::EnginePaused
                | Kind::ServerKilled
                | Kind::ServerPaused
                | Kind::PlaneKilled
                | Kind::PlanePaused
                | Kind::OldKilled
                | Kind::NewKilled
                | Kind::InstancePaused
                | Kind::HookPaused
                | Kind::ForeignRecord
                | Kind::ForeignTarget
                | Kind::Descriptors
                | Kind::ClockBack
                | Kind::ClockForward
        )
    }
}
