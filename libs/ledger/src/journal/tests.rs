use proptest::prelude::*;

use super::*;

fn frame(start: u64, count: u64) -> Frame {
    let entries = (start..start + count).map(|number| format!("entry {number}").into_bytes()).collect();
    Frame { start, entries, state: format!("state after {}", start + count).into_bytes() }
}

#[test]
fn what_was_appended_is_there_again_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, none) = Journal::open(folder.path()).unwrap();
    journal.append(&frame(0, 3)).unwrap();
    journal.append(&frame(3, 1)).unwrap();
    journal.rotate(4).unwrap();
    journal.append(&frame(4, 2)).unwrap();
    drop(journal);

    let (journal, frames) = Journal::open(folder.path()).unwrap();
    assert!(none.is_empty());
    assert_eq!(frames, [frame(0, 3), frame(3, 1), frame(4, 2)]);

    journal.drop_older().unwrap();
    drop(journal);
    assert_eq!(Journal::open(folder.path()).unwrap().1, [frame(4, 2)]);
}

#[test]
fn a_broken_frame_before_the_last_is_no_crash_and_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    journal.append(&frame(0, 3)).unwrap();
    journal.append(&frame(3, 3)).unwrap();
    let path = segment(folder.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[30] ^= 1;
    fs::write(&path, bytes).unwrap();

    let error = Journal::open(folder.path()).unwrap_err().to_string();

    assert!(error.contains("broken at byte 0, before its end"), "{error}");
}

#[test]
fn a_batch_with_an_entry_that_is_too_long_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    let long = Frame { start: 0, entries: vec![vec![0; crate::MAX_ENTRY + 1]], state: Vec::new() };

    assert!(matches!(journal.append(&long), Err(Error::TooLong { .. })));
    journal.append(&frame(0, 1)).unwrap();
    drop(journal);
    assert_eq!(Journal::open(folder.path()).unwrap().1, [frame(0, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_at_any_byte_whole_frames_are_there_and_the_rest_is_not(counts in proptest::collection::vec(1u64..5, 1..6), cut: u64) {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        let (mut start, mut all, mut ends) = (0, Vec::new(), vec![0]);
        for count in counts {
            let next = frame(start, count);
            journal.append(&next).unwrap();
            all.push(next);
            ends.push(journal.length);
            start += count;
        }
        let cut = cut % (journal.length + 1);
        drop(journal);
        let path = segment(folder.path(), 0);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..cut as usize]).unwrap();

        let (mut journal, frames) = Journal::open(folder.path()).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        prop_assert_eq!(&frames[..], &all[..whole]);

        // And it goes on from there.
        let start = frames.last().map_or(0, |last| last.start + last.entries.len() as u64);
        journal.append(&frame(start, 2)).unwrap();
        drop(journal);
        let (_, again) = Journal::open(folder.path()).unwrap();
        prop_assert_eq!(again.len(), whole + 1);
    }

    #[test]
    fn arbitrary_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(segment(folder.path(), 0), [MAGIC.as_slice(), &bytes].concat()).unwrap();

        let _ = Journal::open(folder.path());
    }
}
