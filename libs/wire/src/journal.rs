use model::{Record, Timestamp};
use prost::Message as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, Message,
    check::{self, At},
    proto,
};

impl<E: Serialize + DeserializeOwned> Message for Record<E> {
    const NAME: &'static str = "code.v1.JournalRecord";

    fn encode(&self) -> Vec<u8> {
        let event = |event: &E| {
            let value = serde_json::to_value(event).unwrap_or_default();
            let name = value.get("event").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
            proto::JournalEvent { name, event_json: serde_json::to_vec(&value).unwrap_or_default() }
        };
        proto::JournalRecord {
            id: self.id.clone(),
            version: self.version,
            writer: self.writer.clone(),
            at: self.at.0,
            trace: self.trace.clone().unwrap_or_default(),
            events: self.events.iter().map(event).collect(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let record: proto::JournalRecord = check::frame(Self::NAME, bytes)?;
        if record.version == 0 {
            return Err(at.bad("version", "is 0, the first is 1"));
        }
        if record.events.is_empty() {
            return Err(at.bad("events", "is empty"));
        }
        at.text::<model::Token>("id", &record.id)?;
        let event = |event: proto::JournalEvent| {
            serde_json::from_slice(&event.event_json)
                .map_err(|error| at.bad("events", format_args!("{:?}: {error}", event.name)))
        };
        Ok(Record {
            id: record.id,
            version: record.version,
            writer: record.writer,
            at: Timestamp(record.at),
            trace: Some(record.trace).filter(|trace| !trace.is_empty()),
            events: record.events.into_iter().map(event).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::{DeploymentId, target::TargetEvent};
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record<TargetEvent> {
        Record {
            id: "prod--docker--shop".into(),
            version: 7,
            writer: "rep-1".into(),
            at: Timestamp(1_700_000_000_123),
            trace: None,
            events: vec![
                TargetEvent::Released { deployment: DeploymentId::derived("a"), token: 3 },
                TargetEvent::Left { deployment: DeploymentId::derived("b") },
            ],
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        assert_eq!(Record::<TargetEvent>::decode(&record().encode()).unwrap(), record());
    }

    #[test]
    fn each_event_carries_its_name_outside_of_its_json() {
        let frame = proto::JournalRecord::decode(record().encode().as_slice()).unwrap();

        assert_eq!(
            frame.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(),
            ["released", "left"]
        );
    }

    #[test]
    fn an_event_of_a_newer_version_is_an_error_and_not_skipped() {
        let mut frame = proto::JournalRecord::decode(record().encode().as_slice()).unwrap();
        frame.events[0].event_json = br#"{"event":"teleported"}"#.to_vec();

        let error = Record::<TargetEvent>::decode(&frame.encode_to_vec()).unwrap_err();

        assert!(error.to_string().contains("events"), "{error}");
    }

    #[test]
    fn an_empty_record_is_refused() {
        let mut empty = record();
        empty.events.clear();

        assert!(Record::<TargetEvent>::decode(&empty.encode()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::<TargetEvent>::decode(&bytes);
            let _ = model::deployment::StepJob::decode(&bytes);
            let _ = model::route::RouteTable::decode(&bytes);
            let _ = model::Fault::decode(&bytes);
        }
    }
}
