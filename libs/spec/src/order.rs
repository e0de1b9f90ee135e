//! The order in which modules move: by rank, each after what it depends on.

use std::collections::BTreeMap;
use std::fmt;

use model::{DeploymentSpec, Token};

/// Modules that depend on each other in a circle. Shown `a -> b -> a`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Cycle {
    /// The modules of the circle, each depending on the next and the last on the first; at least one.
    pub modules: Vec<Token>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for module in &self.modules {
            write!(f, "{module} -> ")?;
        }
        self.modules.first().map_or(Ok(()), |first| write!(f, "{first}"))
    }
}

/// The modules by rank: rank 0 depends on none, every other module stands one rank after the last of those it depends
/// on. Within a rank they stand as in the spec. Dependencies on modules that are not in the spec count as met; that
/// they are missing is for [`crate::check()`] to say.
pub fn order(spec: &DeploymentSpec) -> Result<Vec<Vec<Token>>, Cycle> {
    let needs: BTreeMap<&Token, Vec<&Token>> = spec
        .modules
        .iter()
        .map(|module| {
            let known = module.depends_on.iter().map(|dependency| &dependency.module);
            (&module.name, known.filter(|name| spec.module(name).is_some()).collect())
        })
        .collect();
    let mut ranks: BTreeMap<&Token, usize> = BTreeMap::new();
    loop {
        let ready: Vec<(&Token, usize)> = needs
            .iter()
            .filter(|(name, _)| !ranks.contains_key(*name))
            .filter_map(|(name, needed)| {
                let below: Option<Vec<usize>> = needed.iter().map(|need| ranks.get(need).copied()).collect();
                Some((*name, below?.into_iter().max().map_or(0, |rank| rank + 1)))
            })
            .collect();
        if ready.is_empty() {
            break;
        }
        ranks.extend(ready);
    }
    if let Some(stuck) = spec.modules.iter().find(|module| !ranks.contains_key(&module.name)) {
        return Err(cycle(&stuck.name, &needs, &ranks));
    }
    let mut waves: Vec<Vec<Token>> = Vec::new();
    for module in &spec.modules {
        let rank = ranks.get(&module.name).copied().unwrap_or_default();
        waves.resize(waves.len().max(rank + 1), Vec::new());
        if let Some(wave) = waves.get_mut(rank)
            && !wave.contains(&module.name)
        {
            wave.push(module.name.clone());
        }
    }
    Ok(waves)
}

/// Follows what is not ranked from a module that is not: sooner or later it comes round.
fn cycle(from: &Token, needs: &BTreeMap<&Token, Vec<&Token>>, ranks: &BTreeMap<&Token, usize>) -> Cycle {
    let mut way: Vec<&Token> = Vec::new();
    let mut next = Some(from);
    while let Some(name) = next {
        if let Some(start) = way.iter().position(|seen| *seen == name) {
            way.drain(..start);
            break;
        }
        way.push(name);
        next =
            needs.get(name).and_then(|needed| needed.iter().find(|need| !ranks.contains_key(*need)).copied());
    }
    Cycle { modules: way.into_iter().cloned().collect() }
}
