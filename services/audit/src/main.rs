//! Starts the audit log.
fn main() {}
