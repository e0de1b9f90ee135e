//! Dead letters: what could not be handled, whole, with the fault, so that a person can look and send it again. Of what may
//! hold a secret in plain text nothing is kept but where it was sent and why it was refused.

use async_nats::HeaderMap;
use bytes::Bytes;
use model::{Code, Fault, Timestamp};

use crate::{
    Bus, Error,
    frame::{self, MESSAGE_ID, one_line},
    subject::DEAD,
};

const FAULT: &str = "Code-Fault";
const SUBJECT: &str = "Code-Subject";
const SCRUBBED: &str = "Code-Scrubbed";
const DELIVERIES: &str = "Code-Deliveries";

/// A message that was given up on.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its place among the dead letters.
    pub seq: u64,
    /// Where it was sent.
    pub subject: String,
    /// Why it was given up.
    pub fault: Fault,
    /// How often it was tried.
    pub deliveries: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// The content type it came with.
    pub content_type: String,
    /// What it said; empty when it was scrubbed.
    pub payload: Bytes,
    /// It may have held a secret in plain text, so that nothing of what it said was kept. It cannot be sent again.
    pub scrubbed: bool,
}

impl Bus {
    /// Stores a message as a dead letter. `origin` names it for ever, so that burying it again stores it once.
    pub(crate) async fn bury(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
        fault: &Fault,
        deliveries: u64,
        origin: &str,
    ) -> Result<(), Error> {
        // What the broker would act on must not be said again.
        let mut dead: HeaderMap = headers
            .iter()
            .filter(|_| !fault.confidential)
            .flat_map(|headers| headers.iter())
            .filter(|(name, _)| !name.to_string().starts_with("Nats-") && name.to_string() != frame::TIMEOUT)
            .filter_map(|(name, values)| Some((name.clone(), values.first()?.clone())))
            .collect();
        dead.insert(MESSAGE_ID, format!("dead:{origin}"));
        dead.insert(SUBJECT, subject);
        dead.insert(DELIVERIES, deliveries.to_string());
        dead.insert(FAULT, one_line(&serde_json::to_string(fault).unwrap_or_default()));
        let tail = subject.strip_prefix("code.v1.").unwrap_or(subject);
        let payload = match fault.confidential {
            true => {
                dead.insert(SCRUBBED, "yes");
                Bytes::new()
            }
            false => payload.clone(),
        };
        self.publish_raw(format!("code.v1.dead.{tail}"), dead, payload).await?;
        self.count_dead_letter();
        Ok(())
    }

    /// Overwrites a message where the broker keeps it: what was refused for a secret in plain text must not stay on the disk.
    pub(crate) async fn erase(&self, stream: &str, sequence: u64) -> Result<(), Error> {
        let erased = self.stream(stream).await?.delete_message(sequence).await;
        erased.map(|_| ()).map_err(|error| Error::broker(format!("erasing {stream}:{sequence}"), error))
    }

    /// Sends a dead letter again to where it was first sent, as a new message. The letter stays; sending it again
    /// within 10 minutes sends it once.
    pub async fn resend(&self, seq: u64) -> Result<(), Error> {
        let found = self
            .next_on(DEAD, "code.v1.dead.>", seq)
            .await?
            .filter(|found| found.sequence == seq)
            .ok_or_else(|| Error::Missing(format!("dead letter {seq}")))?;
        if frame::text(Some(&found.headers), SCRUBBED).is_some() {
            return Err(Error::Missing(format!(
                "what dead letter {seq} said, since it may have held a secret"
            )));
        }
        let subject = frame::text(Some(&found.headers), SUBJECT).unwrap_or_default().to_owned();
        let mut headers: HeaderMap = found
            .headers
            .iter()
            .filter(|(name, _)| {
                let name = name.to_string();
                !name.starts_with("Nats-") && ![FAULT, SUBJECT, DELIVERIES].contains(&name.as_str())
            })
            .filter_map(|(name, values)| Some((name.clone(), values.first()?.clone())))
            .collect();
        headers.insert(MESSAGE_ID, format!("again:{seq}"));
        if subject.starts_with("code.v1.in.") {
            // The inbox confirms nothing; its answer is for the world.
            let sent = self.client.publish_with_headers(subject.clone(), headers, found.payload).await;
            sent.map_err(|error| Error::broker(format!("sending {subject} again"), error))?;
            return self
                .client
                .flush()
                .await
                .map_err(|error| Error::broker(format!("sending {subject} again"), error));
        }
        self.publish_raw(subject, headers, found.payload).await
    }

    /// The newest dead letters, newest last, at most `limit`.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let last = self.last_sequence(DEAD).await?;
        let mut from = last.saturating_sub(limit as u64) + 1;
        let mut letters = Vec::new();
        while from <= last
            && let Some(found) = self.next_on(DEAD, "code.v1.dead.>", from).await?
        {
            from = found.sequence + 1;
            let text = |name| frame::text(Some(&found.headers), name).unwrap_or_default();
            letters.push(DeadLetter {
                seq: found.sequence,
                subject: text(SUBJECT).to_owned(),
                fault: serde_json::from_str(text(FAULT))
                    .unwrap_or_else(|_| Fault::new(Code::Internal, "no reason given")),
                deliveries: text(DELIVERIES).parse().unwrap_or(0),
                at: Timestamp((found.time.unix_timestamp_nanos() / 1_000_000) as i64),
                content_type: text(frame::CONTENT_TYPE).to_owned(),
                scrubbed: frame::text(Some(&found.headers), SCRUBBED).is_some(),
                payload: found.payload,
            });
        }
        Ok(letters)
    }
}
