//! Asks the witnesses of the policy to cosign.

use std::time::Duration;

use ground::blocking;
use ledger::{NoteSignature, SignedCheckpoint, VerifyingKey, witness::AddCheckpoint};
use reqwest::StatusCode;
use tokio::time::Instant;

use super::Ctx;
use crate::Error;

/// A witness that is asked.
struct Asked {
    name: String,
    key: VerifyingKey,
    url: String,
    /// What it cosigned last, as far as we know.
    size: u64,
}

/// Asks every witness of the policy that has an address to cosign each checkpoint, for ever.
pub(crate) async fn ask_all(ctx: Ctx) -> Result<(), Error> {
    let Some(policy) = &ctx.policy else { return Ok(()) };
    let named = policy.witnesses().filter_map(|(name, key, url)| {
        Some(Asked {
            name: name.to_owned(),
            key: key.clone(),
            url: url?.trim_end_matches('/').to_owned(),
            size: 0,
        })
    });
    let mut asked: Vec<Asked> = named.collect();
    let client = reqwest::Client::builder()
        .timeout(ctx.config.witness_timeout.0)
        .build()
        .map_err(|error| Error::Invalid(format!("a client for witnesses cannot be made: {error}")))?;
    let mut included = ctx.included.subscribe();
    loop {
        included.borrow_and_update();
        let mut trouble = Vec::new();
        let reader = ctx.reader();
        let shown = blocking(move || reader.checkpoint()).await??;
        if let Some(mut shown) = shown {
            let mut cosigned = false;
            for witness in &mut asked {
                match witness.ask(&ctx, &client, &shown).await {
                    Ok(signatures) => {
                        cosigned = true;
                        shown.add(signatures);
                    }
                    Err(why) => {
                        ctx.counts.unwitnessed.inc();
                        trouble.push(format!("{}: {why}", witness.name));
                    }
                }
            }
            if cosigned {
                if policy.check(&shown).is_ok() {
                    ctx.cosigned.send_replace(Some(shown.clone()));
                }
                show(&ctx, shown).await?;
            }
        }
        ctx.alarm("witness", (!trouble.is_empty()).then(|| trouble.join("; ")));
        tokio::select! {
            () = ctx.stopping.cancelled() => return Ok(()),
            changed = included.changed() => changed.map_err(|_| Error::Ended("signing"))?,
            // One that was away is asked again, also when nothing happens.
            () = ctx.clock.sleep(Duration::from_secs(10)), if !trouble.is_empty() => {}
        }
    }
}

/// The checkpoint of at least this size that the witnesses of the policy have cosigned, waited for until then. None when
/// none are asked, or while one of them is away.
pub(crate) async fn cosigned(ctx: &Ctx, size: u64, until: Instant) -> Option<SignedCheckpoint> {
    let fits = |checkpoint: &Option<SignedCheckpoint>| {
        checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.unverified().size >= size)
    };
    let mut cosigned = ctx.cosigned.subscribe();
    let is_away = || ctx.alarms.lock().contains_key("witness");
    if !ctx.asks_witnesses() || (!fits(&cosigned.borrow()) && is_away()) {
        return None;
    }
    let until = until.min(Instant::now() + ctx.config.witness_timeout.0);
    let found = tokio::time::timeout_at(until, cosigned.wait_for(fits)).await;
    found.ok()?.ok()?.clone()
}

/// Shows the cosigned checkpoint, unless a newer one is shown by now.
async fn show(ctx: &Ctx, cosigned: SignedCheckpoint) -> Result<(), Error> {
    let (ctx, folder) = (ctx.clone(), ctx.public_folder());
    blocking(move || -> Result<(), Error> {
        let _showing = ctx.showing.lock();
        let shown = ledger::store::Reader::new(&folder, 0).checkpoint()?;
        if shown.is_some_and(|shown| shown.unverified() == cosigned.unverified()) {
            ledger::store::show(&folder, &cosigned)?;
        }
        Ok(())
    })
    .await?
}

impl Asked {
    async fn ask(
        &mut self,
        ctx: &Ctx,
        client: &reqwest::Client,
        shown: &SignedCheckpoint,
    ) -> Result<Vec<NoteSignature>, String> {
        // Once more when it knows another size than we thought.
        for _ in 0..2 {
            let old = self.size.min(shown.unverified().size);
            let (reader, size) =
                (ledger::store::Reader::new(ctx.public_folder(), shown.unverified().size), old);
            let proof =
                blocking(move || reader.consistency(size)).await.map_err(|error| error.to_string())?;
            let proof = proof.map_err(|error| error.to_string())?;
            let request = AddCheckpoint { old, proof: proof.hashes, checkpoint: shown.clone() };
            let answer =
                client.post(format!("{}/add-checkpoint", self.url)).body(request.to_string()).send().await;
            let answer = answer.map_err(|error| chassis::chain(&error))?;
            let status = answer.status();
            let body = answer.text().await.map_err(|error| chassis::chain(&error))?;
            if status == StatusCode::CONFLICT {
                let known = body.trim().parse().map_err(|_| format!("it answers 409 {body:?}"))?;
                if known == self.size {
                    return Err(format!("it has another log of size {known}"));
                }
                self.size = known;
                continue;
            }
            if !status.is_success() {
                return Err(format!("it answers {status}: {}", body.trim()));
            }
            let lines = body.lines().map(str::parse).collect::<Result<Vec<NoteSignature>, _>>();
            let lines = lines.map_err(|error| error.to_string())?;
            let own: Vec<NoteSignature> =
                lines.into_iter().filter(|line| self.key.is_named_by(line)).collect();
            let valid =
                !own.is_empty() && own.iter().all(|line| self.key.verify(shown.unverified(), line).is_ok());
            if !valid {
                return Err("its answer has no signature of the policy's key".to_owned());
            }
            self.size = shown.unverified().size;
            return Ok(own);
        }
        Err("it keeps naming another size".to_owned())
    }
}
