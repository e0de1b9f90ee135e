//! What is replicated.

use serde::{Serialize, de::DeserializeOwned};

/// A state that all members bring forth by applying the same commands in the same order.
///
/// `apply` decides by the state, the command and the index alone: no clock, no chance, no order of a hash map. A time
/// that matters stands in the command. All of it is held in memory and written as JSON into snapshots, at most 256 MiB.
pub trait State: Serialize + DeserializeOwned + Default + Send + Sync + 'static {
    /// The newest commands that this program understands. It begins at 1 and grows by one whenever a command is added
    /// or the meaning of one changes. The cluster stands at a level too, and takes no command above it; it is raised
    /// once all members run a program that knows the level. A member that meets a newer one stops instead of guessing.
    const LEVEL: u32;

    /// What is asked of the state.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it answers. Remembered for retries, so it is short.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// The level that a command needs.
    fn level(_command: &Self::Command) -> u32 {
        1
    }

    /// Applies one command. `index` is its place in the log: greater for each that follows, the same for commands that
    /// came together.
    fn apply(&mut self, index: u64, command: Self::Command) -> Self::Reply;
}
