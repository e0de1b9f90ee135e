//! Two documents against each other.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use serde_json::Value;

use crate::{
    document::{Document, address},
    finding::{Finding, Kind},
    shape::Regexes,
    validate::World,
};

/// Comparisons of two schemas, at most: some seconds. What is beyond is not looked at, and that is said.
pub(crate) const STEPS: usize = 400_000;
/// Looks at schemas in the search for one value that proves a break.
const LOOKS: usize = 20_000;
/// Findings that are kept; the rest is counted.
const MOST: usize = 1000;
/// Longest value that is shown.
const SHOWN: usize = 80;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In order of kind, then of place.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more: usize,
    /// Whether it ended before everything was compared.
    pub is_cut: bool,
}

impl Report {
    /// What surely breaks clients.
    pub fn breaks(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind == Kind::Break)
    }

    /// What nobody can say from the documents alone.
    pub fn doubts(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind == Kind::Doubt)
    }

    /// What breaks no client and is worth knowing.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind == Kind::Note)
    }
}

/// What breaks for clients of `old` once `new` is served. `today` is a day such as `2026-01-31`: what was announced to
/// end by then may end.
pub fn compare(old: &Document, new: &Document, today: &str) -> Report {
    if old == new {
        return Report::default();
    }
    compared(old, new, today).report()
}

/// The comparison at its end, to be reported.
pub(crate) fn compared<'a>(old: &'a Document, new: &'a Document, today: &str) -> Comparison<'a> {
    let mut comparison = Comparison {
        old,
        new,
        today: today.to_owned(),
        regexes: Rc::default(),
        drafts: Vec::new(),
        steps: STEPS,
        more: 0,
        clean: HashSet::new(),
        trail: Vec::new(),
        broken: HashSet::new(),
        depth: 0,
        was_too_deep: false,
        trials: 0,
    };
    comparison.operations();
    comparison
}

/// Which way a message flows: what a client sends may not be restricted, what it gets may not become more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Side {
    pub fn flipped(self) -> Side {
        match self {
            Side::Request => Side::Response,
            Side::Response => Side::Request,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Side::Request => "request",
            Side::Response => "response",
        }
    }
}

/// Where we are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub path: String,
    pub method: String,
    pub parts: Vec<String>,
    pub side: Side,
    /// Values are written as text: parameters, headers, forms.
    pub is_text: bool,
}

impl Place {
    pub fn of_path(path: &str) -> Place {
        Place {
            path: path.to_owned(),
            method: String::new(),
            parts: Vec::new(),
            side: Side::Request,
            is_text: false,
        }
    }

    pub fn within(&self, part: impl Into<String>) -> Place {
        Place { parts: [self.parts.clone(), vec![part.into()]].concat(), ..self.clone() }
    }

    pub fn on(&self, side: Side) -> Place {
        Place { side, ..self.clone() }
    }

    pub fn as_text(&self) -> Place {
        Place { is_text: true, ..self.clone() }
    }
}

/// An operation in its path.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub template: &'a str,
    pub item: &'a Value,
    pub operation: &'a Value,
}

/// A difference that is about to be told.
pub(crate) struct Told {
    pub kind: Kind,
    pub word: &'static str,
    pub old: String,
    pub new: String,
    pub what: String,
}

impl Told {
    pub fn breaks(word: &'static str, what: impl Into<String>) -> Told {
        Told { kind: Kind::Break, word, old: String::new(), new: String::new(), what: what.into() }
    }

    pub fn doubt(word: &'static str, what: impl Into<String>) -> Told {
        Told { kind: Kind::Doubt, ..Told::breaks(word, what) }
    }

    pub fn note(word: &'static str, what: impl Into<String>) -> Told {
        Told { kind: Kind::Note, ..Told::breaks(word, what) }
    }

    pub fn values(self, old: impl Into<String>, new: impl Into<String>) -> Told {
        Told { old: old.into(), new: new.into(), ..self }
    }
}

pub(crate) struct Draft {
    finding: Finding,
    old_at: Option<usize>,
    new_at: Option<usize>,
}

/// Two schemas that are compared, by the addresses of what they are made of.
pub(crate) type Pair = (Vec<usize>, Vec<usize>, Side, bool);

pub(crate) struct Comparison<'a> {
    pub old: &'a Document,
    pub new: &'a Document,
    pub today: String,
    pub regexes: Rc<Regexes>,
    pub drafts: Vec<Draft>,
    pub steps: usize,
    more: usize,
    /// Pairs without a finding. One that is being compared is taken for one, so that recursion ends; once it turns out
    /// that it is none, all that were added after it go too (Amadio and Cardelli 1993, with Pierce's trail: each pair is
    /// compared a bounded number of times).
    pub clean: HashSet<Pair>,
    /// The pairs of `clean` in the order in which they were added.
    pub trail: Vec<Pair>,
    /// Pairs with a finding: taking others for clean never adds one, so these stay.
    pub broken: HashSet<Pair>,
    /// How many pairs are being compared, one within another.
    pub depth: usize,
    /// Something was left out for being nested too deep: `broken` may then depend on where a pair was met.
    pub was_too_deep: bool,
    /// How many comparisons around this one throw away what is told.
    trials: usize,
}

impl<'a> Comparison<'a> {
    /// Tells a difference at a place; the values are what stands there in the old and in the new document.
    pub fn say(&mut self, place: &Place, at: (Option<&Value>, Option<&Value>), told: Told) {
        self.tell(place, place.side.name(), at, told);
    }

    /// The same where it is neither about what is sent nor about what comes back.
    pub fn say_plain(&mut self, place: &Place, at: (Option<&Value>, Option<&Value>), told: Told) {
        self.tell(place, "", at, told);
    }

    fn tell(&mut self, place: &Place, before: &str, at: (Option<&Value>, Option<&Value>), told: Told) {
        if self.drafts.len() >= MOST {
            self.more += 1;
            return;
        }
        let id = if before.is_empty() { told.word.to_owned() } else { format!("{before}-{}", told.word) };
        let finding = Finding {
            kind: told.kind,
            id,
            path: place.path.clone(),
            method: place.method.clone(),
            part: place.parts.join(": "),
            pointer: String::new(),
            old: told.old,
            new: told.new,
            what: told.what,
        };
        let (old_at, new_at) = (at.0.map(address), at.1.map(address));
        self.drafts.push(Draft { finding, old_at, new_at });
    }

    /// How much was told so far.
    pub fn found(&self) -> usize {
        self.drafts.len() + self.more
    }

    /// Whether nobody reads what is told now: that something is told is all that counts.
    pub fn is_counting(&self) -> bool {
        self.trials > 0 || self.drafts.len() >= MOST
    }

    /// Whether a comparison finds nothing. What it tells is thrown away.
    pub fn trial(&mut self, compare: impl FnOnce(&mut Self)) -> bool {
        let (drafts, more) = (self.drafts.len(), self.more);
        self.trials += 1;
        compare(self);
        self.trials -= 1;
        let fits = self.found() == drafts + more;
        self.drafts.truncate(drafts);
        self.more = more;
        fits
    }

    /// The document and its twin, as the side sees them: what is sent or comes now, and what it is held against.
    pub fn worlds(&self, side: Side) -> (World<'a>, World<'a>) {
        let budget = Rc::new(Cell::new(LOOKS));
        let hides = if side == Side::Request { "readOnly" } else { "writeOnly" };
        let world =
            |document| World { document, hides, regexes: self.regexes.clone(), budget: budget.clone() };
        match side {
            Side::Request => (world(self.old), world(self.new)),
            Side::Response => (world(self.new), world(self.old)),
        }
    }

    fn report(self) -> Report {
        let at = |of: fn(&Draft) -> Option<usize>| self.drafts.iter().filter_map(of).collect::<HashSet<_>>();
        let mut pointers: HashMap<usize, String> = HashMap::new();
        pointers.extend(self.old.pointers(&at(|draft| draft.old_at)));
        pointers.extend(self.new.pointers(&at(|draft| draft.new_at)));
        let placed = self.drafts.into_iter().map(|draft| {
            let found = draft.new_at.and_then(|at| pointers.get(&at));
            let found = found.or_else(|| draft.old_at.and_then(|at| pointers.get(&at)));
            Finding { pointer: found.cloned().unwrap_or_default(), ..draft.finding }
        });
        // The same schema is met by more than one way.
        let mut findings: BTreeSet<Finding> = placed.collect();
        if self.steps == 0 {
            findings.insert(cut_short());
        }
        Report { findings: findings.into_iter().collect(), more: self.more, is_cut: self.steps == 0 }
    }
}

/// What is said of a comparison that did not come to its end.
fn cut_short() -> Finding {
    let what = "the documents are too large to be compared to the end";
    Finding {
        kind: Kind::Doubt,
        id: "cut-short".to_owned(),
        path: String::new(),
        method: String::new(),
        part: "the whole document".to_owned(),
        pointer: String::new(),
        old: String::new(),
        new: String::new(),
        what: what.to_owned(),
    }
}

/// A value as it is shown.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}
