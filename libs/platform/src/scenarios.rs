//! What every driver must do, as tests that run against any of them.
//!
//! A driver gives a [`Fixture`]; [`crate::scenario_tests!`] makes one test per scenario from it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests; drivers run them as such"
)]

mod cases;
pub mod sample;
mod stage;

pub use cases::*;
pub use stage::{Fixture, Program, Scripted, Stage, fence, module_of, run};

/// Makes one `#[tokio::test]` per scenario. `$fixture` is an expression of type `Arc<dyn Fixture>`, evaluated per test.
#[macro_export]
macro_rules! scenario_tests {
    ($fixture:expr) => {
        $crate::scenario_tests!(@each $fixture;
            a_start_is_idempotent
            a_new_driver_finds_what_an_old_one_started
            a_stop_is_idempotent
            a_lower_fence_is_refused
            an_exit_code_is_seen_and_the_next_start_counts
            a_crash_loop_shows_in_the_restarts
            concurrent_starts_yield_one_instance
            an_instance_that_is_never_ready_runs_out_of_time
            what_is_never_given_is_refused
            capacity_counts_what_is_reserved
            commands_run_beside_the_instance
            targets_do_not_see_each_other
        );
    };
    (@real $fixture:expr) => {
        $crate::scenario_tests!($fixture);
        $crate::scenario_tests!(@each $fixture;
            configuration_environment_and_secrets_arrive
            a_memory_limit_is_enforced
            a_program_that_ignores_the_end_is_killed_with_its_children
            a_missing_artefact_is_named
            host_folders_outside_the_root_are_refused
            volumes_survive_their_instances
            slots_have_addresses_of_their_own
        );
    };
    (@each $fixture:expr; $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                if let Some(fixture) = $fixture {
                    $crate::scenarios::run(fixture, $crate::scenarios::$name).await;
                }
            }
        )*
    };
}
