//! Small stores that have everything, and what they hold after each of their writes.

use super::picture::Picture;
use duramen::io::SimulatedDisk;
use duramen::planted::Bugs;
use duramen::{Batch, Durability, Entry, HardState, Options, Store};
use std::io::Write;
use std::sync::Arc;

pub(crate) const DIRECTORY: &str = "/store";
/// Where a batch and all that may yet have to go behind it need more, a segment is larger: 32 KiB here.
pub(crate) const SEGMENT_BYTES: u64 = 28 << 10;

/// How many durable batches are written.
pub(crate) const FLUSHES: u64 = 12;

/// The groups that hold something.
pub(crate) const GROUPS: [u64; 3] = [0, 1, 7];

/// A store on a disk that nobody writes any more.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) disk: SimulatedDisk,
    /// The same disk after each of its writes: what a write that never came leaves behind.
    pub(crate) earlier: Vec<SimulatedDisk>,
    /// What the store held after each flush, oldest first. The last one is what it holds.
    pub(crate) history: Vec<Picture>,
    /// So many of the newest flushes may read as torn.
    pub(crate) window: usize,
}

pub(crate) fn open(disk: &SimulatedDisk, bugs: Bugs) -> duramen::Result<Store> {
    let options = Options::new().disk(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES);
    options.cache_bytes(0).bugs(bugs).open(DIRECTORY)
}

/// Closed: nothing of it may read as torn.
pub(crate) fn closed() -> Golden {
    let (store, golden) = written("closed", 0);
    store.close().expect("the disk is sound");
    Golden { disk: golden.disk.kill(), ..golden }
}

/// Stopped by a power cut that kept everything.
pub(crate) fn crashed() -> Golden {
    let (_store, golden) = written("crashed", 1);
    let points = golden.disk.crash_points();
    Golden { disk: points.disk_after(&points.all_new()), ..golden }
}

fn entries(group: u64, first: u64, count: u64, term: u64, bytes: usize) -> Vec<Entry> {
    let data = |index: u64| {
        let mut data = format!("group {group} index {index} term {term} ").into_bytes();
        data.resize(bytes.max(data.len()), index.to_le_bytes()[0] | 1);
        data
    };
    (first..first + count)
        .map(|index| Entry::new(index, term, data(index)).with_kind(index.to_le_bytes()[0] % 5))
        .collect()
}

fn snapshot(store: &Store, group: u64, index: u64, term: u64) -> duramen::UnnamedSnapshot {
    let mut writer = store.log(group).snapshot_writer().expect("the disk is sound");
    writer.write_all(&vec![index.to_le_bytes()[0]; 1000]).expect("the disk is sound");
    writer.finish(index, term, b"config").expect("the disk is sound")
}

/// Without the maintenance that might follow, which would repeat what this flush covers: then nothing of it can be torn.
fn write_and_no_more(store: &Store, batch: Batch) {
    store.submit(batch, Durability::Durable).expect("there is room");
    while let Some(step) = store.next_step().expect("the store is open") {
        step.carry_out();
    }
}

fn written(name: &'static str, window: usize) -> (Store, Golden) {
    let disk = SimulatedDisk::new(5);
    let store = open(&disk, Bugs::default()).expect("the disk is sound");
    let mut history = vec![Picture::of(&store, &GROUPS)];
    let mut earlier = vec![disk.kill()];
    let vote = |term, vote| HardState { term, vote, commit: None };
    for step in 0..FLUSHES {
        let term = 1 + step / 6;
        let batch = match step {
            3 => Batch::new().log(1, |log| log.replace_from(4, &entries(1, 4, 6, 2, 80)).set_meta("node", b"a:1")),
            6 => Batch::new().log(0, |log| log.purge(5, 1, b"conf").set_meta("id", &[7; 40])),
            8 => Batch::new().log(1, |log| log.save_snapshot(snapshot(&store, 1, 4, 2))),
            9 => Batch::new().log(7, |log| log.remove(3..5)).log(0, |log| log.truncate_from(9)),
            10 => Batch::new().log(7, |log| log.put(&entries(7, 40, 3, 3, 80)).set_hard_state(vote(3, None))),
            _ => GROUPS.into_iter().fold(Batch::new(), |batch, group| {
                if (step + group) % 3 == 0 {
                    return batch.log(group, |log| log.set_hard_state(vote(term, Some(group + step))));
                }
                let next = store.log(group).bounds().expect("the store is open").map_or(1, |bounds| bounds.end);
                let count = 1 + (step + group) % 3;
                batch.log(group, |log| {
                    log.append(&entries(
                        group,
                        next,
                        count,
                        term,
                        40 + 20 * usize::try_from(step % 9).expect("a small number"),
                    ))
                })
            }),
        };
        match step + 1 == FLUSHES && window > 0 {
            true => write_and_no_more(&store, batch),
            false => drop(store.write(batch).expect("the disk is sound")),
        }
        history.push(Picture::of(&store, &GROUPS));
        earlier.push(disk.kill());
    }
    (store, Golden { name, disk, earlier, history, window })
}
