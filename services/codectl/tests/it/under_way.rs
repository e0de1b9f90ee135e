//! A release that is under way: what is said of it, what happens to it while nobody looks, and the way back from its hold.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{specs::Spec, stage::Stage};

/// 1.0.0 has all of the traffic; 2.0.0 runs beside it until a person promotes.
fn waiting() -> Stage {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let trial = Spec::new("2.0.0").waits_for_a_person();
    stage.run(&["apply", &stage.spec("two", &trial)]).exits(0);
    stage.until("it waits for a person", || {
        stage.json_of(&["explain"], 20)["unblockedBy"].to_string().contains("codectl promote")
    });
    stage
}

#[test]
fn what_is_on_trial_is_no_drift_and_when_it_dies_the_release_goes_back_by_itself() {
    let stage = waiting();
    let drift = stage.run(&["drift", &stage.target()]).exits(0);
    drift.says("a release is under way").says("greeter 2.0.0 gets no traffic").says("no drift");
    stage.run(&["target", "show", &stage.target()]).exits(0);

    let trial = stage.instances_of("2.0.0");
    trial.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap());
    stage.until("it goes back", || stage.run(&["status"]).code == 10);

    assert_eq!(trial.len(), 1);
    stage.run(&["explain"]).exits(10).says("look after the instances of greeter").says("on trial");
    stage.until("it is certified", || stage.run(&["certificate", "show"]).code == 0);
    stage.run(&["certificate", "show"]).exits(0).says("on trial");
    assert!(stage.instances_of("2.0.0").is_empty());
    stage.run(&["drift", &stage.target()]).exits(0).says("what runs is what was promoted");
}

#[test]
fn a_held_release_says_so_and_a_rollback_switches_back_to_what_still_stands() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let old = stage.instances_of("1.0.0");
    let held = stage.spec("two", &Spec::new("2.0.0").held());
    stage.run(&["plan", &held]).exits(0).says("hold the old set for 12h").says("nothing is changed");
    stage.run(&["apply", &held]).exits(0);
    stage.until("it is held", || stage.run(&["explain"]).out.contains("the old set is held for 12h"));
    stage.run(&["explain"]).exits(20).says("it is promoted").says("switches back to the old set");
    stage.run(&["drift", &stage.target()]).exits(0).says("100 % of greeter to 2.0.0");

    stage.run(&["rollback", &stage.target(), "--watch"]).exits(10).says("rolled back");

    assert_eq!(stage.instances_of("1.0.0"), old, "what stood was not started again");
    stage.run(&["drift", &stage.target()]).exits(0).says("what runs is what was promoted");
}
