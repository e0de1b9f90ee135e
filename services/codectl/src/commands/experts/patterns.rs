//! What past consultations have in common: findings that recur, contradict or copy each other, and who finds what first.

use bus::subjects;
use model::expert::{AnswerStatus, ConsultationReply, ConsultationRequest, ConsultationsRequest};
use opinion::pattern::{Note, Patterns, Thresholds, analyse};
use serde::Serialize;

use super::show::{foreign, table};
use crate::{
    cli::Global,
    client::Client,
    failure::Failure,
    output::{self, paint},
};

/// Most lines of each kind for people.
const SHOWN: usize = 15;

/// The patterns with the findings they are about.
#[derive(Serialize)]
struct Report {
    consultations: usize,
    findings: Vec<Note>,
    patterns: Patterns,
}

/// Looks through the newest consultations.
pub async fn patterns(global: &Global, limit: u32) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let request = ConsultationsRequest { limit: Some(limit) };
    let lines = client.ask(&subjects::experts::HISTORY, &request).await?.consultations;
    let mut findings = Vec::new();
    for line in lines.iter().filter(|line| line.consultation.is_some()) {
        let request = ConsultationRequest { question: line.question.clone() };
        findings.extend(notes(&client.ask(&subjects::experts::SHOW, &request).await?));
    }
    let patterns = analyse(&findings, &Thresholds::default());
    let report = Report { consultations: lines.len(), findings, patterns };
    if output::json() {
        output::document(&report);
    } else {
        show(&report);
    }
    Ok(0)
}

/// The findings of valid answers, with the moment of each answer.
fn notes(reply: &ConsultationReply) -> Vec<Note> {
    let Some(consultation) = &reply.consultation else { return Vec::new() };
    let valid = consultation.ballots.iter().filter(|ballot| ballot.status == AnswerStatus::Ok);
    let mut notes = Vec::new();
    for ballot in valid {
        let at = consultation.asked_at.0.unsigned_abs().saturating_add(ballot.took_ms);
        for finding in ballot.answer.iter().flat_map(|answer| &answer.findings) {
            notes.push(Note {
                case: consultation.question.id.clone(),
                expert: ballot.expert.name.to_string(),
                at,
                category: finding.category,
                severity: finding.severity,
                statement: finding.statement.clone(),
            });
        }
    }
    notes
}

fn show(report: &Report) {
    let Report { consultations, findings, patterns } = report;
    output::line(format!("{} findings in {consultations} consultations", findings.len()));
    let recurring: Vec<[String; 3]> = patterns
        .recurring
        .iter()
        .take(SHOWN)
        .map(|one| {
            let who: Vec<&str> = one.experts.iter().map(String::as_str).collect();
            [one.cases.len().to_string(), who.join(", "), foreign(&one.statement)]
        })
        .collect();
    section("recurring", ["CASES", "BY", "FINDING"], recurring);
    section("contradictions", ["CASE", "ONE", "OTHER"], pairs(findings, &patterns.contradictions));
    // That one expert says the same in several cases is what recurs.
    let by_others = |(one, other): &&(usize, usize)| findings[*one].expert != findings[*other].expert;
    let copies: Vec<(usize, usize)> = patterns.copies.iter().filter(by_others).copied().collect();
    section("by two in the same words", ["CASE", "ONE", "OTHER"], pairs(findings, &copies));
    let firsts = patterns
        .firsts
        .iter()
        .take(SHOWN)
        .map(|one| {
            let category = serde_json::json!(one.category).as_str().unwrap_or_default().replace('_', " ");
            [one.expert.clone(), category, format!("{} of {}", one.first, one.found)]
        })
        .collect();
    section("who finds what first", ["EXPERT", "ABOUT", "FIRST"], firsts);
    if patterns.left_out > 0 {
        output::note(format!("{} findings were left out: too many at once", patterns.left_out));
    }
}

fn section(name: &str, head: [&str; 3], rows: Vec<[String; 3]>) {
    if !rows.is_empty() {
        output::line(format!("\n{}", paint::strong(name)));
        table(head, rows);
    }
}

fn pairs(findings: &[Note], pairs: &[(usize, usize)]) -> Vec<[String; 3]> {
    let said = |note: &Note| format!("{}: {}", note.expert, foreign(&note.statement));
    let both = pairs.iter().filter_map(|(one, other)| Some((findings.get(*one)?, findings.get(*other)?)));
    both.take(SHOWN).map(|(one, other)| [one.case.clone(), said(one), said(other)]).collect()
}
