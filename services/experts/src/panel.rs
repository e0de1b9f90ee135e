//! Who is asked.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Token,
    expert::{ExpertId, Question},
    fault::Complaint,
};
use providers::{Catalogue, Circle, Condition, Expert};

use crate::{
    config::{ExpertsConfig, When},
    error::Error,
    heart::rules::Rule,
    keys,
    plug_in::PlugIn,
};

/// Everyone who can be asked.
pub struct Everyone {
    /// The models.
    pub circle: Circle,
    /// The programs behind doors.
    pub plug_ins: BTreeMap<Token, Arc<dyn Expert>>,
    rules: When,
}

/// Who is asked one question.
#[derive(Default)]
pub struct Panel {
    /// Models and programs.
    pub experts: Vec<Arc<dyn Expert>>,
    /// Rules.
    pub rules: Vec<Rule>,
}

impl Everyone {
    /// Reads the catalogue and opens whoever has a key.
    pub fn open(config: &ExpertsConfig, bus: &bus::Bus) -> Result<Everyone, Error> {
        let circle = Circle::open(&read(config)?, keys::resolve)?;
        let plug_ins: BTreeMap<Token, Arc<dyn Expert>> = config
            .plug_ins
            .iter()
            .map(|one| (one.name.clone(), Arc::new(PlugIn::new(bus.clone(), one)) as Arc<dyn Expert>))
            .collect();
        let everyone = Everyone { circle, plug_ins, rules: config.rules };
        let rules = Rule::ALL.map(|rule| rule.id().name);
        let models = everyone.circle.catalogue().experts.keys();
        if let Some(twice) = models
            .clone()
            .find(|name| rules.contains(name) || everyone.plug_ins.contains_key(*name))
            .or_else(|| everyone.plug_ins.keys().find(|name| rules.contains(name)))
        {
            return Err(Error::TwoExperts(twice.to_string()));
        }
        if everyone.plug_ins.len() != config.plug_ins.len() {
            return Err(Error::TwoExperts("alike among the plug-ins".to_owned()));
        }
        Ok(everyone)
    }

    /// The panel for a question: whom it names, else all but standbys, with rules as configured.
    pub fn panel(&self, question: &Question) -> Result<Panel, Error> {
        let mut panel = Panel::default();
        if question.panel.is_empty() {
            panel.experts = self.circle.panel().map(|(_, expert)| Arc::clone(expert)).collect();
            panel.experts.extend(self.plug_ins.values().cloned());
            let wanted = match self.rules {
                When::Always => true,
                When::Fallback => panel.experts.is_empty(),
                When::Never => false,
            };
            if wanted {
                panel.rules = Rule::ALL.into();
            }
            return Ok(panel);
        }
        let mut names = question.panel.clone();
        names.sort();
        names.dedup();
        for name in names {
            let model = self.circle.get(&name).or_else(|| self.plug_ins.get(&name));
            let rule = Rule::ALL.into_iter().find(|rule| rule.name() == name.as_str());
            match (model, rule) {
                (Some(expert), _) => panel.experts.push(Arc::clone(expert)),
                (None, Some(rule)) => panel.rules.push(rule),
                (None, None) => return Err(self.unknown(&name)),
            }
        }
        Ok(panel)
    }

    fn unknown(&self, name: &Token) -> Error {
        let message = match self.circle.missing().get(name) {
            Some(why) => format!("expert {name} cannot be asked: {why}"),
            None => format!("there is no expert {name}"),
        };
        let cure = "codectl experts list shows who can be asked".to_owned();
        Error::Question(vec![Complaint { field: "panel".to_owned(), line: 0, column: 0, message, cure }])
    }

    /// How an expert fares; nothing to tell of rules, and of who cannot be asked.
    pub fn condition(&self, name: &Token) -> Condition {
        let expert = self.circle.get(name).or_else(|| self.plug_ins.get(name));
        expert.map(|expert| expert.condition()).unwrap_or_default()
    }

    /// Everyone with how they are reached and whether they would be asked now.
    pub fn all(&self) -> Vec<(ExpertId, String, String)> {
        let catalogue = self.circle.catalogue();
        let mut all: Vec<(ExpertId, String, String)> = catalogue
            .experts
            .iter()
            .map(|(name, model)| {
                let provider = catalogue.providers.get(&model.provider);
                let dialect = provider.map(|one| serde_json::json!(one.dialect)).unwrap_or_default();
                let state = match self.circle.missing().get(name) {
                    Some(why) => why.clone(),
                    None if model.standby => "standby".to_owned(),
                    None => "ready".to_owned(),
                };
                (model.id(name), dialect.as_str().unwrap_or_default().to_owned(), state)
            })
            .collect();
        let plug_ins = self.plug_ins.values();
        all.extend(plug_ins.map(|one| (one.who().clone(), "plug-in".to_owned(), "ready".to_owned())));
        let serve = match self.rules {
            When::Always => true,
            When::Fallback => self.circle.panel().next().is_none() && self.plug_ins.is_empty(),
            When::Never => false,
        };
        let state = if serve { "ready" } else { "only when named" };
        all.extend(Rule::ALL.map(|rule| (rule.id(), "rules".to_owned(), state.to_owned())));
        all
    }
}

impl Panel {
    /// Who sits on it.
    pub fn ids(&self) -> Vec<ExpertId> {
        let rules = self.rules.iter().map(|rule| rule.id());
        self.experts.iter().map(|expert| expert.who().clone()).chain(rules).collect()
    }
}

fn read(config: &ExpertsConfig) -> Result<Catalogue, Error> {
    use figment::{
        Figment,
        providers::{Format, Toml},
    };
    // A variable that is set to nothing, as in a Compose file, is none.
    let path = config.catalogue.as_ref().filter(|path| !path.as_os_str().is_empty());
    let Some(path) = path else { return Ok(Catalogue::default()) };
    let failed = |reason: String| Error::Catalogue { path: path.clone(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Figment::from(Toml::string(&text)).extract().map_err(|error| failed(error.to_string()))
}
