//! How fast certificates are verified and made on one core, and how large one is. The baseline is what its signatures
//! alone cost with the same library. Counted in time on the core, not on the wall.

#[allow(clippy::expect_used, reason = "what the tests certify, too")]
#[path = "../../../libs/certificate/tests/it/fixture.rs"]
mod fixture;
#[allow(clippy::unwrap_used, reason = "what the tests certify, too")]
#[path = "../../../libs/certificate/tests/it/log.rs"]
mod log;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
};
use certificate::{
    Algorithm, Certificate, PublicKey,
    dsse::{Envelope, encoding},
    verify,
};
use clap::Parser;
use fixture::{NOW, Office, facts, promoted};

/// Verifies and makes certificates.
#[derive(Parser)]
#[command(name = "certificates")]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let Arguments { options } = Arguments::parse();
    // One thread: what is measured is one core.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let figures = runtime.block_on(measure(&options))?;
    output::finish("certificates", "make bench ARGS=certificates", &options, figures)
}

async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let (office, kept) = (Office::open(), log::Log::new());
    let plain = office.issue(&promoted()).await;
    let (logged, _) = log::logged(&office, &kept).await;
    let (trust, with_log) = (office.ready(), kept.trust(&office));
    let span = Duration::from_millis(options.size(3000, 500));

    let file = plain.to_bytes();
    let verified =
        rate(span, || verify(&file, &trust, NOW).map(drop).map_err(|problems| anyhow!("{}", problems[0])))?;
    let bare = bare(&plain, &office)?;
    let signatures =
        rate(span, || bare.iter().all(Bare::holds).then_some(()).context("a signature does not hold"))?;
    let file_with_log = logged.to_bytes();
    let proven = rate(span, || {
        verify(&file_with_log, &with_log, NOW).map(drop).map_err(|problems| anyhow!("{}", problems[0]))
    })?;

    let (said, documents) = facts(&promoted());
    let (mut made, began) = (0_u32, busy()?);
    while busy()? - began < span {
        certificate::issue(
            &said,
            documents.clone(),
            fixture::journal(&promoted()),
            &office.classic,
            &office.quantum,
        )
        .await?;
        made += 1;
    }
    let made = f64::from(made) / (busy()? - began).as_secs_f64();

    let kib = |bytes: usize| bytes as f64 / 1024.0;
    Ok(vec![
        Figure::new("certificates verified, one core", "1/s", Better::More, verified)
            .against("its three signatures alone", signatures)
            .aims(Aim::AtLeast(1000.0)),
        Figure::new("the same with the audit log's proof and a witness", "1/s", Better::More, proven)
            .against("without the proof", verified)
            .aims(Aim::AtLeast(1000.0)),
        Figure::new("certificates made, one core", "1/s", Better::More, made),
        Figure::new("size of a certificate of six steps", "KiB", Better::Less, kib(file.len())),
        Figure::new("the same with the audit log's proof", "KiB", Better::Less, kib(file_with_log.len())),
    ])
}

/// How often in a second of a core's time, whoever else uses the machine.
fn rate(span: Duration, work: impl Fn() -> Result<()>) -> Result<f64> {
    work()?;
    let (mut times, began) = (0_u32, busy()?);
    while busy()? - began < span {
        work()?;
        times += 1;
    }
    Ok(f64::from(times) / (busy()? - began).as_secs_f64())
}

/// The time that this thread has spent on a core.
fn busy() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("reading the thread's time")?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map(Duration::from_nanos).context("the thread's time is no number")
}

/// A signature and what it takes to check it.
struct Bare {
    key: PublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Bare {
    fn holds(&self) -> bool {
        self.key.verifies(&self.message, &self.signature)
    }
}

fn bare(certificate: &Certificate, office: &Office) -> Result<Vec<Bare>> {
    let of = |envelope: &Envelope, at: usize, algorithm: Algorithm| -> Result<Bare> {
        let known = office.ring.keys.iter().find(|key| key.algorithm == algorithm).context("no such key")?;
        Ok(Bare {
            key: known.key()?,
            message: encoding(&envelope.payload_type, &STANDARD.decode(&envelope.payload)?),
            signature: STANDARD.decode(&envelope.signatures[at].sig)?,
        })
    };
    Ok(vec![
        of(&certificate.bundle.dsse_envelope, 0, Algorithm::EcdsaP256)?,
        of(&certificate.vsa, 0, Algorithm::EcdsaP256)?,
        of(&certificate.vsa, 1, Algorithm::MlDsa65)?,
    ])
}
