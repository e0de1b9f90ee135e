//! A service, its broker and its vendors for one test.

use std::{fs, time::Duration};

use bus::{Call, Message, subjects};
use chassis::{Running, Service, start_in_process};
use emulators::{Emulator, Fault, Rule, Scenario, Script, Vendor};
use experts::ExpertsConfig;
use model::{
    Code, Fault as Refusal, Span, Token,
    expert::{
        AnswerStatus, Ballot, Consultation, ConsultationReply, ConsultationRequest, Exhibit, Question,
        Stance, TestReply, TestRequest,
    },
};
use testkit::TestNats;

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A stand-in of another family for the first model.
pub const STAND_IN: &str = "
[providers.home]
dialect = \"ollama\"
base_url = \"{ollama}\"
[experts.sub]
provider = \"home\"
model = \"sub-1\"
family = \"subs\"
context_tokens = 100000
max_output_tokens = 1000
standby = true
[hedging]
unknown_after = \"50ms\"
at_least = \"50ms\"
";

/// Five families on four wire formats, each a model of its own name.
pub const MODELS: [(&str, Vendor, &str); 5] = [
    ("ann", Vendor::Anthropic, "anthropic"),
    ("ole", Vendor::Openai, "openai-chat"),
    ("gus", Vendor::Gemini, "gemini"),
    ("dee", Vendor::Deepseek, "deepseek"),
    ("lla", Vendor::Ollama, "ollama"),
];

pub struct Stage {
    pub nats: TestNats,
    pub vendors: Emulator,
    pub service: Option<Running>,
    config: ExpertsConfig,
    folder: tempfile::TempDir,
}

/// What is different about a stage.
#[derive(Clone, Default)]
pub struct Setting<'a> {
    /// How many of [`MODELS`] there are.
    pub models: usize,
    /// Further lines of the catalogue.
    pub catalogue: &'a str,
    /// Further lines of every model.
    pub each: &'a str,
    /// What the vendors play.
    pub rules: Vec<Rule>,
}

impl Stage {
    pub async fn with(setting: Setting<'_>, change: impl Fn(&mut ExpertsConfig)) -> Stage {
        chassis::install_crypto();
        let vendors = Emulator::start(scenario(setting.rules.clone())).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = ExpertsConfig { deadline: Span::seconds(60), ..ExpertsConfig::default() };
        fs::write(folder.path().join("key"), "sk-test-0123456789\n").unwrap();
        let path = folder.path().join("experts.toml");
        fs::write(&path, catalogue(&setting, &vendors, folder.path())).unwrap();
        config.catalogue = Some(path);
        change(&mut config);
        let nats = testkit::nats().await;
        let mut stage = Stage { nats, vendors, service: None, config, folder };
        stage.start().await;
        stage
    }

    pub async fn models(models: usize, rules: Vec<Rule>) -> Stage {
        Stage::with(Setting { models, rules, ..Setting::default() }, |_| {}).await
    }

    /// Starts the service, or starts it again.
    pub async fn start(&mut self) {
        self.service = None;
        let bus = self.nats.connect_service("experts").await;
        let start = |service: Service<ExpertsConfig>| experts::start(service);
        self.service = Some(start_in_process(self.config.clone(), bus, start).await.unwrap());
    }

    /// From now on vendors play this.
    pub fn play(&self, rules: Vec<Rule>) {
        self.vendors.play(scenario(rules));
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub async fn call<Req: Message, Rep: Message>(
        &self,
        call: &Call<Req, Rep>,
        request: &Req,
    ) -> Result<Rep, Refusal> {
        self.nats.bus.call(call, request, PATIENCE + Duration::from_secs(5)).await.map_err(Refusal::from)
    }

    pub async fn test(&self, request: &TestRequest) -> Result<TestReply, Refusal> {
        let begun = self.nats.bus.begin(&subjects::experts::TEST, request, PATIENCE).await;
        begun.map_err(Refusal::from)?.answer().await.map_err(Refusal::from)
    }

    pub async fn ask(&self, question: Question) -> Consultation {
        self.call(&subjects::experts::ASK, &question).await.unwrap()
    }

    pub async fn refusal(&self, question: Question) -> Code {
        self.call(&subjects::experts::ASK, &question).await.unwrap_err().code
    }

    pub async fn show(&self, id: &str) -> ConsultationReply {
        let request = ConsultationRequest { question: token(id) };
        self.call(&subjects::experts::SHOW, &request).await.unwrap()
    }
}

fn catalogue(setting: &Setting<'_>, vendors: &Emulator, folder: &std::path::Path) -> String {
    let mut text = String::new();
    for (name, vendor, dialect) in &MODELS[..setting.models] {
        let (base, key) = (vendors.base_url(*vendor), folder.join("key"));
        text.push_str(&format!(
            "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\nkey = {{ file = {key:?} }}\n\
             [experts.{name}]\nprovider = \"{name}\"\nmodel = \"{name}-1\"\nfamily = \"{name}s\"\n\
             context_tokens = 200000\nmax_output_tokens = 1000\nbackoff = \"1ms\"\nretries = 0\n\
             price = {{ input = 1.0, output = 2.0 }}\n{}\n",
            setting.each
        ));
    }
    text + &setting.catalogue.replace("{ollama}", &vendors.base_url(Vendor::Ollama))
}

pub fn token(name: &str) -> Token {
    name.parse().unwrap()
}

pub fn exhibit(id: &str, text: &str) -> Exhibit {
    Exhibit { id: token(id), kind: token(id), text: text.to_owned() }
}

/// A question that rules have nothing to say to.
pub fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        text: "May shop go on?".to_owned(),
        evidence: vec![exhibit("logs", "GET / 200 in 3 ms")],
        constraints: vec!["nothing may be lost".to_owned()],
        deadline_ms: 0,
        budget_micro_usd: None,
        panel: Vec::new(),
        fresh: true,
    }
}

/// These rules, and for the rest an approval in words of their own: the same words by two families would be suspected to
/// be dictated.
fn scenario(mut rules: Vec<Rule>) -> Scenario {
    rules.extend(WORDS.map(|(model, _)| says(model, Stance::Approve)));
    Scenario { rules, ..Scenario::default() }
}

const WORDS: [(&str, &str); 6] = [
    ("ann", "Health checks, limits and a canary are in place; the way back is short."),
    ("ole", "I see no irreversible step. Instances are added before others are taken away."),
    ("gus", "Traffic moves slowly enough that an error budget survives a bad revision."),
    ("dee", "Nothing in the settings changed beside the version, which was tested before."),
    ("lla", "ok from my side, logs look clean and memory is capped"),
    ("sub", "Standing in for a colleague: the plan is conventional and can be undone."),
];

/// What a model of this name is played to do, in words of its own.
pub fn says(model: &str, verdict: Stance) -> Rule {
    let words = WORDS.iter().find(|(name, _)| model.starts_with(name)).map(|(_, words)| (*words).to_owned());
    let answer = Script { rationale: words, ..Script::verdict(verdict) };
    Rule { model: Some(model.to_owned()), answer: Some(answer), ..Rule::default() }
}

/// What goes wrong at a model of this name.
pub fn fails(model: &str, fault: Fault) -> Rule {
    Rule { model: Some(model.to_owned()), faults: vec![fault], ..Rule::default() }
}

/// A model of this name waits at its gate.
pub fn waits(model: &str, verdict: Stance) -> Rule {
    Rule { faults: vec![Fault::Hold { gate: model.to_owned() }], ..says(model, verdict) }
}

#[track_caller]
pub fn of<'a>(consultation: &'a Consultation, name: &str) -> &'a Ballot {
    let found = consultation.ballots.iter().find(|ballot| ballot.expert.name.as_str() == name);
    found.unwrap_or_else(|| panic!("{name} has no ballot: {:#?}", consultation.ballots))
}

#[track_caller]
pub fn assert_status(consultation: &Consultation, name: &str, status: AnswerStatus) {
    let ballot = of(consultation, name);
    assert_eq!(ballot.status, status, "{ballot:#?}");
}
