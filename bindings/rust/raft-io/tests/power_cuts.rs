//! A cluster on simulated disks that lose power in mid-write keeps what it acknowledged; on disks that do not flush it does
//! not, and then the check says so. `make demo` shows more of the same.

#[allow(dead_code, reason = "the demo prints more than is tested here")]
#[path = "../examples/demo/power_cuts.rs"]
mod power_cuts;

#[path = "../examples/demo/random.rs"]
mod random;

#[allow(dead_code, reason = "the processes of the demo use more of it")]
#[path = "../examples/demo/state.rs"]
mod state;

use power_cuts::{Flushes, Plan, run};

#[test]
fn acknowledged_writes_survive_power_cuts() {
    let tally = run(&Plan { seed: 7, power_cuts: 100, flushes: Flushes::Done }).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{tally:?}");
    assert!(tally.power_cuts >= 100 && tally.in_mid_write >= 30 && tally.of_all >= 10, "{tally:?}");
    assert!(tally.acknowledged >= 300, "{tally:?}");
    assert!(tally.saved >= 50 && tally.installed >= 5 && tally.in_mid_snapshot >= 10, "{tally:?}");
    for (what, count) in tally.injected() {
        assert!(count > 0, "no {what}: {tally:?}");
    }
}

#[test]
fn without_flushes_the_check_finds_losses() {
    let tally =
        run(&Plan { seed: 7, power_cuts: 60, flushes: Flushes::Ignored }).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{tally:?}");
    assert!(tally.lost > 0 && tally.refused + tally.votes_taken_back > 0, "{tally:?}");
}

#[test]
fn same_seed_gives_the_same_run() {
    for flushes in [Flushes::Done, Flushes::Ignored] {
        let plan = Plan { seed: 3, power_cuts: 20, flushes };
        assert_eq!(run(&plan), run(&plan));
    }
}

#[test]
#[ignore = "takes a minute; `make test-deep` runs it"]
fn acknowledged_writes_survive_power_cuts_from_many_seeds() {
    for seed in 100..160 {
        let tally =
            run(&Plan { seed, power_cuts: 1000, flushes: Flushes::Done }).unwrap_or_else(|lost| panic!("{lost}"));
        assert!(tally.acknowledged >= 3000, "seed {seed}: {tally:?}");
    }
}
