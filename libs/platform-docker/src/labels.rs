//! The labels that carry an instance's facts, and what a target's network is called.

use std::collections::HashMap;

use model::{Fence, TargetId};
use platform::StartOrder;

pub(crate) const MANAGED: &str = "code.managed";
pub(crate) const TARGET: &str = "code.target";
pub(crate) const DEPLOYMENT: &str = "code.deployment";
pub(crate) const MODULE: &str = "code.module";
pub(crate) const REVISION: &str = "code.revision";
pub(crate) const SLOT: &str = "code.slot";
pub(crate) const FENCE: &str = "code.fence";
pub(crate) const RESTARTS: &str = "code.restarts";
/// JSON: `[["http", 8080], …]` in the module's order.
pub(crate) const PORTS: &str = "code.ports";
pub(crate) const CPU: &str = "code.cpu-millis";
pub(crate) const MEMORY: &str = "code.memory-bytes";
pub(crate) const TARGET_NAME: &str = "code.target-name";
const VERSION: &str = "code.version";

/// All labels of an instance. The spec's own come first and never replace ours.
pub(crate) fn of(order: &StartOrder, ports: &[(String, u16)], restarts: u32) -> HashMap<String, String> {
    let foreign = order.labels.iter().filter(|(name, _)| !name.starts_with("code."));
    let mut labels: HashMap<String, String> =
        foreign.map(|(name, value)| (name.clone(), value.clone())).collect();
    labels.extend(of_target(&order.target));
    let resources = &order.module.resources;
    labels.extend(
        [
            (DEPLOYMENT, order.deployment.to_string()),
            (MODULE, order.module.name.to_string()),
            (VERSION, order.module.version.clone()),
            (REVISION, order.revision.to_string()),
            (SLOT, order.slot.to_string()),
            (FENCE, order.fence.to_string()),
            (RESTARTS, restarts.to_string()),
            (PORTS, serde_json::json!(ports).to_string()),
            (CPU, resources.reserved_cpu_millis().to_string()),
            (MEMORY, resources.reserved_memory_bytes().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    labels
}

/// The labels of what belongs to a target as a whole.
pub(crate) fn of_target(target: &TargetId) -> HashMap<String, String> {
    let labels = [(MANAGED, "true".to_owned()), (TARGET, target.token()), (TARGET_NAME, target.to_string())];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The name of a target's network, by the target's token.
pub(crate) fn network_name(target: &str) -> String {
    format!("code-{target}")
}

/// A filter for the engine's lists: everything with this label and value.
pub(crate) fn filter(label: &str, value: &str) -> Option<HashMap<String, Vec<String>>> {
    Some([("label".to_owned(), vec![format!("{label}={value}")])].into())
}

/// A fence as it stands in a label; none when it is none.
pub(crate) fn fence(text: &str) -> Option<Fence> {
    let (lock, epoch) = text.split_once('.')?;
    Some(Fence { lock: lock.parse().ok()?, epoch: epoch.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_survives_its_label() {
        let written = Fence { lock: 12, epoch: 3 };

        assert_eq!(fence(&written.to_string()), Some(written));
        assert_eq!(fence("12"), None);
    }
}
