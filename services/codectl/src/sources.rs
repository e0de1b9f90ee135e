//! Settings of the services that run here.

use std::path::Path;

use chassis::config::{Common, Config, Sources};

use crate::failure::Failure;

/// The file, if there is one, and the environment.
pub fn read(config: Option<&Path>) -> Result<Sources, Failure> {
    Sources::read(config).map_err(|error| Failure::invalid(chassis::chain(&error)))
}

/// The settings of one service.
pub fn of<C: Config>(sources: &Sources) -> Result<(Common, C), Failure> {
    let loaded = sources.load::<C>().map_err(|error| Failure::invalid(error.to_string()))?;
    Ok((loaded.common, loaded.config))
}
