//! Every byte flipped and zeroed, every block zeroed, stale or another's, every file missing or cut at every block, on two
//! golden stores: nothing is lost without being told, and nothing is read that was not written.

mod sweep;

use duramen::planted::Bugs;
use sweep::golden::{DIRECTORY, FLUSHES, GROUPS, Golden, closed, crashed, open};
use sweep::oracle::{Verdict, judge};
use sweep::picture::Picture;
use sweep::run::{Swept, names};

#[test]
fn a_store_that_was_closed_loses_nothing_in_silence() {
    let swept = sweep_all(&closed());
    assert_eq!(swept.count(Verdict::Torn), 0, "a clean close leaves nothing that may be torn");
}

#[test]
fn of_a_store_that_crashed_only_the_last_flush_may_read_as_torn() {
    let swept = sweep_all(&crashed());
    assert!(swept.count(Verdict::Torn) > 0);
}

/// Every byte, unless a quick look is asked for: then every so many.
fn sweep_all(golden: &Golden) -> Swept {
    let step = std::env::var("DURAMEN_SWEEP_STEP").map_or(1, |step| step.parse().expect("a number of bytes"));
    let swept = sweep::run::sweep(golden, step, Bugs::default());
    let all = swept.counts.values().sum::<u64>() + swept.silent.len() as u64;
    println!("{}: {all} damages, {} silent", golden.name, swept.silent.len());
    swept.counts.iter().for_each(|((kind, verdict), count)| println!("  {kind:?}: {verdict:?} {count}"));
    let shown: Vec<_> = swept.silent.iter().take(12).collect();
    assert!(swept.silent.is_empty(), "{} of {all} are silent: {shown:#?}", swept.silent.len());
    swept
}

/// The stores are what the sweep is said to be about.
#[test]
fn the_golden_stores_have_everything() {
    for golden in [closed(), crashed()] {
        let names = names(&golden.disk);
        let bytes: usize = names.iter().map(|name| golden.disk.contents(DIRECTORY, name).unwrap().len()).sum();
        let segments = names.iter().filter(|name| name.ends_with(".seg")).count();
        let sizes: Vec<_> = names.iter().map(|name| golden.disk.contents(DIRECTORY, name).unwrap().len()).collect();
        println!("{}: {bytes} bytes in {names:?}: {sizes:?}", golden.name);
        // What maintenance would give back is still there after a power cut.
        let limit = if golden.window == 0 { 192 << 10 } else { 206 << 10 };
        assert!(bytes <= limit, "{bytes} bytes");
        assert!(segments >= 5, "three sealed ones, the active one and a prepared one: {names:?}");
        assert!(FLUSHES >= 12 && GROUPS.len() == 3);
        assert_eq!(names.iter().filter(|name| name.ends_with(".snap")).count(), 1, "{names:?}");
        let store = open(&golden.disk, Bugs::default()).unwrap();
        assert_eq!(store.recovery_report().clean, golden.window == 0);
        assert_eq!(store.log(0).boundary().unwrap().unwrap().index, 5);
        assert_eq!(judge(&golden, &Picture::of(&store, &GROUPS), false), Ok(Verdict::Unharmed));
    }
}
