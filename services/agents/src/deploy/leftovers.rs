//! What earlier deployments left on a target: instances that neither the release nor the one before it asks for.
//!
//! A deployment that needed a human, and was closed by one, leaves what it had started. Whoever holds the target next
//! takes it away under its own fence: it is the engine's own, and nobody else may have it.

use std::collections::{BTreeMap, BTreeSet};

use model::{DeploymentId, DeploymentSpec, Fence, TargetId, Token, route::RouteTable, route::Weights};
use platform::{Instance, State};
use tracing::info;

use crate::{
    context::{Engine, side_by_side},
    error::Result,
    store::{close_routes, edit_routes},
};

/// How many are stopped side by side.
const AT_ONCE: usize = 16;

/// Those that none of the specs asks for and that were not started by `ours`: what a deployment itself leaves is for
/// its own verdict.
pub fn of(instances: Vec<Instance>, specs: &[&DeploymentSpec], ours: Option<&DeploymentId>) -> Vec<Instance> {
    let asked_for = |instance: &Instance| {
        let modules = specs.iter().filter_map(|spec| spec.module(&instance.module));
        modules.into_iter().any(|module| module.revision() == instance.revision)
    };
    let mut left = instances;
    left.retain(|instance| !asked_for(instance) && ours != Some(&instance.deployment));
    left
}

/// Takes them out of the routes, lets their requests end, and stops them. Gives by instance why one is still there; that
/// is nobody else's fault. A fence that is too low, or a platform that cannot be asked, is an error.
pub async fn clear(
    engine: &Engine,
    target: &TargetId,
    fence: Fence,
    specs: &[&DeploymentSpec],
    left: &[Instance],
) -> Result<BTreeMap<String, String>> {
    let modules: BTreeSet<&Token> = left.iter().map(|instance| &instance.module).collect();
    for module in modules {
        let known = specs.iter().any(|spec| spec.module(module).is_some());
        unroute(engine, target, fence, module, known, left).await?;
    }
    let platform = engine.platform(&target.platform)?;
    let grace = engine.config.drain.0;
    let stops: Vec<futures::future::BoxFuture<'_, _>> = left
        .iter()
        .map(|instance| -> futures::future::BoxFuture<'_, _> {
            Box::pin(async move { (instance, platform.stop(target, &instance.id, fence, grace).await) })
        })
        .collect();
    let mut troubles = BTreeMap::new();
    for (instance, stopped) in side_by_side(AT_ONCE, stops).await {
        match stopped {
            Ok(()) => {
                info!(instance = instance.id, %fence, deployment = %instance.deployment, "took a leftover away")
            }
            Err(error) => drop(troubles.insert(instance.id.clone(), chassis::chain(&error))),
        }
    }
    Ok(troubles)
}

async fn unroute(
    engine: &Engine,
    target: &TargetId,
    fence: Fence,
    module: &Token,
    known: bool,
    left: &[Instance],
) -> Result<()> {
    let key = RouteTable::key(target, module);
    let goes = |id: &str| left.iter().any(|instance| instance.id == id);
    edit_routes(engine.store.as_ref(), &key, fence, |stored| {
        let Some(mut table) = stored.cloned() else { return Ok(None) };
        for endpoints in table.endpoints.values_mut() {
            endpoints.retain(|endpoint| !goes(&endpoint.instance));
        }
        table.endpoints.retain(|_, endpoints| !endpoints.is_empty());
        if !known && table.endpoints.is_empty() {
            table.weights = Weights::default();
        }
        Ok(Some(table))
    })
    .await?;
    if known {
        return Ok(());
    }
    // Its port is free again. Who wrote meanwhile has found something to keep.
    close_routes(engine.store.as_ref(), &key, fence).await
}

/// In a word or two, for people.
pub fn state(state: &State) -> String {
    match state {
        State::Starting => "starting".to_owned(),
        State::Running => "running".to_owned(),
        State::Exited { code: Some(code), .. } => format!("ended with exit status {code}"),
        State::Exited { code: None, .. } => "ended, or its record was lost".to_owned(),
    }
}
