//! The raw NATS client: the baseline of the bus' figures. The only file outside of `bus` that names it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, PullConsumer, pull},
    message::PublishMessage,
    stream::{Config, RetentionPolicy, StorageType},
};
use bytes::Bytes;
use futures::StreamExt;
use model::DeploymentId;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::rounds::{Times, closed_loop, timed};

/// Streams that raw publishes are spread over: as many as a journal has shards.
pub const STREAMS: usize = bus::SHARDS as usize;

/// A raw connection. Cheap to clone.
#[derive(Clone)]
pub struct Raw {
    client: async_nats::Client,
    jetstream: jetstream::Context,
}

impl Raw {
    /// Connects.
    pub async fn connect(url: &str, key: &Path) -> Result<Raw> {
        let seed = std::fs::read_to_string(key).with_context(|| format!("reading {}", key.display()))?;
        let options = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned());
        let client = options.connect(url).await.with_context(|| format!("connecting to {url}"))?;
        Ok(Raw { jetstream: jetstream::new(client.clone()), client })
    }

    /// Answers requests on `subject` with what `answer` makes of them, for as long as the set lives.
    pub async fn answer(
        &self,
        subject: &'static str,
        answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
        tasks: &mut JoinSet<()>,
    ) -> Result<()> {
        let client = self.client.clone();
        let mut requests = client.subscribe(subject).await?;
        client.flush().await?;
        tasks.spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    let _ = client.publish(reply, answer(&request.payload).into()).await;
                }
            }
        });
        Ok(())
    }

    /// One request and its answer.
    pub async fn ask(&self, subject: &'static str, payload: Bytes) -> Result<Bytes> {
        Ok(self.client.request(subject, payload).await?.payload)
    }

    /// A work queue like the one of our jobs.
    pub async fn queue(&self, name: &str, subject: &str) -> Result<()> {
        self.stream(Config { retention: RetentionPolicy::WorkQueue, ..config(name, subject) }).await
    }

    /// The streams of [`Raw::publishes_per_second`] and [`Raw::jobs_per_second`].
    pub async fn streams(&self) -> Result<()> {
        for number in 0..STREAMS {
            self.stream(config(&format!("RAW_{number}"), &format!("raw.{number}.>"))).await?;
        }
        self.queue("RAW_WORK", "work.job").await
    }

    async fn stream(&self, config: Config) -> Result<()> {
        let name = config.name.clone();
        self.jetstream.create_stream(config).await.with_context(|| format!("making stream {name}"))?;
        Ok(())
    }

    /// One durable publish.
    pub async fn publish(&self, subject: String, payload: Bytes, message_id: &str) -> Result<u64> {
        let message = PublishMessage::build().payload(payload).message_id(message_id);
        Ok(self.jetstream.send_publish(subject, message).await?.await?.sequence)
    }

    /// One durable publish on top of the last sequence known on the subject.
    pub async fn publish_on_top(
        &self,
        subject: String,
        payload: Bytes,
        message_id: &str,
        expected: u64,
    ) -> Result<u64> {
        let message = PublishMessage::build()
            .payload(payload)
            .message_id(message_id)
            .expected_last_subject_sequence(expected);
        Ok(self.jetstream.send_publish(subject, message).await?.await?.sequence)
    }

    /// Pulls from a work queue and confirms every message after `handled` was called with it, for as long as the set
    /// lives.
    pub async fn work(
        &self,
        stream: &str,
        handled: impl Fn(&[u8]) + Send + 'static,
        tasks: &mut JoinSet<()>,
    ) -> Result<()> {
        let config = pull::Config {
            durable_name: Some("raw".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(5),
            ..Default::default()
        };
        let consumer: PullConsumer = self.jetstream.get_stream(stream).await?.create_consumer(config).await?;
        let mut messages = consumer.messages().await?;
        tasks.spawn(async move {
            let mut confirming = JoinSet::new();
            while let Some(Ok(message)) = messages.next().await {
                handled(&message.payload);
                confirming.spawn(async move {
                    let _ = message.double_ack().await;
                });
                while confirming.try_join_next().is_some() {}
            }
        });
        Ok(())
    }

    /// Durable publishes of `size` bytes per second, so many at a time, spread over the streams.
    pub async fn publishes_per_second(&self, concurrency: usize, total: usize, size: usize) -> Result<f64> {
        let payload = Bytes::from(vec![b'x'; size]);
        let raw = self.clone();
        let done = closed_loop(concurrency, total, |number, share| {
            let (raw, payload) = (raw.clone(), payload.clone());
            async move {
                let mut times = Times::default();
                for turn in 0..share {
                    let subject = format!("raw.{}.{number}", (number + turn) % STREAMS);
                    let message = PublishMessage::build().payload(payload.clone());
                    let publish = async { Ok(raw.jetstream.send_publish(subject, message).await?.await?) };
                    timed(&mut times, publish).await?;
                }
                Ok(times)
            }
        });
        Ok(done.await?.per_second())
    }

    /// Jobs per second through a work queue: durable publish, pull, and confirmed acknowledgement, so many in flight.
    pub async fn jobs_per_second(&self, concurrency: usize, total: usize, size: usize) -> Result<f64> {
        let (done, mut ended) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        self.work(
            "RAW_WORK",
            move |_| {
                let _ = done.send(());
            },
            &mut tasks,
        )
        .await?;
        let payload = Bytes::from(vec![b'x'; size]);
        let began = Instant::now();
        let (mut sending, mut in_flight) = (JoinSet::new(), 0);
        for _ in 0..total {
            // A job is in flight from its sending until it was handled.
            if in_flight == concurrency {
                ended.recv().await.context("the raw worker ended")?;
                in_flight -= 1;
            }
            in_flight += 1;
            let (raw, payload, id) = (self.clone(), payload.clone(), DeploymentId::new());
            sending.spawn(async move { raw.publish("work.job".to_owned(), payload, id.as_str()).await });
        }
        for _ in 0..in_flight {
            ended.recv().await.context("the raw worker ended")?;
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        Ok(total as f64 / began.elapsed().as_secs_f64())
    }

    /// Messages that all of our streams have taken in so far: every one was a durable write.
    pub async fn writes(&self) -> Result<u64> {
        let mut writes = 0;
        let mut streams = self.jetstream.streams();
        while let Some(stream) = streams.next().await {
            let stream = stream?;
            if !stream.config.name.starts_with("RAW_") {
                writes += stream.state.last_sequence;
            }
        }
        Ok(writes)
    }
}

fn config(name: &str, subject: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        storage: StorageType::File,
        duplicate_window: Duration::from_secs(600),
        max_bytes: 1024 * 1024 * 1024,
        ..Config::default()
    }
}
