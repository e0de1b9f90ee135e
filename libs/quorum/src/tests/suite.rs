//! openraft's own tests of a log and a state machine, on ours.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    state::State,
    store::{Log, Opening, Store, system},
    types::{StorageError, Types},
};

/// A state of nothing.
#[derive(Default, Serialize, Deserialize)]
struct Nothing;

impl State for Nothing {
    const LEVEL: u32 = 1;
    type Command = ();
    type Reply = ();

    fn apply(&mut self, _index: u64, (): ()) {}
}

struct Builder;

impl StoreBuilder<Types, Log, Machine<Nothing>, (tempfile::TempDir, Arc<Store>)> for Builder {
    async fn build(&self) -> Result<((tempfile::TempDir, Arc<Store>), Log, Machine<Nothing>), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening {
            folder: folder.path().to_owned(),
            cluster: "suite".to_owned(),
            disk: system(),
            bug: None,
        };
        let store = Store::open(opening).unwrap();
        let machine = Machine::open(&store.folder, store.snapshot_path()).unwrap();
        let log = store.log.clone();
        Ok(((folder, Arc::new(store)), log, machine))
    }
}

#[test]
fn the_tests_of_openraft_for_storage_pass() {
    Suite::test_all(Builder).unwrap();
}
