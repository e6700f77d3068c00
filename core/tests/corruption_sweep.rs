//! Every byte flipped and zeroed, every block zeroed, stale or another's, every file missing or cut at every block, on two
//! golden stores: nothing is lost without being told, and nothing is read that was not written.

mod sweep {
    pub(crate) mod damage;
    pub(crate) mod golden;
    pub(crate) mod oracle;
    pub(crate) mod picture;
}

use duramen::io::SimulatedDisk;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use sweep::damage::{Damage, Kind, all};
use sweep::golden::{DIRECTORY, GROUPS, Golden, closed, crashed, open};
use sweep::oracle::{Verdict, judge};
use sweep::picture::Picture;

/// How often each verdict was given on each kind of damage.
type Counts = BTreeMap<(Kind, Verdict), u64>;

#[test]
fn a_store_that_was_closed_loses_nothing_in_silence() {
    let golden = closed();
    let counts = sweep(&golden);
    assert_eq!(count(&counts, Verdict::Torn), 0, "a clean close leaves nothing that may be torn");
}

#[test]
fn of_a_store_that_crashed_only_the_last_flush_may_read_as_torn() {
    let golden = crashed();
    let counts = sweep(&golden);
    assert!(count(&counts, Verdict::Torn) > 0);
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
        assert!(bytes <= 216 << 10, "{bytes} bytes");
        assert!(segments >= 5, "three sealed ones, the active one and a prepared one: {names:?}");
        assert!(golden.history.len() > 12 && GROUPS.len() == 3);
        assert_eq!(names.iter().filter(|name| name.ends_with(".snap")).count(), 1, "{names:?}");
        let store = open(&golden.disk).unwrap();
        assert_eq!(store.recovery_report().clean, golden.window == 0);
        assert_eq!(store.log(0).boundary().unwrap().unwrap().index, 5);
        assert_eq!(judge(&golden, &Picture::of(&store, &GROUPS), false), Ok(Verdict::Unharmed));
    }
}

fn count(counts: &Counts, wanted: Verdict) -> u64 {
    counts.iter().filter(|((_, verdict), _)| *verdict == wanted).map(|(_, count)| count).sum()
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    duramen::io::Disk::open_directory(disk, DIRECTORY.as_ref(), false).unwrap().list().unwrap()
}

/// Every so many bytes are damaged: all of them, unless a quick look is asked for.
fn step() -> usize {
    std::env::var("DURAMEN_SWEEP_STEP").map_or(1, |step| step.parse().expect("a number of bytes"))
}

/// Does every damage to the store, on all processors.
fn sweep(golden: &Golden) -> Counts {
    let damages = all(golden, &names(&golden.disk), step());
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(Counts::new()));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut own = Counts::new();
                while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match try_damage(golden, damage) {
                        Ok(verdict) => *own.entry((damage.kind(), verdict)).or_default() += 1,
                        Err(why) => failures.lock().unwrap().push(format!("{damage:?}: {why}")),
                    }
                }
                let mut counts = counts.lock().unwrap();
                own.into_iter().for_each(|(key, count)| *counts.entry(key).or_default() += count);
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let counts = counts.into_inner().unwrap();
    println!("{}: {} damages, {} silent", golden.name, damages.len(), failures.len());
    counts.iter().for_each(|((kind, verdict), count)| println!("  {kind:?}: {verdict:?} {count}"));
    let shown: Vec<_> = failures.iter().take(12).collect();
    assert!(failures.is_empty(), "{} of {} are silent: {shown:#?}", failures.len(), damages.len());
    counts
}

/// Opens a copy of the store with this damage, and looks at everything. Opening it again gives the same.
fn try_damage(golden: &Golden, damage: &Damage) -> Result<Verdict, String> {
    let disk = golden.disk.kill();
    damage.inflict(golden, &disk);
    let store = match open(&disk) {
        Ok(store) => store,
        Err(error) => {
            // Only the manifest can keep all of a store back.
            return match damage.is_of_manifest() {
                true => Ok(Verdict::Refused),
                false => Err(format!("refused: {error}")),
            };
        }
    };
    let report = store.recovery_report().clone();
    let found = store.damage().map_err(|error| error.to_string())?;
    let picture = Picture::of(&store, &GROUPS);
    drop(store);
    let told = !report.damaged.is_empty() || !found.is_empty();
    // Of the bytes those that nobody misses need no second look.
    if damage.is_of_a_byte() && !told && report.torn.is_none() {
        return judge(golden, &picture, told);
    }
    let again = open(&disk).map_err(|error| format!("the second opening: {error}"))?;
    let second = again.recovery_report();
    // The first opening may have told the manifest how far the log was durable.
    if (&second.damaged, &second.torn) != (&report.damaged, &report.torn) {
        return Err(format!("the second opening reports {second:?}, the first {report:?}"));
    }
    if again.damage().map_err(|error| error.to_string())? != found {
        return Err(format!("the second opening finds other damage than {found:?}"));
    }
    judge(golden, &picture, told)
}
