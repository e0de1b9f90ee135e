//! Asks: a question goes to a panel of experts, and one opinion comes back.

#![warn(missing_docs)]

pub mod heart;
