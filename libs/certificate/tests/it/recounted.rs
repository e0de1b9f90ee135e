//! Gates that are judged again from the documents of what they measured: honest ones, changed ones, others, none.

use certificate::{
    Verified,
    evidence::{Evidence, Recount, Recounted},
    verify::check,
};
use gates::{
    Document, Measurements,
    analysis::{Analysed, Count, Counted, Look, Seen},
    smoke::{Request, Smoked},
    soak::{Soaked, Watched},
    traffic::{Arrival, Arrived},
};
use model::{Digest, Event, GateResult, Record, Span, Timestamp, plan::Revision, route::Weights};

use crate::{
    fixture::{self, BEGAN, NOW, Office, facts, journal, promoted, spec},
    mutations::sign,
};

fn at() -> Timestamp {
    Timestamp(BEGAN + 40_000)
}

fn revision() -> Revision {
    spec("2.0.0").modules[0].revision()
}

fn document(step: &str, gate: &str, measured: Measurements) -> Document {
    let deployment = "dep-0193a5b2c4d6".parse().unwrap();
    Document::new(deployment, (step.parse().unwrap(), 1), gate, at(), measured)
}

fn smoke() -> Document {
    let module = spec("2.0.0").modules.remove(0);
    let mut smoked = Smoked::new(&module.name, &revision(), &module.smoke[0], Span::seconds(5));
    for micros in [800, 900, 1000] {
        smoked.take(Request {
            way: "web-1".to_owned(),
            url: "http://10.0.0.1:8080/health".to_owned(),
            preview: false,
            at: at(),
            micros,
            status: Some(200),
            body: Some(Digest::of_bytes(b"ok")),
            contained: None,
            by: None,
            error: None,
        });
    }
    document("s5-smoke", "smoke /health", Measurements::Smoke(smoked))
}

fn analysis() -> Document {
    let (spec, old) = (spec("2.0.0"), spec("1.0.0").modules[0].revision());
    let (module, metric) = (&spec.modules[0].name, &fixture::analysis(&spec).metrics[0]);
    let mut analysed = Analysed::new(module, (&revision(), Some(&old)), metric, Timestamp(BEGAN));
    for (second, errors) in [(5, 1), (10, 0), (15, 2)] {
        let latency = vec![(300, 200 - 2 * second), (310, 2 * second)].into();
        let new = Count { requests: 200, errors, latency };
        let seen = Seen::Counted(Counted { millis: 5000, new, old: Count::default() });
        let at = Timestamp(BEGAN + second as i64 * 1000);
        analysed.looks.push(Look { at, last: second == 15, seen });
    }
    document("s7-analyse", "error-rate", Measurements::Analysis(Box::new(analysed)))
}

fn traffic() -> Document {
    let (from, until) = (Timestamp(BEGAN + 30_000), at());
    let look = Arrival { from, until, counted: [(revision(), 90)].into(), asked: [(revision(), 10)].into() };
    let (weights, before) = (Weights::all_to(revision()), Weights::all_to("aaa".parse().unwrap()));
    let arrived = Arrived { module: "web".parse().unwrap(), weights, before, looks: vec![look] };
    document("s8-weight", "traffic-share", Measurements::Traffic(arrived))
}

fn soak() -> Document {
    let well = |number: u32| Watched {
        id: format!("web-{number}"),
        module: "web".parse().unwrap(),
        memory: None,
        threshold: None,
        restarts: (0, 0),
        started: (None, None),
        out_of_memory: false,
        ended: None,
        gone: false,
        probes: 0,
        failed: 0,
        worst_row: 0,
        why: String::new(),
    };
    let (window, instances) = (spec("2.0.0").soak_time(), vec![well(1), well(2), well(3)]);
    let soaked = Soaked { module: None, window, probes: 0, instances, lost: Vec::new() };
    document("s11-soak", "soak", Measurements::Soak(soaked))
}

fn documents() -> [Document; 4] {
    [smoke(), analysis(), traffic(), soak()]
}

/// A promotion whose gates say what follows from the first of each pair, and name the second as their evidence.
fn told(pairs: &[(Document, Vec<u8>)]) -> Vec<Record> {
    let mut records = promoted();
    for event in records.iter_mut().flat_map(|record| &mut record.events) {
        let Event::StepFinished { step, result, .. } = event else { continue };
        let own = pairs.iter().filter(|(honest, _)| honest.step == *step);
        let gates: Vec<GateResult> = own
            .map(|(honest, kept)| GateResult {
                evidence: Some(Digest::of_bytes(kept)),
                ..honest.judge().unwrap()
            })
            .collect();
        if !gates.is_empty() {
            result.gates = gates;
        }
    }
    records
}

/// A promotion with all its documents kept.
pub fn measured() -> Vec<Record> {
    let pairs = documents().map(|honest| (honest.clone(), honest.to_bytes()));
    told(&pairs)
}

async fn verified(office: &Office, records: &[Record]) -> Verified {
    check(&office.issue(records).await, &office.ready(), NOW).unwrap()
}

fn files(documents: &[Document]) -> Vec<(String, Vec<u8>)> {
    let file =
        |document: &Document| (format!("{}.json", document.gate.replace('/', "")), document.to_bytes());
    documents.iter().map(file).collect()
}

fn results(recounted: &[Recounted]) -> Vec<Recount> {
    recounted.iter().map(|gate| gate.result).collect()
}

#[tokio::test]
async fn every_gate_is_judged_again_from_its_document_and_less_is_believed() {
    let office = Office::open();
    let mut verified = verified(&office, &measured()).await;
    assert!(verified.is_positive());
    let believes =
        |verified: &Verified, words: &str| verified.believed.iter().any(|belief| belief.text.contains(words));
    assert!(believes(&verified, "the measurements are not enclosed"));

    let (evidence, problems) = Evidence::of(files(&documents()));
    let recounted = evidence.recount(&verified);
    verified.believe_less(&recounted);

    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(results(&recounted), [Recount::Recomputed; 4], "{recounted:#?}");
    assert!(!believes(&verified, "the measurements are not enclosed"));
    assert!(believes(&verified, "that what the documents say was measured"), "{:?}", verified.believed);
}

fn counted(document: &mut Document, look: usize) -> &mut Count {
    let Measurements::Analysis(analysed) = &mut document.measured else { panic!("an analysis") };
    let Seen::Counted(counted) = &mut analysed.looks[look].seen else { panic!("counts") };
    &mut counted.new
}

type Made = fn() -> Document;
type Lie = fn(&mut Document);

/// What a runner could have kept beside a verdict that does not follow from it: what is found, and where.
const LIES: &[(&str, &str, Made, Lie)] = &[
    ("a flipped count of errors", "measured", analysis, |it| counted(it, 1).errors = 60),
    ("a flipped count of requests", "samples", analysis, |it| counted(it, 2).requests = 201),
    ("a removed look", "samples", analysis, |it| {
        let Measurements::Analysis(it) = &mut it.measured else { return };
        it.looks.remove(0);
    }),
    ("errors that decide otherwise", "outcome", analysis, |it| counted(it, 0).errors = 150),
    ("a changed limit", "measured.metric", analysis, |it| {
        let Measurements::Analysis(it) = &mut it.measured else { return };
        it.metric.success = Some("< 0.5".to_owned());
    }),
    ("another confidence", "measured.confidence", analysis, |it| {
        let Measurements::Analysis(it) = &mut it.measured else { return };
        it.confidence = 0.5;
    }),
    ("another revision", "measured.revision", analysis, |it| {
        let Measurements::Analysis(it) = &mut it.measured else { return };
        it.revision = "aaa".parse().unwrap();
    }),
    ("looks for which there was no room, and none of the rest fits", "measured.metric", analysis, |it| {
        let Measurements::Analysis(it) = &mut it.measured else { return };
        (it.cut, it.metric.failure_limit) = (7, 9);
    }),
    ("another metric's document", "gate", analysis, |it| {
        let Measurements::Analysis(of) = &mut it.measured else { return };
        of.metric.name = "latency".to_owned();
        it.gate = "latency".to_owned();
    }),
    ("the document of another gate", "step", analysis, |it| *it = smoke()),
    ("another attempt", "attempt", analysis, |it| it.attempt = 2),
    ("another deployment", "deployment", smoke, |it| it.deployment = "dep-0002".parse().unwrap()),
    ("a removed request", "samples", smoke, |it| {
        let Measurements::Smoke(it) = &mut it.measured else { return };
        it.requests.pop();
    }),
    ("a request that failed", "measured", smoke, |it| {
        let Measurements::Smoke(it) = &mut it.measured else { return };
        it.requests[1].status = Some(500);
    }),
    ("another test", "measured.test", smoke, |it| {
        let Measurements::Smoke(it) = &mut it.measured else { return };
        it.test.status = 204;
    }),
    ("requests that another revision answered", "measured", traffic, |it| {
        let Measurements::Traffic(it) = &mut it.measured else { return };
        it.looks[0].counted = [("aaa".parse().unwrap(), 90)].into();
    }),
    ("other shares", "measured.weights", traffic, |it| {
        let Measurements::Traffic(it) = &mut it.measured else { return };
        it.weights = Weights::split(revision(), 95, "aaa".parse().unwrap());
    }),
    ("another moment", "at", traffic, |it| it.at = Timestamp(BEGAN + 39_000)),
    ("a format of the future", "document", traffic, |it| it.v = 2),
];

#[tokio::test]
async fn a_signed_document_from_which_another_verdict_follows_is_found_by_its_field() {
    let office = Office::open();
    for (what, field, honest, lie) in LIES {
        let mut lied = honest();
        lie(&mut lied);
        let verified = verified(&office, &told(&[(honest(), lied.to_bytes())])).await;

        let (evidence, _) = Evidence::of(files(&[lied]));
        let recounted = evidence.recount(&verified);

        let found = recounted.iter().find(|gate| gate.gate == honest().gate).unwrap();
        assert_eq!(found.result, Recount::Differs, "{what}: {found:#?}");
        let fields: Vec<&str> = found.differences.iter().map(|found| found.field.as_str()).collect();
        assert!(fields.contains(field), "{what}: {fields:?}");
    }
}

#[tokio::test]
async fn a_signed_text_that_is_no_document_is_no_evidence() {
    let office = Office::open();
    let spaced = String::from_utf8(smoke().to_bytes()).unwrap().replacen(':', ": ", 1).into_bytes();
    for bytes in [b"nothing".to_vec(), b"{}".to_vec(), spaced] {
        let verified = verified(&office, &told(&[(smoke(), bytes.clone())])).await;

        let recounted = Evidence::of([("a".to_owned(), bytes)]).0.recount(&verified);

        assert_eq!(recounted[0].result, Recount::Differs);
        assert_eq!(recounted[0].differences[0].field, "document", "{recounted:?}");
    }
}

#[tokio::test]
async fn a_document_that_was_changed_afterwards_is_named_whatever_its_file_is_called() {
    let office = Office::open();
    let verified = verified(&office, &measured()).await;
    let signed = analysis().digest().to_string();
    let mut changed = analysis();
    counted(&mut changed, 0).errors = 0;

    for name in ["x", "notes.txt", "error-rate.json"] {
        let (evidence, problems) = Evidence::of([(name.to_owned(), changed.to_bytes())]);
        let recounted = evidence.recount(&verified);

        assert!(problems.is_empty());
        assert_eq!(
            results(&recounted),
            [Recount::Missing, Recount::Differs, Recount::Missing, Recount::Missing]
        );
        let text = &recounted[1].text;
        assert!(text.contains(name) && text.contains(&signed), "{text}");
        assert!(recounted[1].differences.iter().any(|found| found.field == "measured"), "{recounted:?}");
    }
    for name in [signed.replace(':', "-"), signed.clone(), format!("{}.json", signed.replace("sha256:", ""))]
    {
        let (_, problems) = Evidence::of([(name.clone(), changed.to_bytes())]);

        assert_eq!(problems.len(), 1, "{name}");
        assert!(problems[0].field.ends_with(&name) && problems[0].text.contains(&signed), "{problems:?}");
    }
}

#[tokio::test]
async fn what_is_missing_and_what_was_never_kept_is_named_and_stays_believed() {
    let office = Office::open();
    let mut verified = verified(&office, &told(&[(smoke(), smoke().to_bytes())])).await;

    let recounted = Evidence::default().recount(&verified);
    verified.believe_less(&recounted);

    assert_eq!(results(&recounted), [Recount::Missing, Recount::NotKept, Recount::NotKept, Recount::NotKept]);
    assert!(recounted[0].text.contains(&smoke().digest().to_string()));
    let believed: Vec<&str> = verified
        .believed
        .iter()
        .map(|belief| belief.field.as_str())
        .filter(|field| field.contains("gates"))
        .collect();
    assert_eq!(
        believed,
        ["predicate.gates[0]", "predicate.gates[1]", "predicate.gates[2]", "predicate.gates[3]"]
    );
}

#[tokio::test]
async fn what_the_journal_has_as_evidence_may_not_be_left_out_or_put_in() {
    let office = Office::open();
    for (records, evidence) in [(measured(), None), (promoted(), Some(Digest::of_bytes(b"x")))] {
        let (mut facts, documents) = facts(&records);
        facts.gates[0].evidence = evidence;
        let signed = sign(&office, &facts, documents, journal(&records)).await;

        let problems = check(&signed, &office.ready(), NOW).unwrap_err();

        assert_eq!(problems[0].field, "predicate.gates[0].evidence", "{problems:?}");
    }
}
