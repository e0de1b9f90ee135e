//! What becomes of facts that a service hands over in one request: it gets a receipt for each of them, or none.

use std::collections::BTreeMap;

use model::{Timestamp, audit::AuditRecord};

use super::admit::{Admission, Taken};

/// Where a fact stands that is kept already, and the digest of its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its index.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf: ledger::Hash,
}

/// A fact that is handed over.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The fact.
    pub record: AuditRecord,
    /// What is kept under its count already.
    pub known: Option<Place>,
}

/// What becomes of one fact of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is kept already, there.
    Kept(u64),
    /// It is to be kept.
    New(Box<AuditRecord>),
    /// It is the same as the fact at this place of the request.
    Again(usize),
}

/// Why a request gets no receipts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something else is kept under the same count.
    #[error("{source_name} counted {counter} for another fact before")]
    Another {
        /// Who counted.
        source_name: String,
        /// Its count.
        counter: u64,
    },
    /// The source cannot be followed so far.
    #[error("{counter} is too far beyond a hole in the counts of {source_name}")]
    TooFar {
        /// Who counted.
        source_name: String,
        /// Its count.
        counter: u64,
    },
    /// The count is taken, and nobody knows where the fact stands.
    #[error("{counter} of {source_name} is kept and cannot be found")]
    Lost {
        /// Who counted.
        source_name: String,
        /// Its count.
        counter: u64,
    },
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Of each of its facts, in order; those before a refusal that comes half way are kept, and are repeats when the request
    /// comes again.
    pub fates: Vec<Fate>,
    /// Why there are no receipts.
    pub refused: Option<Refused>,
}

/// Decides over a request. A conflict is found before anything of it is kept.
pub fn decide(admission: &mut Admission, handed: Vec<Handed>, now: Timestamp) -> Request {
    let first = first_places(&handed);
    if let Some(refused) = conflict(&handed, &first) {
        return Request { fates: Vec::new(), refused: Some(refused) };
    }
    let mut request = Request::default();
    for (Handed { record, known }, first) in handed.into_iter().zip(first) {
        let fate = match (known, first) {
            (Some(place), _) => Ok(Fate::Kept(place.index)),
            (None, Some(first)) => Ok(Fate::Again(first)),
            (None, None) => new(admission, record, now),
        };
        match fate {
            Ok(fate) => request.fates.push(fate),
            Err(refused) => {
                request.refused = Some(refused);
                break;
            }
        }
    }
    request
}

fn new(admission: &mut Admission, record: AuditRecord, now: Timestamp) -> Result<Fate, Refused> {
    let (source_name, counter) = (record.source.clone(), record.counter);
    match admission.told(&record, now) {
        Taken::New => Ok(Fate::New(Box::new(record))),
        Taken::Repeated => Err(Refused::Lost { source_name, counter }),
        Taken::TooFar => Err(Refused::TooFar { source_name, counter }),
    }
}

/// Of each fact, where its count stood before in the same request.
fn first_places(handed: &[Handed]) -> Vec<Option<usize>> {
    let mut seen: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    let places = handed.iter().enumerate().map(|(at, one)| {
        let first = *seen.entry((one.record.source.as_str(), one.record.counter)).or_insert(at);
        (first != at).then_some(first)
    });
    places.collect()
}

/// A count that stands for two facts, one of them kept already or both in the request.
fn conflict(handed: &[Handed], first: &[Option<usize>]) -> Option<Refused> {
    let leaf = |one: &Handed| ledger::leaf_hash(&one.record.to_leaf());
    let differs = |(one, first): &(&Handed, &Option<usize>)| {
        let kept = one.known.map(|place| place.leaf).or_else(|| first.map(|first| leaf(&handed[first])));
        kept.is_some_and(|kept| kept != leaf(one))
    };
    let (one, _) = handed.iter().zip(first).find(differs)?;
    Some(Refused::Another { source_name: one.record.source.clone(), counter: one.record.counter })
}

#[cfg(test)]
mod tests {
    use model::audit::AuditOutcome;

    use super::*;

    fn fact(counter: u64, action: &str) -> AuditRecord {
        AuditRecord {
            source: "gateway".to_owned(),
            counter,
            ..AuditRecord::new(Timestamp(1), "ann", action, "dep-1", AuditOutcome::Done)
        }
    }

    fn handed(record: AuditRecord) -> Handed {
        Handed { record, known: None }
    }

    #[test]
    fn what_is_new_is_kept_and_what_is_known_has_its_place() {
        let mut admission = Admission::default();
        let (one, two) = (fact(1, "a"), fact(2, "b"));
        let place = Place { index: 7, leaf: ledger::leaf_hash(&one.to_leaf()) };

        let known = Handed { record: one, known: Some(place) };
        let request = decide(&mut admission, vec![known, handed(two.clone())], Timestamp(1));

        assert_eq!(request.refused, None);
        assert_eq!(request.fates, [Fate::Kept(7), Fate::New(Box::new(two))]);
    }

    #[test]
    fn a_fact_that_stands_twice_in_a_request_is_kept_once() {
        let mut admission = Admission::default();
        let request = decide(&mut admission, vec![handed(fact(1, "a")), handed(fact(1, "a"))], Timestamp(1));

        assert_eq!(request.refused, None);
        assert_eq!(request.fates, [Fate::New(Box::new(fact(1, "a"))), Fate::Again(0)]);
    }

    #[test]
    fn a_count_for_two_facts_is_refused_before_anything_is_kept() {
        let other = Place { index: 7, leaf: ledger::leaf_hash(b"another fact") };
        let kept = Handed { record: fact(2, "b"), known: Some(other) };
        let refused = Some(Refused::Another { source_name: "gateway".to_owned(), counter: 2 });

        for conflict in [vec![handed(fact(1, "a")), kept], vec![handed(fact(2, "a")), handed(fact(2, "b"))]] {
            let mut admission = Admission::default();
            let request = decide(&mut admission, conflict, Timestamp(1));

            assert_eq!((&request.fates[..], &request.refused), (&[][..], &refused));
            assert_eq!(admission, Admission::default(), "a count was taken");
        }
    }

    #[test]
    fn a_count_that_is_taken_and_stands_nowhere_is_refused() {
        let mut admission = Admission::default();
        admission.told(&fact(1, "a"), Timestamp(1));

        let request = decide(&mut admission, vec![handed(fact(1, "a"))], Timestamp(1));

        assert_eq!(request.refused, Some(Refused::Lost { source_name: "gateway".to_owned(), counter: 1 }));
    }
}
