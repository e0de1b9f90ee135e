//! Serves the emulators on one address.

fn main() {}
