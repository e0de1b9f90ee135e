//! Asking experts, and looking at what they said.

mod patterns;
mod show;

use std::{collections::BTreeMap, path::Path};

use futures::StreamExt;
use model::{
    Token,
    expert::{Action, AskingStep, Consultation, ConsultationProgress, Exhibit, ExpertId, Question},
};

use crate::{
    cli::{
        Global,
        experts::{Ask, Experts},
    },
    commands::read,
    connect::connect,
    failure::Failure,
    output::{self, paint, screen},
};

pub use show::advice;

/// `codectl experts …`
pub async fn experts(global: &Global, command: Experts) -> Result<u8, Failure> {
    match command {
        Experts::Ask(asked) => ask(global, asked).await,
        Experts::List => list(global).await,
        Experts::Test { expert } => test(global, expert).await,
        Experts::History { question: None, limit } => history(global, limit).await,
        Experts::History { question: Some(question), .. } => one(global, question).await,
        Experts::Replay { question } => replay(global, question).await,
        Experts::Patterns { limit } => patterns::patterns(global, limit).await,
        Experts::Evaluate { folder } => evaluate(&folder),
    }
}

fn exit_status(action: Action) -> u8 {
    match action {
        Action::Approve => 0,
        Action::NeedsChange => 10,
        Action::Reject => 11,
        Action::Escalate | Action::NoQuorum => 12,
    }
}

async fn ask(global: &Global, asked: Ask) -> Result<u8, Failure> {
    let question = question(&asked)?;
    let client = connect(global).await?;
    let mut said = client.consultation_progress(&question.id).await?;
    let answer = client.consult(&question);
    tokio::pin!(answer);
    let mut progress = Progress::default();
    let consultation = loop {
        tokio::select! {
            answer = &mut answer => break answer?,
            Some(step) = said.next() => progress.hear(&step),
        }
    };
    progress.end();
    if output::json() {
        output::document(&consultation);
    } else {
        show::consultation(&consultation);
        let again = format!("codectl experts history {}", consultation.question.id);
        output::line(paint::faint(again));
    }
    Ok(exit_status(consultation.opinion.action))
}

fn question(asked: &Ask) -> Result<Question, Failure> {
    let mut evidence = Vec::new();
    for (number, file) in asked.evidence.iter().enumerate() {
        let id = id_of(file, number)?;
        evidence.push(Exhibit { kind: id.clone(), id, text: read(file)? });
    }
    let id = match &asked.id {
        Some(id) => id.to_string(),
        None => format!("que-{}", model::DeploymentId::new().as_str().trim_start_matches("dep-")),
    };
    let budget = match asked.budget {
        None => None,
        Some(dollars) if dollars.is_finite() && (0.0..1e6).contains(&dollars) => Some((dollars * 1e6) as u64),
        Some(dollars) => return Err(Failure::invalid(format!("{dollars} is not an amount of dollars"))),
    };
    Ok(Question {
        id,
        text: asked.text.clone(),
        evidence,
        constraints: asked.constraint.clone(),
        deadline_ms: asked.deadline.0.as_millis() as u64,
        budget_micro_usd: budget,
        panel: asked.expert.clone(),
        fresh: asked.fresh,
    })
}

/// `web.log` becomes `web-log`.
fn id_of(file: &Path, number: usize) -> Result<Token, Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let plain: String = plain.trim_matches('-').chars().take(60).collect();
    let text = if plain.is_empty() { format!("evidence-{}", number + 1) } else { plain };
    text.parse().map_err(|error: model::id::BadToken| Failure::invalid(error.to_string()))
}

/// One line per expert, drawn again in place on a terminal.
#[derive(Default)]
struct Progress {
    canvas: screen::Canvas,
    lines: BTreeMap<ExpertId, String>,
}

impl Progress {
    fn hear(&mut self, said: &ConsultationProgress) {
        if output::json() {
            output::note(serde_json::to_string(said).unwrap_or_default());
            return;
        }
        let Some(expert) = &said.expert else { return };
        let at = paint::faint(format!("{:>7.1} s", said.at_ms as f64 / 1000.0));
        let line = format!("  {at}  {:<18} {}", expert.name.as_str(), show::step(&said.step));
        self.lines.insert(expert.clone(), line.clone());
        if !output::live() {
            // Asking everyone is one moment; who answers when is what is worth a line.
            if said.step != (AskingStep::Asked {}) {
                output::line(line);
            }
            return;
        }
        let (width, _) = screen::size().unwrap_or((80, 24));
        let lines: Vec<String> = self.lines.values().cloned().collect();
        if let Some(text) = self.canvas.draw(&lines, width) {
            output::raw(text);
        }
    }

    fn end(&self) {
        if !self.lines.is_empty() && !output::json() {
            output::line("");
        }
    }
}

async fn list(global: &Global) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let reply = client.experts().await?;
    if output::json() {
        output::document(&reply);
    } else {
        show::experts(&reply);
    }
    Ok(0)
}

async fn test(global: &Global, expert: Option<Token>) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let mut progress = Progress::default();
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let tested = client.test_experts(expert, |step| progress.hear(&step), interrupted).await?;
    progress.end();
    let Some(reply) = tested else {
        output::note("nobody is asked any more");
        return Ok(1);
    };
    if output::json() {
        output::document(&reply);
    } else {
        show::tests(&reply);
    }
    Ok(u8::from(reply.results.iter().any(|result| !result.passed)))
}

async fn history(global: &Global, limit: u32) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let consultations = client.consultations(limit).await?;
    if output::json() {
        output::document(&consultations);
    } else if consultations.is_empty() {
        output::line("no expert was asked yet; try codectl experts ask 'is it safe?' --evidence FILE");
    } else {
        show::lines(&consultations);
    }
    Ok(0)
}

async fn one(global: &Global, question: Token) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let reply = client.consultation(&question).await?;
    if output::json() {
        output::document(&reply);
        return Ok(0);
    }
    match &reply.consultation {
        Some(consultation) => show::consultation(consultation),
        None => show::lines(std::slice::from_ref(&reply.line)),
    }
    show::afterwards(&reply);
    Ok(0)
}

async fn replay(global: &Global, question: Token) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let reply = client.replay(&question).await?;
    if output::json() {
        output::document(&reply);
    } else {
        show::replay(&reply);
    }
    Ok(u8::from(!reply.same))
}

fn evaluate(folder: &Path) -> Result<u8, Failure> {
    let evaluation =
        opinion::batch::evaluate(folder).map_err(|error| Failure::invalid(chassis::chain(&error)))?;
    if output::json() {
        output::document(&evaluation);
    } else {
        show::evaluation(folder, &evaluation);
    }
    Ok(0)
}

/// The sum of what one consultation cost, for whoever shows it elsewhere.
pub fn dollars(micro_usd: u64) -> String {
    match micro_usd {
        0 => "nothing".to_owned(),
        micro_usd if micro_usd < 10_000 => format!("{:.5} USD", micro_usd as f64 / 1e6),
        micro_usd => format!("{:.2} USD", micro_usd as f64 / 1e6),
    }
}

/// Who voted what, for the summary line.
fn share(consultation: &Consultation) -> String {
    let shares: Vec<String> = consultation
        .opinion
        .vote_share
        .iter()
        .map(|(stance, share)| format!("{} {:.0} %", stance.replace('_', " "), share * 100.0))
        .collect();
    if shares.is_empty() { "nobody voted".to_owned() } else { shares.join(", ") }
}
