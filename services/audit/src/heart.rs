//! What is kept, in which order, once each, and what it means. Values in, values out.

pub mod admit;
pub mod detect;
pub mod facts;
pub mod family;
pub mod handed;
