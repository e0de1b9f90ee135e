//! The bounds that keep every queue, document and wait finite.

use std::time::Duration;

/// Largest spec in bytes that is read. 1 MiB is NATS' default message limit.
pub const SPEC_BYTES: usize = 512 * 1024;
/// Deepest nesting of a spec.
pub const SPEC_DEPTH: usize = 32;
/// Most nodes a spec may expand to, aliases included; stops a YAML bomb.
pub const SPEC_NODES: usize = 50_000;
/// Most modules in one release.
pub const MODULES: usize = 100;
/// Most replicas of one module.
pub const REPLICAS: u32 = 1000;
/// Most findings kept from one step; the rest is counted.
pub const FINDINGS: usize = 200;
/// Attempts of a step that errors for technical reasons before the deployment rolls back.
pub const STEP_ATTEMPTS: u32 = 5;
/// Attempts of a rollback step before a human is called.
pub const ROLLBACK_ATTEMPTS: u32 = 8;
/// Most deployments that wait in one target's queue.
pub const TARGET_QUEUE: usize = 100;

/// Default bound of a whole deployment.
pub const TOTAL_DEADLINE: Duration = Duration::from_secs(3600);
/// Default bound of a step without progress.
pub const STEP_DEADLINE: Duration = Duration::from_secs(600);
/// Default bound of a wait for a person.
pub const HUMAN_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Default bound of a whole rollback before a human is called.
pub const ROLLBACK_DEADLINE: Duration = Duration::from_secs(300);
