//! What whoever keeps the log may do to it, each at many random places, and what a client with nothing but the command
//! line, an older checkpoint, another copy or a witness sees of it.
//!
//! `cargo nextest run -p codectl tampering --no-capture` prints the table of docs/audit.md.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};

use ledger::{
    KeyKind, Policy, SignedCheckpoint, SigningKey, Store,
    store::Reader,
    tile::{Tile, WIDTH, push_entry},
    witness::AddCheckpoint,
};
use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    specs::scratch,
    stage::{codectl, command},
};

const ORIGIN: &str = "example.com/log";
/// Random places of each kind.
const PLACES: usize = 100;
/// The same places in every run; another number gives others.
const SEED: u64 = 17;

/// A fact that says so itself when it is forged.
fn leaf(counter: u64, actor: &str) -> Vec<u8> {
    let record = AuditRecord {
        source: "gateway".to_owned(),
        counter,
        ..AuditRecord::new(
            Timestamp(1_750_000_000_000 + counter as i64),
            actor,
            "deployment.approved",
            format!("dep-{}", counter % 9),
            AuditOutcome::Done,
        )
    };
    record.to_leaf()
}

/// The entries of the genuine log.
fn honest(size: u64) -> Vec<Vec<u8>> {
    (1..=size).map(|counter| leaf(counter, "ann")).collect()
}

fn log_keys() -> [SigningKey; 2] {
    [
        SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap(),
        SigningKey::from_seed(ORIGIN, KeyKind::MlDsa44, [2; 32]).unwrap(),
    ]
}

/// A log with a checkpoint kept at each of its sizes of before, as clients keep them.
struct Genuine {
    home: TempDir,
    size: u64,
    known: Vec<u64>,
}

impl Genuine {
    fn new(random: &mut StdRng) -> Genuine {
        let mut known = Vec::new();
        let mut size = 0;
        while size < 800 {
            size += random.random_range(5..60);
            known.push(size);
        }
        Genuine::of(known)
    }

    fn of(known: Vec<u64>) -> Genuine {
        let home = scratch();
        let (mut store, ()) = Store::open(home.path()).unwrap();
        for size in known.iter().copied() {
            store.integrate(&honest(size)[store.size() as usize..], &()).unwrap();
            let signed = store.publish(ORIGIN, &log_keys(), size).unwrap();
            fs::write(home.path().join(format!("{size}.checkpoint")), signed.to_string()).unwrap();
        }
        let keys = log_keys().map(|key| key.verifying_key().clone());
        let lines: String = keys.iter().map(|key| format!("log {key}\n")).collect();
        fs::write(home.path().join("trust.policy"), format!("{lines}quorum none\n")).unwrap();
        Genuine { size: store.size(), home, known }
    }

    fn path(&self, name: &str) -> String {
        text(&self.home.path().join(name))
    }

    fn checkpoint(&self, size: u64) -> String {
        self.path(&format!("{size}.checkpoint"))
    }

    /// The public files, as another client would have copied them at this size.
    fn copy(&self, size: u64) -> Shown {
        let folder = scratch();
        copy(&self.home.path().join("log"), &folder.path().join("log"));
        let shown = Shown { folder, size };
        fs::copy(self.checkpoint(size), shown.log().join("checkpoint")).unwrap();
        shown
    }

    /// Asks the command line about what is shown; none when it is content.
    fn verify(&self, shown: &Shown, more: &[&str]) -> Option<Seen> {
        let (log, policy) = (text(&shown.log()), self.path("trust.policy"));
        let asked = [&["audit", "verify", "--output", "json", "--log", &log, "--policy", &policy], more];
        let answer = codectl(self.home.path(), &asked.concat());
        assert!(answer.code < 2, "{answer:?}");
        let seen: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!(seen["valid"], answer.code == 0, "{answer:?}");
        (answer.code == 1).then_some(Seen(seen))
    }

    /// Asks whether the second checkpoint extends the first; gives why not.
    fn consistency(&self, old: &str, new: &str, log: &Shown) -> Option<String> {
        let (log, policy) = (text(&log.log()), self.path("trust.policy"));
        let asked = ["audit", "consistency", old, new, "--log", &log, "--policy", &policy];
        let answer = codectl(self.home.path(), &asked);
        assert!(answer.code < 2, "{answer:?}");
        (answer.code == 1).then(|| answer.says("INVALID").out)
    }
}

/// What somebody shows as the log.
struct Shown {
    folder: TempDir,
    size: u64,
}

impl Shown {
    /// Whoever has the keys can sign whatever they like.
    fn sign(entries: &[Vec<u8>]) -> Shown {
        let folder = scratch();
        let (mut store, ()) = Store::open(folder.path()).unwrap();
        store.integrate(entries, &()).unwrap();
        store.publish(ORIGIN, &log_keys(), 1).unwrap();
        Shown { folder, size: store.size() }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn checkpoint(&self) -> String {
        text(&self.log().join("checkpoint"))
    }

    fn signed(&self) -> SignedCheckpoint {
        fs::read_to_string(self.checkpoint()).unwrap().parse().unwrap()
    }

    /// What the keeper would ask a witness that cosigned this size last, with the best proof there is.
    fn request(&self, old: u64) -> AddCheckpoint {
        let proof = match Reader::new(self.log(), self.size).consistency(old) {
            Ok(proof) => proof.hashes,
            Err(_) => Vec::new(),
        };
        AddCheckpoint { old, proof, checkpoint: self.signed() }
    }

    /// Changes the entries of one file and leaves the rest as it was.
    fn change(&self, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let tile = Tile::at_size(None, index / WIDTH, self.size).unwrap();
        let mut entries = Reader::new(self.log(), self.size).bundle(&tile).unwrap();
        change(&mut entries, (index % WIDTH) as usize);
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| push_entry(&mut bytes, entry).unwrap());
        fs::write(self.log().join(tile.path()), bytes).unwrap();
    }
}

/// What `audit verify` said.
struct Seen(Value);

impl Seen {
    /// The first finding begins with this entry.
    fn begins_with(&self, index: u64) -> bool {
        self.0["findings"][0]["index"] == index
    }

    /// A finding is about this entry among others.
    fn covers(&self, index: u64) -> bool {
        let findings = self.0["findings"].as_array().unwrap();
        findings.iter().any(|finding| {
            let first = finding["index"].as_u64().unwrap();
            (first..first + finding["entries"].as_u64().unwrap()).contains(&index)
        })
    }

    /// The other copy differs from this entry on.
    fn differs_at(&self, index: u64) -> bool {
        self.0["differs"] == index
    }
}

/// A witness of its own process, asked over HTTP.
struct Witness {
    process: Child,
    address: String,
    key: String,
    _memory: TempDir,
}

impl Witness {
    fn start() -> Witness {
        let memory = scratch();
        let [one, two] = log_keys().map(|key| key.verifying_key().to_string());
        let listen = ["audit", "witness", "--listen", "127.0.0.1:0", "--name", "witness.example/1"];
        let asked = [&listen[..], &["--state", "memory", "--log", &one, "--log", &two]].concat();
        let mut process = command(memory.path(), &asked).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().unwrap().replace("witness on http://", "");
        let key = lines.next().unwrap();
        Witness { process, address, key, _memory: memory }
    }

    /// The HTTP status and what it says.
    fn ask(&self, request: &AddCheckpoint) -> (u16, String) {
        let body = request.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (host, size) = (&self.address, body.len());
        write!(stream, "POST /add-checkpoint HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, said) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), said.trim().to_owned())
    }

    /// Lets it cosign what is shown honestly, and adds what it signed.
    fn cosign(&self, last: u64, shown: &Shown) -> SignedCheckpoint {
        let (status, said) = self.ask(&shown.request(last));
        assert_eq!(status, 200, "{said}");
        let mut signed = shown.signed();
        signed.add(said.lines().map(|line| line.parse().unwrap()));
        signed
    }

    /// It does not cosign, and says of which sizes it speaks.
    fn refuses(&self, last: u64, shown: &Shown) -> bool {
        let (status, said) = self.ask(&shown.request(last));
        let (expected, named) = match shown.size.cmp(&last) {
            std::cmp::Ordering::Less => (400, format!("the old size {last} is beyond {}", shown.size)),
            std::cmp::Ordering::Equal => (409, last.to_string()),
            std::cmp::Ordering::Greater => (422, format!("consistency of {last} with {}", shown.size)),
        };
        status == expected && said.contains(&named)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// At how many places it was done, seen, and named.
#[derive(Default)]
struct Tally {
    places: usize,
    detected: usize,
    named: usize,
}

impl Tally {
    fn add(&mut self, detected: bool, named: bool) {
        self.places += 1;
        self.detected += usize::from(detected);
        self.named += usize::from(detected && named);
    }
}

/// One file of entries is changed; hashes and checkpoint are as they were.
fn changed(
    genuine: &Genuine,
    random: &mut StdRng,
    change: impl Fn(&mut Vec<Vec<u8>>, usize, &mut StdRng),
) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..PLACES {
        let shown = genuine.copy(genuine.size);
        // Not the last of a file, so that it has a neighbour to change places with.
        let index = (0..)
            .map(|_| random.random_range(0..genuine.size - 1))
            .find(|index| index % WIDTH != WIDTH - 1)
            .unwrap();
        shown.change(index, |entries, at| change(entries, at, random));
        let seen = genuine.verify(&shown, &[]);
        tally.add(seen.is_some(), seen.is_some_and(|seen| seen.begins_with(index)));
    }
    tally
}

fn edited(genuine: &Genuine, random: &mut StdRng) -> Tally {
    changed(genuine, random, |entries, at, random| {
        let byte = random.random_range(0..entries[at].len());
        entries[at][byte] ^= 1 << random.random_range(0..8);
    })
}

fn dropped(genuine: &Genuine, random: &mut StdRng) -> Tally {
    changed(genuine, random, |entries, at, _| drop(entries.remove(at)))
}

fn inserted(genuine: &Genuine, random: &mut StdRng) -> Tally {
    changed(genuine, random, |entries, at, _| entries.insert(at, leaf(1, "mallory")))
}

fn reordered(genuine: &Genuine, random: &mut StdRng) -> Tally {
    changed(genuine, random, |entries, at, _| entries.swap(at, at + 1))
}

/// The files of a shorter log under the checkpoint of the whole one.
fn cut(genuine: &Genuine, random: &mut StdRng) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..PLACES {
        let size = random.random_range(1..genuine.size);
        let shown = Shown::sign(&honest(size));
        fs::copy(genuine.checkpoint(genuine.size), shown.log().join("checkpoint")).unwrap();
        let seen = genuine.verify(&shown, &[]);
        tally.add(seen.is_some(), seen.is_some_and(|seen| seen.begins_with(size)));
    }
    tally
}

/// A checkpoint of before is shown as the newest, with the files of then or of now.
fn replayed(genuine: &Genuine, random: &mut StdRng) -> Tally {
    let witness = Witness::start();
    let mut tally = Tally::default();
    let mut last = 0;
    for place in 0..PLACES {
        // The client and the witness know a later one; over all places both grow older.
        let at = 1 + place * (genuine.known.len() - 1) / PLACES;
        let (newest, old) = (genuine.known[at], *genuine.known[..at].choose(random).unwrap());
        let known = genuine.checkpoint(newest);
        witness.cosign(last, &genuine.copy(newest));
        last = newest;
        let shown = if random.random() { genuine.copy(old) } else { Shown::sign(&honest(old)) };

        let seen = genuine.verify(&shown, &["--known", &known]);
        let why = genuine.consistency(&known, &shown.checkpoint(), &shown);
        let refused = witness.refuses(last, &shown);

        let sizes = format!("the newer has {old} entries, the older {newest}");
        let detected = seen.is_some() && why.is_some() && refused;
        let named = seen.is_some_and(|seen| seen.begins_with(old));
        tally.add(detected, named && why.is_some_and(|why| why.contains(&sizes)));
    }
    tally
}

/// Another log from some entry on, signed by the log's own keys.
fn forged(from: u64, size: u64) -> Shown {
    let mut entries = honest(from);
    entries.extend((from + 1..=size).map(|counter| leaf(counter, "mallory")));
    Shown::sign(&entries)
}

/// The log is rewritten behind a client, from before what the client knows.
fn forked(genuine: &Genuine, random: &mut StdRng) -> Tally {
    let witness = Witness::start();
    let mut tally = Tally::default();
    let mut last = 0;
    for place in 0..PLACES {
        let known = genuine.known[place * genuine.known.len() / PLACES];
        let mine = genuine.copy(known);
        witness.cosign(last, &mine);
        last = known;
        let from = random.random_range(0..known);
        let size = if random.random_ratio(1, 5) { known } else { random.random_range(from + 1..1000) };
        let shown = forged(from, size);

        let (known_file, copy) = (genuine.checkpoint(known), text(&mine.log()));
        let seen = genuine.verify(&shown, &["--known", &known_file, "--against", &copy]);
        let why = genuine.consistency(&known_file, &shown.checkpoint(), &shown);
        let refused = witness.refuses(last, &shown);

        let (expected, sizes) = if size < known {
            (size, format!("the newer has {size} entries, the older {known}"))
        } else {
            (from, format!("consistency of {known} with {size}"))
        };
        let detected = seen.is_some() && why.is_some() && refused;
        let named = seen.is_some_and(|seen| seen.differs_at(from) && seen.covers(expected));
        tally.add(detected, named && why.is_some_and(|why| why.contains(&sizes)));
    }
    tally
}

/// Two clients are shown two logs at once; both are well signed, and each is whole in itself.
fn split(genuine: &Genuine, random: &mut StdRng) -> Tally {
    let witness = Witness::start();
    let plain = fs::read_to_string(genuine.path("trust.policy")).unwrap();
    let line = format!("witness W {}\nquorum W\n", witness.key);
    let witnessed: Policy = plain.replace("quorum none\n", &line).parse().unwrap();
    let mut tally = Tally::default();
    let mut last = 0;
    for place in 0..PLACES {
        let size = genuine.known[place * genuine.known.len() / PLACES];
        let mine = genuine.copy(size);
        let cosigned = witness.cosign(last, &mine);
        last = size;
        let from = random.random_range(0..size);
        let other = if random.random_ratio(1, 5) { size } else { random.random_range(from + 1..1000) };
        let theirs = forged(from, other);
        assert!(genuine.verify(&theirs, &[]).is_none(), "alone it is whole");
        assert!(witnessed.check(&cosigned).is_ok());

        // They meet: each holds the other's checkpoint and copy against its own.
        let here = [theirs.checkpoint(), text(&theirs.log())];
        let there = [mine.checkpoint(), text(&mine.log())];
        let here = genuine.verify(&mine, &["--known", &here[0], "--against", &here[1]]);
        let there = genuine.verify(&theirs, &["--known", &there[0], "--against", &there[1]]);
        let (older, newer) = if size <= other { (&mine, &theirs) } else { (&theirs, &mine) };
        let why = genuine.consistency(&older.checkpoint(), &newer.checkpoint(), newer);
        // They never meet: the witness has cosigned one of the two, and the other client's policy asks for it.
        let refused = witness.refuses(last, &theirs);
        let disbelieved = witnessed.check(&theirs.signed()).is_err();

        let sizes = format!("consistency of {} with {}", older.size, newer.size);
        let detected = here.is_some() && there.is_some() && why.is_some() && refused && disbelieved;
        let named = [here, there].into_iter().all(|seen| seen.is_some_and(|seen| seen.differs_at(from)));
        tally.add(detected, named && why.is_some_and(|why| why.contains(&sizes)));
    }
    tally
}

/// What is done, who finds it, how it is done.
type Kind = (&'static str, &'static str, fn(&Genuine, &mut StdRng) -> Tally);

const KINDS: [Kind; 8] = [
    ("an entry edited", "verify", edited),
    ("an entry dropped", "verify", dropped),
    ("an entry inserted", "verify", inserted),
    ("two entries swapped", "verify", reordered),
    ("the end cut off", "verify", cut),
    ("an old checkpoint replayed", "verify --known, consistency, witness", replayed),
    ("the log forked", "verify --known --against, consistency, witness", forked),
    ("two clients shown two logs", "verify --known --against, consistency, witness", split),
];

#[test]
fn tampering_of_every_kind_is_found_at_every_place_and_named() {
    let genuine = Genuine::new(&mut StdRng::seed_from_u64(SEED));
    assert!(genuine.verify(&genuine.copy(genuine.size), &[]).is_none(), "the genuine log is found whole");

    let tallies: BTreeMap<usize, Tally> = thread::scope(|scope| {
        let genuine = &genuine;
        let running: Vec<_> = KINDS
            .iter()
            .zip(1..)
            .map(|((.., kind), number)| {
                scope.spawn(move || kind(genuine, &mut StdRng::seed_from_u64(SEED + number)))
            })
            .collect();
        running.into_iter().map(|kind| kind.join().unwrap()).enumerate().collect()
    });

    println!("{:<28} {:>6} {:>8} {:>6}  found by", "what was done to the log", "places", "detected", "named");
    for ((what, by, _), tally) in KINDS.iter().zip(tallies.values()) {
        println!("{what:<28} {:>6} {:>8} {:>6}  {by}", tally.places, tally.detected, tally.named);
    }
    for ((what, ..), tally) in KINDS.iter().zip(tallies.values()) {
        assert_eq!((tally.places, tally.detected, tally.named), (PLACES, PLACES, PLACES), "{what}");
    }
}

/// A log whose tiles all have narrower forms beside them.
fn with_narrower_forms() -> Genuine {
    Genuine::of(vec![21, 84, 124, 181, 244])
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_tile_is_named_and_its_intact_narrower_forms_are_not() {
    let (small, large) = (with_narrower_forms(), Genuine::of(vec![300, 600, 800]));
    for (genuine, file, at, index, what) in [
        (&small, "tile/0/000.p/244", 122 * 32, 122, "entry 122 is not the one whose hash is in the tree"),
        (
            &small,
            "tile/0/000.p/124",
            122 * 32,
            122,
            "tile/0/000.p/124 is not the beginning of tile/0/000.p/244",
        ),
        (
            &small,
            "tile/entries/000.p/124",
            20,
            0,
            "tile/entries/000.p/124 is not the beginning of tile/entries",
        ),
        (&large, "tile/1/000.p/3", 32, 256, "tile/0/001 does not give its hash in tile/1/000.p/3"),
        (&large, "tile/1/000.p/2", 32, 256, "tile/1/000.p/2 is not the beginning of tile/1/000.p/3"),
    ] {
        let shown = genuine.copy(genuine.size);
        flip(&shown.log().join(file), at);

        let Seen(seen) = genuine.verify(&shown, &[]).unwrap();

        assert_eq!((&seen["count"], &seen["findings"][0]["index"]), (&1.into(), &index.into()), "{seen}");
        assert!(seen["findings"][0]["what"].as_str().unwrap().starts_with(what), "{seen}");
    }
}

#[test]
fn a_copy_that_cannot_be_compared_hides_no_finding_and_is_named() {
    let genuine = with_narrower_forms();
    let (good, damaged) = (genuine.copy(244), genuine.copy(244));
    fs::remove_file(damaged.log().join("tile/entries/000.p/244")).unwrap();
    let (good_log, damaged_log) = (text(&good.log()), text(&damaged.log()));
    let why = format!("the copies cannot be compared: {damaged_log}: tile/entries/000.p/244 is not there");

    let Seen(alone) = genuine.verify(&damaged, &[]).unwrap();
    assert_eq!(
        alone["root"],
        good.signed().unverified().root.to_string(),
        "the signed root: there is no other"
    );
    for (against, why) in [(&good_log, why.as_str()), (&genuine.path("nowhere"), "nowhere has no checkpoint")]
    {
        let Seen(seen) = genuine.verify(&damaged, &["--against", against]).unwrap();
        assert_eq!(seen["findings"], alone["findings"]);
        assert!(seen["uncompared"].as_str().unwrap().contains(why), "{seen}");
    }

    let policy = genuine.path("trust.policy");
    let verify = ["audit", "verify", "--policy", &policy, "--log"];
    let answer =
        codectl(genuine.home.path(), &[&verify[..], &[&damaged_log, "--against", &good_log]].concat());
    answer.exits(1).says("INVALID").says(&format!("against: {why}"));
    let answer =
        codectl(genuine.home.path(), &[&verify[..], &[&good_log, "--against", &damaged_log]].concat());
    answer.exits(2).says(&why);
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
