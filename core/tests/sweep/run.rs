//! All damages to one golden store.

use super::damage::{Damage, Kind, all};
use super::golden::{DIRECTORY, GROUPS, Golden, open};
use super::oracle::{Verdict, judge};
use super::picture::Picture;
use duramen::io::{Disk, SimulatedDisk};
use duramen::planted::Bugs;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What came of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// How often each verdict was given on each kind of damage.
    pub(crate) counts: BTreeMap<(Kind, Verdict), u64>,
    /// Every damage after which something was wrong and nothing said so, and what.
    pub(crate) silent: Vec<String>,
}

impl Swept {
    pub(crate) fn count(&self, wanted: Verdict) -> u64 {
        self.counts.iter().filter(|((_, verdict), _)| *verdict == wanted).map(|(_, count)| count).sum()
    }
}

pub(crate) fn names(disk: &SimulatedDisk) -> Vec<String> {
    Disk::open_directory(disk, DIRECTORY.as_ref(), false).expect("it is a store").list().expect("it is a store")
}

/// Does every damage to the store, on all processors; of the bytes every `step`th is damaged. The openings make these mistakes.
pub(crate) fn sweep(golden: &Golden, step: usize, bugs: Bugs) -> Swept {
    let damages = all(golden, &names(&golden.disk), step);
    let (next, swept) = (AtomicUsize::new(0), Mutex::new(Swept::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut own = Swept::default();
                while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match try_damage(golden, damage, bugs) {
                        Ok(verdict) => *own.counts.entry((damage.kind(), verdict)).or_default() += 1,
                        Err(why) => own.silent.push(format!("{damage:?}: {why}")),
                    }
                }
                let mut swept = swept.lock().expect("no thread panics");
                own.counts.into_iter().for_each(|(key, count)| *swept.counts.entry(key).or_default() += count);
                swept.silent.extend(own.silent);
            });
        }
    });
    swept.into_inner().expect("no thread panics")
}

/// Opens a copy of the store with this damage, and looks at everything. Opening it again gives the same.
fn try_damage(golden: &Golden, damage: &Damage, bugs: Bugs) -> Result<Verdict, String> {
    let disk = golden.disk.kill();
    damage.inflict(golden, &disk);
    let store = match open(&disk, bugs) {
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
    let again = open(&disk, bugs).map_err(|error| format!("the second opening: {error}"))?;
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
