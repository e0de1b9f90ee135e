//! The steps that change what runs and where traffic goes. Each looks at what is and drives it to what is asked, so
//! that it can be run again from any point; each write carries the step's fence.

pub mod fleet;
pub mod front_door;
pub mod hook;
pub mod leftovers;
pub mod peers;
pub mod planes;
pub mod roll;
pub mod routes;
pub mod scale;
pub mod secrets;
#[cfg(test)]
pub(crate) mod tests;
pub mod weight;
