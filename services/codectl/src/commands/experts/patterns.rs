//! What past consultations have in common: findings that recur, contradict or copy each other, and who finds what first.

use experts::heart::decoy;
use model::expert::{AnswerStatus, ConsultationReply};
use opinion::pattern::{Note, Patterns, Thresholds, analyse};
use serde::Serialize;

use super::show::foreign;
use crate::{
    cli::Global,
    connect::connect,
    failure::Failure,
    output::{self, paint, steps, table},
};

/// Most lines of each kind for people.
const SHOWN: usize = 15;

/// The patterns with the findings they are about.
#[derive(Serialize)]
struct Report {
    consultations: usize,
    /// Left out, because `experts test` made them of plans that are not anyone's.
    tests: usize,
    findings: Vec<Note>,
    patterns: Patterns,
}

/// Looks through the newest consultations.
pub async fn patterns(global: &Global, limit: u32) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let all = client.consultations(limit).await?;
    let (tests, lines): (Vec<_>, Vec<_>) = all.into_iter().partition(|line| decoy::is_test(&line.question));
    let mut findings = Vec::new();
    for line in lines.iter().filter(|line| line.consultation.is_some()) {
        findings.extend(notes(&client.consultation(&line.question).await?));
    }
    let patterns = analyse(&findings, &Thresholds::default());
    let report = Report { consultations: lines.len(), tests: tests.len(), findings, patterns };
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
    let Report { consultations, tests, findings, patterns } = report;
    let found = steps::counted(findings.len(), "finding");
    output::line(format!("{found} in {}", steps::counted(*consultations, "consultation")));
    if *tests > 0 {
        let tests = steps::counted(*tests, "consultation");
        output::line(paint::faint(format!("  left out: {tests} of codectl experts test")));
    }
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
    pairs("contradictions", findings, &patterns.contradictions);
    // That one expert says the same in several cases is what recurs.
    let by_others = |(one, other): &&(usize, usize)| findings[*one].expert != findings[*other].expert;
    let copies: Vec<(usize, usize)> = patterns.copies.iter().filter(by_others).copied().collect();
    pairs("by two in the same words", findings, &copies);
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
        table::print(head, rows);
    }
}

/// Each pair with both notes whole: cut short they could not be compared.
fn pairs(name: &str, findings: &[Note], pairs: &[(usize, usize)]) {
    if pairs.is_empty() {
        return;
    }
    output::line(format!("\n{}", paint::strong(name)));
    let both = pairs.iter().filter_map(|(one, other)| Some((findings.get(*one)?, findings.get(*other)?)));
    both.take(SHOWN).flat_map(|(one, other)| pair(one, other)).for_each(output::line);
}

fn pair(one: &Note, other: &Note) -> [String; 3] {
    let case =
        if one.case == other.case { one.case.clone() } else { format!("{}, {}", one.case, other.case) };
    let said = |note: &Note| format!("    {}: {}", note.expert, foreign(&note.statement));
    [format!("  {}", paint::faint(case)), said(one), said(other)]
}

#[cfg(test)]
mod tests {
    use model::expert::{Topic, Weight};

    use super::*;

    #[test]
    fn both_notes_of_a_pair_are_shown_whole() {
        let note = |case: &str, expert: &str, statement: &str| Note {
            case: case.to_owned(),
            expert: expert.to_owned(),
            at: 0,
            category: Topic::Config,
            severity: Weight::Major,
            statement: statement.to_owned(),
        };
        let long = "a health check is set ".repeat(20);

        let [case, first, second] =
            pair(&note("dep-1", "gpt", &long), &note("dep-1", "claude", "none\nis set"));

        assert!(case.contains("dep-1") && !case.contains("dep-1, "), "{case}");
        assert_eq!(first, format!("    gpt: {}", long.trim_end()));
        assert_eq!(second, "    claude: none is set");
        assert!(pair(&note("dep-1", "a", "x"), &note("dep-2", "b", "x"))[0].contains("dep-1, dep-2"));
    }
}
