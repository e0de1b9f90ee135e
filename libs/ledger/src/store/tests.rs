use std::{collections::BTreeMap, fs, sync::Mutex};

use proptest::prelude::*;

use super::*;
use crate::{KeyKind, Policy, ProofFile, verify};

const ORIGIN: &str = "example.com/log";

fn keys() -> Vec<SigningKey> {
    vec![
        SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap(),
        SigningKey::from_seed(ORIGIN, KeyKind::MlDsa44, [2; 32]).unwrap(),
    ]
}

fn policy() -> Policy {
    Policy::of_log(&keys().iter().map(|key| key.verifying_key().clone()).collect::<Vec<_>>())
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number} {}", "x".repeat((number % 40) as usize)).into_bytes()
}

fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

#[test]
fn a_log_that_grew_in_any_steps_equals_the_one_that_grew_at_once() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut at_once, _) = Store::open::<u64>(one.path()).unwrap();
    at_once.integrate(&entries(0..66_000), &1).unwrap();

    let mut size = 0;
    for step in [1, 255, 1, 255, 300, 1000, 8188, 55_000, 1000] {
        let (mut store, state) = Store::open::<u64>(other.path()).unwrap();
        assert_eq!(state, size);
        store.integrate(&entries(size..size + step), &(size + step)).unwrap();
        size += step;
    }
    let (stepwise, _) = Store::open::<u64>(other.path()).unwrap();

    assert_eq!(size, 66_000);
    assert_eq!(stepwise.root(), at_once.root());
    assert_eq!(stepwise.reader().root().unwrap(), at_once.root());
    for index in [0, 255, 256, 65_535, 65_536, 65_999] {
        assert_eq!(stepwise.reader().entry(index).unwrap(), entry(index));
        stepwise.inclusion(index).unwrap().verify(&leaf_hash(&entry(index)), &at_once.root()).unwrap();
    }
}

#[test]
fn no_file_of_a_log_can_be_read_by_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    store.integrate(&entries(0..300), &()).unwrap();
    store.publish(ORIGIN, &keys(), 1_700_000_000).unwrap();
    let mut journal = crate::Journal::open(folder.path().join("journal")).unwrap().0;
    journal.rotate(1).unwrap();

    let (mut folders, mut files) = (vec![folder.path().to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != "lock" {
                assert_eq!(mode & 0o007, 0, "{} has mode {mode:o}", entry.path().display());
                files += 1;
            }
        }
    }
    assert!(files > 5, "only {files} files were looked at");
}

#[test]
fn a_proof_file_is_enough_to_check_an_entry_offline() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    store.integrate(&entries(0..700), &()).unwrap();
    let signed = store.publish(ORIGIN, &keys(), 1_700_000_000).unwrap();

    let file = ProofFile::new(store.inclusion(321).unwrap(), signed).to_string();
    let proof: ProofFile = file.parse().unwrap();

    assert_eq!(proof.to_string(), file);
    let proven = proof.check(&entry(321), &policy()).unwrap();
    assert_eq!((proven.index, proven.size, proven.trust.log.len()), (321, 700, 2));
    let error = proof.check(&entry(322), &policy()).unwrap_err().to_string();
    assert!(error.contains("inclusion of entry 321 in 700"), "{error}");
}

#[test]
fn a_signer_that_was_put_on_an_older_copy_stays_silent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    store.integrate(&entries(0..10), &()).unwrap();
    let old = fs::read(folder.path().join("state.json")).unwrap();
    store.integrate(&entries(10..20), &()).unwrap();
    store.publish(ORIGIN, &keys(), 1).unwrap();
    fs::write(folder.path().join("state.json"), old).unwrap();

    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    let shorter = store.publish(ORIGIN, &keys(), 2).unwrap_err().to_string();
    store.integrate(&entries(1000..1020), &()).unwrap();
    let forked = store.publish(ORIGIN, &keys(), 3).unwrap_err().to_string();

    assert!(shorter.contains("size 20 was signed and the log has 10: entry 10 is gone"), "{shorter}");
    assert!(forked.contains("consistency of 20 with 30"), "{forked}");
}

#[test]
fn a_log_that_was_changed_while_nobody_wrote_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    store.integrate(&entries(0..300), &()).unwrap();
    let bundle = folder.path().join("log/tile/entries/001.p/44");
    let mut bytes = fs::read(&bundle).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&bundle, bytes).unwrap();

    let error = Store::open::<()>(folder.path()).unwrap_err().to_string();

    assert!(error.contains("entry 299 was changed"), "{error}");
}

#[test]
fn a_write_that_fails_anywhere_leaves_a_log_that_goes_on() {
    let undisturbed = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<u64>(undisturbed.path()).unwrap();
    store.integrate(&entries(0..200), &200).unwrap();
    store.integrate(&entries(200..600), &600).unwrap();
    let root = store.root();

    let mut failures = 0;
    for room in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open::<u64>(folder.path()).unwrap();
        store.integrate(&entries(0..200), &200).unwrap();
        store.publish(ORIGIN, &keys(), 1).unwrap();
        disk::ROOM.set(Some(room));
        let outcome =
            store.integrate(&entries(200..600), &600).and_then(|()| store.publish(ORIGIN, &keys(), 2));
        disk::ROOM.set(None);
        if outcome.is_ok() {
            break;
        }
        assert!(outcome.unwrap_err().is_disk_full());
        failures += 1;

        // What was signed still holds, and the same entries go on where it was.
        let report = verify::verify(&folder.path().join("log"), &policy(), &[], |_, _| {}).unwrap();
        assert!(report.is_clean(), "after {room} writes: {report:?}");
        let (mut store, state) = Store::open::<u64>(folder.path()).unwrap();
        assert!(state == 200 || state == 600, "{state}");
        store.integrate(&entries(state..600), &600).unwrap();
        store.publish(ORIGIN, &keys(), 3).unwrap();
        assert_eq!(store.root(), root, "after {room} writes");
        let report = verify::verify(&folder.path().join("log"), &policy(), &[], |_, _| {}).unwrap();
        assert!(report.is_clean() && report.size == 600, "after {room} writes: {report:?}");
    }
    assert!(failures >= 8, "{failures}");
}

/// A log with a checkpoint at 300 and one at its end.
struct Fixture {
    folder: tempfile::TempDir,
    early: SignedCheckpoint,
    size: u64,
}

impl Fixture {
    /// A copy of the log that was made first at this size: making one syncs, copying does not.
    fn new(size: u64) -> Fixture {
        static MADE: Mutex<BTreeMap<u64, Fixture>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap();
        let first = made.entry(size).or_insert_with(|| Fixture::make(size));
        let folder = tempfile::tempdir().unwrap();
        copy(first.folder.path(), folder.path());
        Fixture { folder, early: first.early.clone(), size }
    }

    fn make(size: u64) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
        store.integrate(&entries(0..300), &()).unwrap();
        let early = store.publish(ORIGIN, &keys(), 1).unwrap();
        store.integrate(&entries(300..size), &()).unwrap();
        store.publish(ORIGIN, &keys(), 2).unwrap();
        Fixture { folder, early, size }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn check(&self) -> verify::Report {
        verify::verify(&self.log(), &policy(), std::slice::from_ref(&self.early), |_, _| {}).unwrap()
    }

    /// Replaces the entries of one bundle, leaving the tiles as they are.
    fn change_bundle(&self, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let tile = Tile::at_size(None, index / WIDTH, self.size).unwrap();
        let mut all = Reader::new(self.log(), self.size).bundle(&tile).unwrap();
        change(&mut all, (index % WIDTH) as usize);
        fs::write(self.log().join(tile.path()), bundle(&all).unwrap()).unwrap();
    }

    /// What an operator with the files but without the keys can do: all tiles anew, the checkpoint as it was.
    fn rewrite(&self, all: &[Vec<u8>]) {
        let (elsewhere, checkpoint) =
            (tempfile::tempdir().unwrap(), fs::read(self.log().join("checkpoint")).unwrap());
        let (mut store, _) = Store::open::<()>(elsewhere.path()).unwrap();
        store.integrate(all, &()).unwrap();
        fs::remove_dir_all(self.log()).unwrap();
        fs::rename(store.public_folder(), self.log()).unwrap();
        fs::write(self.log().join("checkpoint"), checkpoint).unwrap();
    }
}

fn names(report: &verify::Report, index: u64) -> bool {
    !report.is_clean()
        && report
            .findings
            .iter()
            .any(|finding| (finding.index..finding.index + finding.entries).contains(&index))
}

#[test]
fn an_untouched_log_has_no_findings_and_every_entry_is_seen() {
    let fixture = Fixture::new(1000);
    let mut seen = 0;

    let report =
        verify::verify(&fixture.log(), &policy(), std::slice::from_ref(&fixture.early), |index, bytes| {
            assert_eq!(bytes, entry(index));
            seen += 1;
        })
        .unwrap();

    assert!(report.is_clean(), "{report:?}");
    assert_eq!(seen, 1000);
}

#[test]
fn a_changed_upper_tile_is_found() {
    let fixture = Fixture::new(1000);
    let path = fixture.log().join("tile/1/000.p/3");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, bytes).unwrap();

    assert!(names(&fixture.check(), 256));
}

#[test]
fn a_changed_file_that_a_fuller_one_has_replaced_is_found_too() {
    let fixture = Fixture::new(400);
    for path in ["tile/0/001.p/44", "tile/entries/001.p/44"] {
        let path = fixture.log().join(path);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[70] ^= 1;
        fs::write(&path, bytes).unwrap();

        let report = fixture.check();
        fs::write(&path, whole).unwrap();

        let finding = &report.findings[0];
        assert!(finding.index == 258 && finding.what.contains("is not the beginning of"), "{report:?}");
    }
    assert!(fixture.check().is_clean());
}

#[test]
fn an_old_checkpoint_that_is_shown_again_is_found() {
    let fixture = Fixture::new(1000);
    let newest = fs::read_to_string(fixture.log().join("checkpoint")).unwrap().parse().unwrap();
    fs::write(fixture.log().join("checkpoint"), fixture.early.to_string()).unwrap();

    let report = verify::verify(&fixture.log(), &policy(), &[newest], |_, _| {}).unwrap();

    assert!(names(&report, 300), "{report:?}");
}

#[test]
fn two_views_of_one_log_are_told_apart_at_their_first_difference() {
    let one = Fixture::new(1000);
    let other = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open::<()>(other.path()).unwrap();
    let mut all = entries(0..900);
    all[612] = b"another story".to_vec();
    store.integrate(&all, &()).unwrap();
    let signed = store.publish(ORIGIN, &keys(), 3).unwrap();

    let reader = Reader::new(one.log(), 1000);
    let consistent =
        reader.consistency(900).unwrap().verify(&signed.unverified().root, &reader.root().unwrap());
    assert!(consistent.is_err());
    assert_eq!(verify::first_difference(&reader, &store.reader()).unwrap(), Some(612));
    let report = verify::verify(&one.log(), &policy(), &[signed, one.early.clone()], |_, _| {}).unwrap();
    assert!(names(&report, 612) && !names(&report, 0), "{report:?}");
}

#[test]
fn a_log_without_a_checkpoint_or_with_a_foreign_one_is_not_believed() {
    let fixture = Fixture::new(500);
    let stranger = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let checkpoint = fixture.early.unverified().clone();
    let forged = SignedCheckpoint::sign(checkpoint, &[stranger], 5).unwrap();
    fs::write(fixture.log().join("checkpoint"), forged.to_string()).unwrap();
    let report = fixture.check();
    fs::remove_file(fixture.log().join("checkpoint")).unwrap();

    assert!(!report.is_clean() && report.trust.is_none());
    assert!(verify::verify(&fixture.log(), &policy(), &[], |_, _| {}).is_err());
}

/// Around the borders of bundles and in between.
const SIZES: [u64; 6] = [310, 511, 512, 513, 700, 899];
/// Random places per kind of tampering: every one must be found.
const CASES: u32 = 100;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn an_edited_entry_is_found_and_named(size in proptest::sample::select(&SIZES[..]), place: u64, at: usize, bit in 0..8u8) {
        let fixture = Fixture::new(size);
        let index = place % size;
        fixture.change_bundle(index, |all, which| {
            let at = at % all[which].len();
            all[which][at] ^= 1 << bit;
        });

        let report = fixture.check();
        prop_assert!(report.findings.iter().any(|finding| finding.index == index && finding.entries == 1), "{report:?}");
    }

    #[test]
    fn a_dropped_entry_is_found_and_named(size in proptest::sample::select(&SIZES[..]), place: u64) {
        let fixture = Fixture::new(size);
        let index = place % size;
        fixture.change_bundle(index, |all, which| { all.remove(which); });

        prop_assert!(names(&fixture.check(), index));
    }

    #[test]
    fn an_inserted_entry_is_found_and_named(size in proptest::sample::select(&SIZES[..]), place: u64) {
        let fixture = Fixture::new(size);
        let index = place % size;
        fixture.change_bundle(index, |all, which| all.insert(which, b"never happened".to_vec()));

        let report = fixture.check();
        prop_assert!(names(&report, index), "{index}: {report:?}");
    }

    #[test]
    fn entries_that_changed_places_are_found_and_named(size in proptest::sample::select(&SIZES[..]), place: u64) {
        let fixture = Fixture::new(size);
        let index = place % (size / WIDTH * WIDTH - 1);
        let index = if index % WIDTH == WIDTH - 1 { index - 1 } else { index };
        fixture.change_bundle(index, |all, which| all.swap(which, which + 1));

        let report = fixture.check();
        prop_assert!(report.findings.first().is_some_and(|finding| finding.index == index), "{report:?}");
    }

    #[test]
    fn a_log_that_was_cut_is_found_and_named(size in proptest::sample::select(&SIZES[..]), place: u64) {
        let fixture = Fixture::new(size);
        let index = 300 + place % (size - 300);
        fixture.rewrite(&entries(0..index));

        let report = fixture.check();
        prop_assert!(names(&report, index), "{report:?}");
    }

    #[test]
    fn a_rewritten_log_with_all_its_tiles_is_found_between_the_checkpoints(size in proptest::sample::select(&SIZES[..]), place: u64, what in 0..4) {
        let fixture = Fixture::new(size);
        let index = place % (size - 1);
        let mut all = entries(0..size);
        match what {
            0 => all[index as usize] = b"another story".to_vec(),
            1 => { all.remove(index as usize); all.push(b"filler".to_vec()); }
            2 => { all.insert(index as usize, b"never happened".to_vec()); all.pop(); }
            _ => all.swap(index as usize, index as usize + 1),
        }
        fixture.rewrite(&all);

        let report = fixture.check();
        prop_assert!(names(&report, index), "{report:?}");
        // What was signed before the change is not blamed.
        prop_assert!(index < 300 || !names(&report, 0), "{report:?}");
    }

    #[test]
    fn any_flipped_byte_of_any_file_is_found(size in proptest::sample::select(&SIZES[..]), place: usize, at: usize, bit in 0..8u8) {
        let fixture = Fixture::new(size);
        let mut files: Vec<PathBuf> = Vec::new();
        let mut folders = vec![fixture.log()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        let file = &files[place % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        fs::write(file, bytes).unwrap();

        let report = verify::verify(&fixture.log(), &policy(), std::slice::from_ref(&fixture.early), |_, _| {});
        prop_assert!(report.is_err() || !report.unwrap().is_clean(), "{}", file.display());
    }
}

/// The checkpoint that is shown names this size; nobody signed it.
fn claim(fixture: &Fixture, size: u64) {
    let path = fixture.log().join("checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replacen(&format!("\n{}\n", fixture.size), &format!("\n{size}\n"), 1)).unwrap();
}

#[test]
fn a_checkpoint_of_an_absurd_size_is_checked_as_far_as_there_are_files() {
    for size in [u64::MAX, 1 << 40, 1000] {
        let fixture = Fixture::new(400);
        claim(&fixture, size);
        let mut seen = 0;

        let report = verify::verify(&fixture.log(), &policy(), &[], |_, _| seen += 1).unwrap();

        assert!(!report.is_clean() && report.trust.is_none(), "{report:?}");
        assert!(report.findings[0].what.contains("is not believed"), "{report:?}");
        assert!(seen <= 400 && report.count < 10, "{seen} {report:?}");
        assert!(names(&report, 999), "{report:?}");
    }
}

#[test]
fn a_signed_size_beyond_the_files_is_checked_as_far_as_there_are_files() {
    let fixture = Fixture::new(400);
    let root = Reader::new(fixture.log(), 400).root().unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: u64::MAX, root };
    let signed = SignedCheckpoint::sign(checkpoint, &keys(), 3).unwrap();
    fs::write(fixture.log().join("checkpoint"), signed.to_string()).unwrap();

    let report = verify::verify(&fixture.log(), &policy(), &[], |_, _| {}).unwrap();

    assert!(!report.is_clean() && report.trust.is_some() && report.count < 10, "{report:?}");
    assert!(names(&report, u64::MAX - 1), "{report:?}");
}

#[test]
fn a_bundle_that_is_gone_hides_neither_those_after_it_nor_the_end() {
    let fixture = Fixture::new(1000);
    fs::remove_file(fixture.log().join("tile/entries/001")).unwrap();
    fixture.change_bundle(600, |all, at| all[at].push(b'!'));

    let report = fixture.check();

    assert!(names(&report, 256) && names(&report, 600), "{report:?}");
}
