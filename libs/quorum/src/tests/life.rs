//! What a cluster goes through: members come and go, fall behind, are upgraded, replaced and cut off.

use std::time::Duration;

use model::fault::Code;
use rand::{Rng, SeedableRng, rngs::StdRng};
use testkit::eventually;

use super::{
    Bug,
    cluster::{Cluster, HASTY, LONG},
    kv::{Change, Do, Newer, Numbers},
};
use crate::{Error, Replicated, Role, state::State, types::MAX_COMMAND};

const SHORT: Duration = Duration::from_millis(400);

fn change(what: Do) -> Change {
    Change { key: "n".to_owned(), what }
}

async fn add<S: State<Command = Change, Reply = u64>>(member: &Replicated<S>) -> u64 {
    member.propose(&member.ticket(), &change(Do::Add), LONG).await.unwrap()
}

fn value(state: &Numbers) -> u64 {
    state.values.get("n").copied().unwrap_or_default()
}

/// A member that does not lead.
fn another(leader: usize, many: usize) -> usize {
    (leader + 1) % many
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_takes_proposals_and_reads_what_was_acknowledged_elsewhere() {
    let cluster = Cluster::<Numbers>::of(3, 1, None).await;

    for at in 0..9 {
        let (one, other) = (cluster.at(at % 3), cluster.at((at + 1) % 3));
        assert_eq!(add(one).await, at as u64 + 1);
        assert_eq!(other.read(LONG, value).await.unwrap(), at as u64 + 1);
    }

    let stale = cluster.at(0).stale(value);
    assert!(stale.index > 9 && stale.age.is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_applied_once_also_after_a_snapshot_and_the_loss_of_all_power() {
    let again = async |bug| {
        let mut cluster = Cluster::<Numbers>::of(3, 2, bug).await;
        let ticket = cluster.at(0).ticket();
        let first = cluster.at(0).propose(&ticket, &change(Do::Add), LONG).await.unwrap();
        for at in 0..200 {
            add(cluster.at(at % 3)).await;
        }
        let members = cluster.alive();
        eventually("a snapshot everywhere", LONG, async || {
            let covered: Vec<u64> = members.iter().map(|one| one.status().snapshot).collect();
            if covered.iter().all(|at| *at > 10) { Ok(()) } else { Err(format!("{covered:?}")) }
        })
        .await;
        drop(members);
        for at in 0..3 {
            cluster.kill(at).await;
        }
        for at in 0..3 {
            cluster.start(at).await.unwrap();
        }
        let second = cluster.at(1).propose(&ticket, &change(Do::Add), LONG).await.unwrap();
        let total = cluster.at(2).read(LONG, value).await.unwrap();
        cluster.stop().await;
        (first, second, total)
    };

    assert_eq!(again(None).await, (1, 1, 201));
    assert_eq!(again(Some(Bug::MemoNotInSnapshot)).await, (1, 202, 202), "the planted bug shows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_neither_writes_nor_reads_and_says_why() {
    let cluster = Cluster::<Numbers>::of(3, 3, None).await;
    let leader = cluster.leader().await;
    let (cut, rest): (Vec<String>, Vec<String>) = (
        vec![format!("m{leader}:1")],
        (0..3).filter(|at| *at != leader).map(|at| format!("m{at}:1")).collect(),
    );

    cluster.net.cut(&cut, &rest);
    let written = cluster.at(leader).propose(&cluster.at(leader).ticket(), &change(Do::Set(7)), SHORT).await;
    let read = cluster.at(leader).read(SHORT, value).await;

    assert_eq!(written.unwrap_err().code(), Code::Timeout);
    assert_eq!(read.unwrap_err().code(), Code::Timeout);
    eventually("it says so", LONG, async || {
        let status = cluster.at(leader).status();
        let said = status.not_ready.iter().any(|why| why.contains("in touch with a majority"));
        if said { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let other = another(leader, 3);
    add(cluster.at(other)).await;
    cluster.net.heal();
    cluster.leader().await;
    // The minority's write may come or not; what the majority acknowledged is there.
    assert!(cluster.at(leader).read(LONG, value).await.unwrap() > 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_cut_off_comes_back_without_unseating_the_leader() {
    let cluster = Cluster::<Numbers>::of(3, 4, None).await;
    let leader = cluster.leader().await;
    let (out, term) = (another(leader, 3), cluster.at(leader).status().term);
    let rest: Vec<String> = (0..3).filter(|at| *at != out).map(|at| format!("m{at}:1")).collect();

    cluster.net.cut(&[format!("m{out}:1")], &rest);
    // Long enough for it to have stood for election several times.
    eventually("it misses the leader", LONG, async || {
        let status = cluster.at(out).status();
        if status.in_touch > Some(Duration::from_secs(4)) {
            Ok(())
        } else {
            Err(format!("{:?}", status.in_touch))
        }
    })
    .await;
    add(cluster.at(leader)).await;
    cluster.net.heal();
    cluster.at(out).read(LONG, value).await.unwrap();

    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.at(out).status().term, term);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_nobody_makes_way_though_everybody_hears_it() {
    let cluster = Cluster::<Numbers>::of(3, 5, None).await;
    let leader = cluster.leader().await;

    for other in (0..3).filter(|at| *at != leader) {
        cluster.net.cut_one_way(&format!("m{other}:1"), &format!("m{leader}:1"));
    }

    let other = another(leader, 3);
    eventually("another leader", LONG, async || {
        let status = cluster.at(other).status();
        if status.leader.is_some_and(|id| id != cluster.at(leader).id()) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    add(cluster.at(other)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::<Numbers>::with(3, 6, HASTY, None).await;
    let (mut acknowledged, mut gaps) = (0, Vec::new());

    for _ in 0..5 {
        for at in 0..10 {
            acknowledged += 1;
            assert_eq!(add(cluster.at(at % 3)).await, acknowledged);
        }
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        let began = tokio::time::Instant::now();
        acknowledged += 1;
        assert_eq!(add(cluster.at(another(leader, 3))).await, acknowledged);
        gaps.push(began.elapsed());
        cluster.start(leader).await.unwrap();
        assert_eq!(cluster.at(leader).read(LONG, value).await.unwrap(), acknowledged);
    }

    gaps.sort();
    println!("from a leader's loss of power to the next acknowledged write: {gaps:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_back_at_once_reads_what_it_acknowledged_before_it_went() {
    let mut cluster = Cluster::<Numbers>::of(3, 16, None).await;
    let leader = cluster.leader().await;
    for _ in 0..100 {
        add(cluster.at(leader)).await;
    }
    eventually("a snapshot", LONG, async || {
        let covered = cluster.at(leader).status().snapshot;
        if covered > 10 { Ok(()) } else { Err(covered.to_string()) }
    })
    .await;
    for _ in 0..10 {
        add(cluster.at(leader)).await;
    }

    // It is heard and answered, and does not yet know what the others have.
    cluster.net.heartbeats_only(true);
    cluster.kill(leader).await;
    cluster.start(leader).await.unwrap();
    let member = cluster.at(leader).clone();
    let early = eventually("it leads on", LONG, async || match member.status().role {
        Role::Leader => Ok(member.read(SHORT, value).await),
        other => Err(format!("{other:?}")),
    });
    let early = early.await;
    cluster.net.heartbeats_only(false);

    assert_eq!(early.map_err(|error| error.code()), Err(Code::Timeout));
    assert_eq!(member.read(LONG, value).await.unwrap(), 110);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_to_five_and_shrinks_to_three_while_it_works() {
    let mut cluster = Cluster::<Numbers>::of(3, 7, None).await;
    let leader = cluster.leader().await;
    // Larger than one part of a snapshot, and no longer in the log.
    for _ in 0..40 {
        let text = Do::Ballast("b".repeat(25_000));
        cluster.at(leader).propose(&cluster.at(leader).ticket(), &change(text), LONG).await.unwrap();
    }
    for _ in 0..100 {
        add(cluster.at(leader)).await;
    }
    eventually("the log is purged", LONG, async || {
        let status = cluster.at(leader).status();
        if status.purged > 20 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;

    for _ in 0..2 {
        let new = cluster.grow().await;
        let address = cluster.slots[new].address.clone();
        let id = cluster.led(async |leader| leader.add(&address, LONG).await).await;
        assert_eq!(cluster.at(new).status().role, Role::Learner);
        cluster.led(async |leader| leader.promote(id, LONG).await).await;
        add(cluster.at(new)).await;
    }
    let votes = |seen: Vec<crate::Seen>| seen.iter().filter(|one| one.votes).count();
    assert_eq!(votes(cluster.at(leader).members()), 5);
    let ballast = cluster.at(4).read(LONG, |state| state.ballast.len()).await.unwrap();
    assert_eq!(ballast, 1_000_000);

    let leader = cluster.leader().await;
    for out in (0..3).filter(|at| *at != leader).take(2) {
        let id = cluster.at(out).id();
        cluster.led(async |leader| leader.remove(id, LONG).await).await;
        cluster.kill(out).await;
        add(cluster.at(leader)).await;
    }
    assert_eq!(votes(cluster.at(leader).members()), 3);
    assert_eq!(cluster.at(4).read(LONG, value).await.unwrap(), 104);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_replaced_by_a_new_one_in_one_change() {
    let mut cluster = Cluster::<Numbers>::of(3, 8, None).await;
    let leader = cluster.leader().await;
    let dead = another(leader, 3);
    let old = cluster.at(dead).id();
    cluster.kill(dead).await;
    add(cluster.at(leader)).await;

    let new = cluster.grow().await;
    let address = cluster.slots[new].address.clone();
    let id = cluster.led(async |leader| leader.add(&address, LONG).await).await;
    cluster.led(async |leader| leader.replace(old, id, LONG).await).await;

    let members = cluster.at(leader).members();
    assert!(members.iter().all(|one| one.id != old && one.votes), "{members:?}");
    assert_eq!(cluster.at(new).read(LONG, value).await.unwrap(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_would_stop_the_cluster_is_refused() {
    let mut cluster = Cluster::<Numbers>::of(3, 9, None).await;
    let leader = cluster.leader().await;
    let (dead, well) = (another(leader, 3), another(another(leader, 3), 3));
    let gone = cluster.at(dead).id();
    cluster.kill(dead).await;
    eventually("the leader misses it", LONG, async || {
        let seen = cluster.at(leader).members().into_iter().find(|one| one.id == gone).unwrap();
        if seen.answered > Some(Duration::from_secs(4)) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    let (one, two) = (cluster.at(leader), cluster.at(well));
    let the_other = one.remove(two.id(), LONG).await.unwrap_err().to_string();
    let itself = one.remove(one.id(), LONG).await.unwrap_err().to_string();
    let stranger = one.promote(crate::MemberId(5), LONG).await.unwrap_err().to_string();
    let elsewhere = two.remove(gone, LONG).await.unwrap_err();
    one.remove(gone, LONG).await.unwrap();

    assert!(the_other.contains("only 1 of the 2 voters"), "{the_other}");
    assert!(itself.contains("hand over to another"), "{itself}");
    assert!(stranger.contains("0000000000000005 is no member; add it first"), "{stranger}");
    assert!(elsewhere.to_string().contains(&format!("ask m{leader}:1")), "{elsewhere}");
    add(two).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_is_handed_over_and_back() {
    let cluster = Cluster::<Numbers>::of(3, 10, None).await;
    let first = cluster.leader().await;
    let second = another(first, 3);

    for (from, to) in [(first, second), (second, first)] {
        let heir = cluster.at(to).id();
        // Another may win by chance; then it is handed over from there.
        eventually("the heir leads", LONG, async || {
            let leader = cluster.leader().await;
            if leader == to {
                return Ok(());
            }
            match cluster.at(leader).transfer(heir, LONG).await {
                Ok(()) => Ok(()),
                Err(error) => Err(format!("from {from}: {error}")),
            }
        })
        .await;
        assert_eq!(cluster.leader().await, to);
        add(cluster.at(from)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_disk_is_full_acknowledges_nothing_and_the_others_go_on() {
    let cluster = Cluster::<Numbers>::of(3, 15, None).await;
    let leader = cluster.leader().await;
    add(cluster.at(leader)).await;

    cluster.fill_disk(leader);
    let (full, other) = (cluster.at(leader), another(leader, 3));
    assert_eq!(add(cluster.at(other)).await, 2);

    let status = eventually("it stops", LONG, async || {
        let status = full.status();
        if status.role == Role::Halted { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await;
    assert!(status.not_ready[0].starts_with("it has stopped"), "{status:?}");
    let refused = full.propose(&full.ticket(), &change(Do::Add), SHORT).await.unwrap_err();
    assert!(matches!(refused, Error::Halted { .. }), "{refused}");
    assert_eq!(cluster.at(other).read(LONG, value).await.unwrap(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_folder_is_another_member_and_has_no_vote() {
    let mut cluster = Cluster::<Numbers>::of(3, 11, None).await;
    let leader = cluster.leader().await;
    let wiped = another(leader, 3);
    let old = cluster.at(wiped).id();

    cluster.kill(wiped).await;
    cluster.wipe(wiped);
    cluster.start(wiped).await.unwrap();
    add(cluster.at(leader)).await;
    let status = cluster.at(wiped).status();

    assert_ne!(status.id, old);
    assert!(status.not_ready[0].contains("belongs to no cluster"), "{status:?}");
    assert_eq!(status.last, 0, "nothing that was sent to the member it was is taken");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_cluster_or_protocol_is_refused() {
    let cluster = Cluster::<Numbers>::of(1, 12, None).await;
    let frame = |cluster: &str, protocol: u32, to: u64| crate::wire::Frame {
        protocol,
        cluster: cluster.to_owned(),
        from: 9,
        to,
        body: serde_json::to_vec(&crate::wire::Ask::ReadIndex).unwrap(),
        data: Vec::new(),
    };
    let core = &cluster.at(0).core;
    let said = async |frame| {
        let answer = crate::transport::Serve::answer(&**core, frame).await;
        String::from_utf8(answer.body).unwrap()
    };

    assert!(said(frame("other", 1, core.id)).await.contains("another cluster"));
    assert!(said(frame("test", 2, core.id)).await.contains("protocol 2, this program speaks 1"));
    assert!(said(frame("test", 1, core.id ^ 1)).await.contains("this is member"));
    assert!(said(frame("test", 1, 0)).await.contains("this is member"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_program_does_not_take_a_newer_snapshot_for_damage() {
    let mut cluster = Cluster::<Newer>::of(1, 18, None).await;
    cluster.at(0).raise(2, LONG).await.unwrap();
    for _ in 0..100 {
        add(cluster.at(0)).await;
    }
    eventually("a snapshot", LONG, async || {
        let covered = cluster.at(0).status().snapshot;
        if covered > 10 { Ok(()) } else { Err(covered.to_string()) }
    })
    .await;

    cluster.kill(0).await;
    let (folder, power, address) = cluster.take(0);
    let mut past = Cluster::<Numbers>::alone(cluster.net.clone(), folder, power, address);
    let refused = past.start(0).await.unwrap_err();
    cluster.start(0).await.unwrap();

    assert!(
        refused.to_string().ends_with("the state has level 2, this program knows 1: upgrade it"),
        "{refused}"
    );
    assert_eq!(add(cluster.at(0)).await, 101);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_frames_are_refused_and_harm_nobody() {
    let cluster = Cluster::<Numbers>::of(1, 17, None).await;
    let core = &cluster.at(0).core;
    let mut random = StdRng::seed_from_u64(17);
    let whole = serde_json::to_vec(&crate::wire::Ask::Canvass { last: None }).unwrap();

    for round in 0..2_000 {
        let mut body = whole.clone();
        if round % 2 == 0 {
            body = (0..random.random_range(0..200)).map(|_| random.random()).collect();
        } else {
            let at = random.random_range(0..body.len());
            body[at] = random.random();
            body.truncate(random.random_range(1..=whole.len()));
        }
        let frame = crate::wire::Frame {
            protocol: 1,
            cluster: "test".to_owned(),
            from: 9,
            to: core.id,
            body,
            data: Vec::new(),
        };
        crate::transport::Serve::answer(&**core, frame).await;
    }

    assert_eq!(add(cluster.at(0)).await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_refused_by_name() {
    let cluster = Cluster::<Numbers>::of(1, 13, None).await;
    let member = cluster.at(0);
    let propose = async |what| member.propose(&member.ticket(), &change(what), LONG).await.unwrap_err();

    let long = propose(Do::Ballast("x".repeat(MAX_COMMAND))).await;
    let new = propose(Do::Double).await;
    let mut old = member.ticket();
    old.after = 0;
    let raised = member.raise(2, LONG).await.unwrap_err();

    assert!(matches!(long, Error::TooLong { size } if size > MAX_COMMAND), "{long}");
    assert_eq!(
        new.to_string(),
        "a command of level 2, the cluster stands at 1; upgrade all members, then raise the level"
    );
    assert!(raised.to_string().contains("knows level 1: upgrade it"), "{raised}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_command_is_taken_after_all_are_upgraded_and_an_old_program_stops_at_it() {
    let mut cluster = Cluster::<Newer>::of(3, 14, None).await;
    let leader = cluster.leader().await;
    let double = |member: &Replicated<Newer>| {
        let member = member.clone();
        async move { member.propose(&member.ticket(), &change(Do::Double), LONG).await }
    };
    add(cluster.at(leader)).await;

    let early = double(cluster.at(leader)).await.unwrap_err();
    cluster.at(leader).raise(2, LONG).await.unwrap();
    let taken = double(cluster.at(leader)).await.unwrap();

    assert_eq!((early.code(), taken), (Code::Unavailable, 2));
    // One comes back with the old program.
    let old = another(leader, 3);
    cluster.kill(old).await;
    let (folder, power, address) = cluster.take(old);
    let mut past = Cluster::<Numbers>::alone(cluster.net.clone(), folder, power, address);
    past.start(0).await.unwrap();
    let why = eventually("it stops", LONG, async || {
        let status = past.at(0).status();
        if status.role == Role::Halted { Ok(status.not_ready.join(" ")) } else { Err(format!("{status:?}")) }
    })
    .await;
    let asked = past.at(0).read(SHORT, value).await.unwrap_err();

    assert!(why.contains("level 2, this program knows 1: upgrade it"), "{why}");
    assert!(matches!(asked, Error::Halted { .. }), "{asked}");
    assert_eq!(double(cluster.at(leader)).await.unwrap(), 4, "the others go on");
    past.stop().await;
    cluster.stop().await;
}
