//! Does the way back lead somewhere, and in time?

use model::{
    expert::{Topic, Weight},
    plan::Change,
    spec::{HookPoint, Module, Strategy},
};

use super::{Said, Sight};

/// A way back that may take longer than this is an outage of its own.
const LONG_WAY_BACK_SECONDS: u64 = 15 * 60;
/// Less than this and the old set is gone before a fault shows.
const SHORT_HOLD_SECONDS: u64 = 5;
/// Words of tools and commands that change stored data.
const MIGRATES: [&str; 12] = [
    "migrate",
    "migration",
    "alembic",
    "flyway",
    "liquibase",
    "prisma",
    "sqlx",
    "goose",
    "dbmate",
    "atlas",
    "schema",
    "psql",
];

pub(super) fn judge(sight: &Sight, said: &mut Said) {
    let approved = sight.spec.gates.approvals.is_some();
    let weight = if approved { Weight::Major } else { Weight::Blocking };
    said.find_if(sight.plan.no_return_after.is_some(), Topic::Rollback, weight, "plan", || {
        let hook =
            sight.spec.hooks.iter().find(|hook| hook.irreversible).map(|hook| format!("hook {}", hook.name));
        let step = sight.plan.no_return_after.as_ref().map(ToString::to_string);
        let step = hook.or(step).unwrap_or_default();
        let who = if approved { "people approve it, but" } else { "nobody has to approve it, and" };
        format!("after {step} there is no way back; {who} a fault found later needs a person")
    });
    said.find_if(sight.baseline.is_none(), Topic::Rollback, Weight::Info, "plan", || {
        "the first release: a rollback ends with nothing running".to_owned()
    });
    for hook in &sight.spec.hooks {
        let migrates = hook.command.iter().any(|word| is_migration(word));
        let silent = migrates && !hook.irreversible && hook.when != HookPoint::AfterPromotion;
        said.find_if(silent, Topic::DataMigration, Weight::Major, "spec", || {
            format!(
                "hook {} looks like a change of stored data; a rollback does not undo it, so the old revision must \
                 work with the new data: say `irreversible` or make sure that it does",
                hook.name
            )
        });
    }
    for (module, before, change) in sight.moving() {
        let changes = before.is_some() && change.change == Change::Update;
        said.find_if(
            changes && shares_a_volume(module, sight),
            Topic::DataMigration,
            Weight::Major,
            "plan",
            || format!("old and new revision of {} write to the same volume at the same time", module.name),
        );
        if let Strategy::BlueGreen(both) = sight.spec.strategy_of(module) {
            let short = both.hold.0.as_secs() < SHORT_HOLD_SECONDS && both.post_promotion.is_none();
            said.find_if(
                changes && short && sight.is_production(),
                Topic::Rollback,
                Weight::Minor,
                "plan",
                || format!("the old set of {} is gone {} after the switch", module.name, both.hold),
            );
        }
    }
    let back = sight.spec.deadlines.rollback;
    said.find_if(back.0.as_secs() > LONG_WAY_BACK_SECONDS, Topic::Rollback, Weight::Minor, "spec", || {
        format!("the way back may take {back} before a person is called")
    });
}

fn is_migration(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let mut parts = word.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.any(|part| MIGRATES.contains(&part))
}

/// Both revisions run side by side and may write to a volume that outlives them.
fn shares_a_volume(module: &Module, sight: &Sight) -> bool {
    let side_by_side = !matches!(sight.spec.strategy_of(module), Strategy::Recreate {});
    side_by_side && module.volumes.iter().any(|volume| !volume.read_only)
}
