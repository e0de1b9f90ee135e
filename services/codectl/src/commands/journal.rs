//! Records of journals that cannot be used: named, shown, and passed over at a person's word.

use client::Client;
use model::{
    Timestamp,
    journal::{JournalAction, JournalReply, Unreadable},
};

use crate::{
    cli::{Global, Journal},
    connect::connect,
    failure::Failure,
    output::{self, paint},
};

/// Names, shows or passes over. Exit status 1 when a journal is set aside.
pub async fn journal(global: &Global, journal: Journal) -> Result<u8, Failure> {
    let client = connect(global).await?;
    match journal {
        Journal::List => {
            let reply = ask(&client, JournalAction::List {}).await?;
            Ok(show(&reply, "no journal is set aside"))
        }
        Journal::Show { id } => {
            let none = format!("the journal of {id} can be read");
            let reply = ask(&client, JournalAction::Show { id }).await?;
            Ok(show(&reply, &none))
        }
        Journal::Skip { id, seq, reason } => skip(&client, id, &seq, reason).await,
    }
}

async fn ask(client: &Client, action: JournalAction) -> Result<JournalReply, Failure> {
    Ok(client.journals(action).await?)
}

/// What is known of the engine's journals, for `doctor`.
pub async fn set_aside(client: &Client) -> Result<JournalReply, Failure> {
    ask(client, JournalAction::List {}).await
}

async fn skip(client: &Client, id: String, named: &[u64], reason: String) -> Result<u8, Failure> {
    let found = ask(client, JournalAction::Show { id: id.clone() }).await?.unreadable;
    let found: Vec<Unreadable> = found.into_iter().filter(|found| found.holds_up).collect();
    let sequences = |of: &mut dyn Iterator<Item = u64>| {
        let mut all: Vec<u64> = of.collect();
        all.sort_unstable();
        all
    };
    let (there, named) =
        (sequences(&mut found.iter().map(|found| found.seq)), sequences(&mut named.iter().copied()));
    if there.is_empty() {
        return Err(Failure::other(format!(
            "every record of journal {id} can be read: nothing is passed over"
        )));
    }
    if there != named {
        let all: Vec<String> = there.iter().map(|seq| format!("--seq {seq}")).collect();
        return Err(Failure::other(format!(
            "journal {id} is whole again only without all records that cannot be used; if that is meant, say {}",
            all.join(" ")
        )));
    }
    let records = found.into_iter().map(|found| (found.seq, found.digest)).collect();
    ask(client, JournalAction::Skip { id: id.clone(), records, reason }).await?;
    if output::json() {
        output::document(&serde_json::json!({"skipped": there, "journal": id}));
    } else {
        let all: Vec<String> = there.iter().map(u64::to_string).collect();
        output::line(format!("{} {} of journal {id}", paint::good("passed over"), all.join(", ")));
    }
    Ok(0)
}

fn show(reply: &JournalReply, none: &str) -> u8 {
    if output::json() {
        output::document(reply);
    } else if reply.unreadable.is_empty() {
        output::line(paint::good(none));
    } else {
        reply.unreadable.iter().for_each(one);
        if reply.more > 0 {
            output::line(format!("and {} more", reply.more));
        }
    }
    u8::from(reply.unreadable.iter().any(|found| found.holds_up))
}

fn one(found: &Unreadable) {
    let (sign, what) = if found.holds_up {
        (paint::bad("✗"), "is set aside")
    } else {
        (paint::warn("!"), "is no journal; what stands there holds up nothing")
    };
    output::line(format!("{sign} {} {} {what}", found.log, paint::strong(&found.id)));
    let stored =
        if found.at == Timestamp::default() { String::new() } else { format!(", stored {}", found.at) };
    let bytes = match found.size {
        0 => "none".to_owned(),
        size => format!("{size} that begin with {:?}", found.begins),
    };
    for (name, value) in [
        ("record", format!("sequence {} of {}{stored}", found.seq, found.stream)),
        ("why", found.why.clone()),
        ("by", found.by.as_ref().map_or("unknown".to_owned(), ToString::to_string)),
        ("bytes", bytes),
        ("digest", found.digest.to_string()),
    ] {
        output::line(format!("  {} {value}", paint::faint(format!("{name:<7}"))));
    }
    if found.holds_up {
        output::line(format!(
            "  {} start an engine that can read it, or pass it over: codectl journal skip {} --seq {} --reason …",
            paint::moving("next:"),
            found.id,
            found.seq
        ));
    }
}
