//! How the bytes of an answer go out: in which parts, with which pauses, and whether to the end.

use std::{io, io::Write, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::stream;

use crate::{scenario::Fault, stage::Open};

/// One step of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Bytes),
    Pause(Duration),
    /// Silence until the asker leaves.
    Silence,
    /// The connection breaks.
    Break,
}

/// The steps of a body of these parts, shaped by the faults.
pub(crate) fn steps(parts: Vec<Bytes>, faults: &[Fault]) -> Vec<Step> {
    let mut steps: Vec<Step> = parts.into_iter().map(Step::Send).collect();
    for fault in faults {
        match fault {
            Fault::Stall { after } => end_with(&mut steps, *after, Some(Step::Silence)),
            Fault::Cut { after } => end_with(&mut steps, *after, Some(Step::Break)),
            Fault::EndEarly { after } => end_with(&mut steps, *after, None),
            Fault::CutInCharacter => cut_in_character(&mut steps),
            Fault::Drip { bytes, every_ms } => steps = drip(steps, *bytes, Duration::from_millis(*every_ms)),
            _ => {}
        }
    }
    if faults.contains(&Fault::Gzip) { gzip(steps) } else { steps }
}

/// A body that takes these steps. `open` is finished with the last byte.
pub(crate) fn body(steps: Vec<Step>, open: Open) -> Body {
    let begun = (steps.into_iter(), open);
    Body::from_stream(stream::unfold(begun, |(mut steps, mut open)| async move {
        loop {
            let sent: Result<Bytes, io::Error> = match steps.next() {
                None => {
                    open.finish();
                    return None;
                }
                Some(Step::Pause(span)) => {
                    tokio::time::sleep(span).await;
                    continue;
                }
                Some(Step::Silence) => std::future::pending().await,
                Some(Step::Break) => Err(io::ErrorKind::ConnectionAborted.into()),
                Some(Step::Send(bytes)) if bytes.is_empty() => continue,
                Some(Step::Send(bytes)) => Ok(bytes),
            };
            return Some((sent, (steps, open)));
        }
    }))
}

/// Ends after `parts` parts that are sent; a body with fewer parts is halved, so that something is always missing.
fn end_with(steps: &mut Vec<Step>, parts: usize, last: Option<Step>) {
    let sent: Vec<usize> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| matches!(step, Step::Send(_)))
        .map(|(at, _)| at)
        .collect();
    match sent.get(parts) {
        Some(at) => steps.truncate(*at),
        None => {
            if let Some(Step::Send(bytes)) = sent.last().and_then(|at| steps.get_mut(*at)) {
                bytes.truncate(bytes.len() / 2);
            }
        }
    }
    // What was sent must reach the asker before the end of the connection does.
    if last == Some(Step::Break) {
        steps.push(Step::Pause(Duration::from_millis(20)));
    }
    steps.extend(last);
}

/// Breaks the connection behind the first byte of the last character that has several; without one, in the middle.
fn cut_in_character(steps: &mut Vec<Step>) {
    for at in (0..steps.len()).rev() {
        if let Some(Step::Send(bytes)) = steps.get_mut(at)
            && let Some(lead) = bytes.iter().rposition(|byte| *byte >= 0xc0)
        {
            bytes.truncate(lead + 1);
            steps.truncate(at + 1);
            steps.extend([Step::Pause(Duration::from_millis(20)), Step::Break]);
            return;
        }
    }
    end_with(steps, usize::MAX, Some(Step::Break));
}

fn drip(steps: Vec<Step>, bytes: usize, every: Duration) -> Vec<Step> {
    // A pause of nothing still takes a tick of the timer.
    let pause = (!every.is_zero()).then_some(Step::Pause(every));
    let one = |step| match step {
        Step::Send(whole) => {
            let drops = whole.chunks(bytes.max(1)).map(|drop| Step::Send(Bytes::copy_from_slice(drop)));
            drops.flat_map(|drop| [Some(drop), pause.clone()]).flatten().collect()
        }
        other => vec![other],
    };
    steps.into_iter().flat_map(one).collect()
}

/// Packs what is sent, part by part, so that a stream still flows.
fn gzip(steps: Vec<Step>) -> Vec<Step> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut packed = Vec::with_capacity(steps.len() + 1);
    let mut whole = true;
    for step in steps {
        match step {
            Step::Send(bytes) => {
                // Writing into memory cannot fail.
                let _ = encoder.write_all(&bytes).and_then(|()| encoder.flush());
                packed.push(Step::Send(std::mem::take(encoder.get_mut()).into()));
            }
            other => {
                whole &= !matches!(other, Step::Silence | Step::Break);
                packed.push(other);
            }
        }
    }
    if whole {
        packed.push(Step::Send(encoder.finish().unwrap_or_default().into()));
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    fn sent(steps: &[Step]) -> Vec<u8> {
        let bytes = |step: &Step| if let Step::Send(bytes) = step { bytes.to_vec() } else { Vec::new() };
        steps.iter().flat_map(bytes).collect()
    }

    #[test]
    fn a_cut_leaves_something_out() {
        let two = steps(parts(&["ab", "cd", "ef"]), &[Fault::Cut { after: 2 }]);
        let short = steps(parts(&["abcd"]), &[Fault::EndEarly { after: 7 }]);

        assert_eq!((sent(&two).as_slice(), two.last()), (b"abcd".as_slice(), Some(&Step::Break)));
        assert_eq!(sent(&short), b"ab");
    }

    #[test]
    fn a_character_can_be_cut() {
        let cut = steps(parts(&["a✓", "b✓c", "d"]), &[Fault::CutInCharacter]);

        assert_eq!(sent(&cut), b"a\xe2\x9c\x93b\xe2");
    }

    #[test]
    fn gzip_flows_and_drips_add_up() {
        let packed =
            steps(parts(&["hello ", "world"]), &[Fault::Drip { bytes: 2, every_ms: 1 }, Fault::Gzip]);

        let mut text = String::new();
        let packed = sent(&packed);
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut text).unwrap();

        assert_eq!(text, "hello world");
    }
}
