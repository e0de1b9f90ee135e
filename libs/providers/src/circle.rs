//! Opens a catalogue: every expert whose key is there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ground::Secret;
use model::Token;

use crate::{
    ask::Expert,
    cache::Cache,
    catalogue::{BadCatalogue, Catalogue, KeySource, Provider},
    remote::Remote,
    wire,
};

/// The experts of a catalogue, ready to be asked.
#[derive(Clone)]
pub struct Circle {
    catalogue: Arc<Catalogue>,
    experts: BTreeMap<Token, Arc<dyn Expert>>,
    missing: BTreeMap<Token, String>,
}

impl Circle {
    /// Opens every expert whose provider's key `resolve` finds. An expert without its key is left out, with the reason
    /// in [`Circle::missing`]; a reason never holds a key. Nothing is sent yet.
    pub fn open(
        catalogue: &Catalogue,
        resolve: impl Fn(&KeySource) -> Result<Secret, String>,
    ) -> Result<Circle, BadCatalogue> {
        if let Some(complaint) = catalogue.complaints().into_iter().next() {
            return Err(complaint);
        }
        let cache = Cache::new(catalogue.cache);
        let (mut experts, mut missing) = (BTreeMap::<Token, Arc<dyn Expert>>::new(), BTreeMap::new());
        // Providers that are reached alike share a client, and with it its threads, roots and connections.
        let mut clients: BTreeMap<(Duration, Option<&str>), reqwest::Client> = BTreeMap::new();
        for (name, provider) in &catalogue.providers {
            let asked_here = catalogue.experts.iter().filter(|(_, model)| model.provider == *name);
            let key = match provider.key.as_ref().map(&resolve).transpose() {
                Ok(key) if key.as_ref().is_none_or(|key| !key.is_empty()) => key,
                Ok(_) => {
                    missing.extend(asked_here.map(|(expert, _)| (expert.clone(), "its key is empty".into())));
                    continue;
                }
                Err(reason) => {
                    missing.extend(asked_here.map(|(expert, _)| (expert.clone(), reason.clone())));
                    continue;
                }
            };
            let alike = (provider.connect_timeout.0, provider.proxy.as_deref());
            let http = match clients.get(&alike) {
                Some(http) => http.clone(),
                None => clients.entry(alike).or_insert(client(name, provider)?).clone(),
            };
            let format: Arc<dyn wire::Wire> = Arc::from(wire::of(provider.dialect));
            for (expert, model) in asked_here {
                let remote = Remote::new(
                    expert,
                    model,
                    provider,
                    Arc::clone(&format),
                    http.clone(),
                    key.clone(),
                    cache.clone(),
                );
                experts.insert(expert.clone(), Arc::new(remote));
            }
        }
        Ok(Circle { catalogue: Arc::new(catalogue.clone()), experts, missing })
    }

    /// The expert of this name.
    pub fn get(&self, name: &Token) -> Option<&Arc<dyn Expert>> {
        self.experts.get(name)
    }

    /// All experts that can be asked, standbys too.
    pub fn experts(&self) -> &BTreeMap<Token, Arc<dyn Expert>> {
        &self.experts
    }

    /// Those who are asked when nobody is named: all but the standbys.
    pub fn panel(&self) -> impl Iterator<Item = (&Token, &Arc<dyn Expert>)> {
        let standby = |name: &Token| self.catalogue.experts.get(name).is_some_and(|model| model.standby);
        self.experts.iter().filter(move |(name, _)| !standby(name))
    }

    /// Who cannot be asked, and why.
    pub fn missing(&self) -> &BTreeMap<Token, String> {
        &self.missing
    }

    /// What it was opened from.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Who may be asked instead of `name`: its configured fallback, unless a family of `taken` (those that are on the
    /// panel already) would then speak twice.
    pub fn fallback(&self, name: &Token, taken: &[Token]) -> Option<&Arc<dyn Expert>> {
        let fallback = self.catalogue.experts.get(name)?.fallback.as_ref()?;
        let expert = self.experts.get(fallback)?;
        (!taken.contains(&expert.who().family)).then_some(expert)
    }
}

fn client(name: &Token, provider: &Provider) -> Result<reqwest::Client, BadCatalogue> {
    let no_client =
        |error: reqwest::Error| BadCatalogue::NoClient { provider: name.clone(), reason: error.to_string() };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("code/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(provider.connect_timeout.0)
        // A redirect could carry the key and the question to anybody.
        .redirect(reqwest::redirect::Policy::none())
        // The environment's proxies are not ours to read.
        .no_proxy();
    if let Some(proxy) = &provider.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(no_client)?);
    }
    builder.build().map_err(no_client)
}
