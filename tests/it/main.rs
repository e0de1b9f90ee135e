//! The one integration binary: what holds across crates.

mod house;
mod sim;
