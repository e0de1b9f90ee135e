//! 3: the tools a plan needs are registered and healthy. There is nothing to ask yet, and no plan names it.

use model::step::StepResult;

use crate::{Error, error::Result};

/// Fails: no gateway is there that could be asked.
pub fn run() -> Result<StepResult> {
    Err(Error::NotImplemented("AGT-03: it belongs to the MCP issue, no tool registry is there to ask"))
}
