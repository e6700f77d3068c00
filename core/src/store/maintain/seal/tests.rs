//! Footers in whole stores: what opening finds by them is what it finds without them, whatever was done and whatever becomes
//! of them; and writing one may fail.
#![forbid(unsafe_code)]

use crate::entry::{Entry, HardState};
use crate::error::Result;
use crate::format::footer::Header;
use crate::format::segment::segment_number;
use crate::io::OperationKind::{SyncData, Write};
use crate::io::{Calls, Disk, Failure, Fault, SimulatedDisk};
use crate::options::{Durability, Options};
use crate::planted::Bugs;
use crate::recovery::{Recovered, recover};
use crate::segment::manifest::{Found, Manifest};
use crate::store::Store;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

const DIRECTORY: &str = "/store";

/// In the header of the first batch of a segment.
const FIRST_BATCH: usize = 8192 + 30;

/// What is done to one group: which operation, a place near the end of the log, and the sizes of entries.
#[derive(Debug, Clone)]
struct Step {
    group: u64,
    what: u8,
    back: u64,
    sizes: Vec<usize>,
    is_durable: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0usize..400, 1 => Just(2_000usize)];
    let sizes = prop_oneof![2 => vec(size.clone(), 1), 1 => vec(size, 1..6), 1 => (1..9usize).prop_map(|n| vec![5; n])];
    (0..3u64, 0..20u8, 0..7u64, sizes, any::<bool>()).prop_map(|(group, what, back, sizes, is_durable)| Step {
        group,
        what,
        back,
        sizes,
        is_durable,
    })
}

impl Step {
    /// Does it, unless the log does not take it just then.
    fn perform(&self, store: &Store) {
        let log = store.log(self.group);
        let next = log.bounds().expect("it is open").map_or(1, |bounds| bounds.end);
        let back = next.saturating_sub(self.back).max(1);
        let term = 1 + self.back / 6;
        let entries = |first: u64| -> Vec<Entry> {
            (first..).zip(&self.sizes).map(|(index, size)| Entry::new(index, term, vec![7; *size])).collect()
        };
        let durability = if self.is_durable { Durability::Durable } else { Durability::Buffered };
        let state = HardState { term: self.back, vote: Some(2), commit: (self.back > 3).then_some(back) };
        let _ = match self.what {
            0..9 => log.append_with(&entries(next), durability),
            9 => log.replace_from_with(back, &entries(back), durability),
            10..13 => log.put_with(&entries(back + u64::from(self.what == 12)), durability),
            13 => log.truncate_from_with(back, durability),
            14 => log.remove_with(back..back + 2, durability),
            15 if self.back < 2 => log.reset_with(Some(next), durability),
            15 => log.purge_with(back.saturating_sub(8), term, b"blob", durability),
            16 if self.back == 0 => log.drop_group_with(durability),
            16 => log.delete_meta_with("key", durability),
            17 => log.set_meta_with("key", &vec![3; self.sizes[0]], durability),
            18 => log.note_commit(back).map(|()| crate::options::Position(0)),
            _ => log.set_hard_state_with(state, durability),
        };
    }
}

fn open(disk: &SimulatedDisk) -> Store {
    open_with(disk, 16 << 10)
}

fn open_with(disk: &SimulatedDisk, segment_bytes: u64) -> Store {
    let options = Options::new().segment_bytes(segment_bytes).disk(Arc::new(disk.clone()));
    options.open(DIRECTORY).expect("it opens")
}

fn recovered(disk: &SimulatedDisk) -> Recovered {
    let directory = disk.open_directory(DIRECTORY.as_ref(), false).expect("it is there");
    let Ok(Found::Valid(manifest)) = Manifest::open(&*directory) else { panic!("there is a manifest") };
    recover(&*directory, &manifest, Bugs::default()).expect("it is whole")
}

/// Every footer of a segment: the file's name, where it lies, and what it takes.
fn footers_of(disk: &SimulatedDisk) -> Vec<(String, usize, usize)> {
    let directory = disk.open_directory(DIRECTORY.as_ref(), false).expect("it is there");
    let mut names = directory.list().expect("it is a directory");
    names.retain(|name| segment_number(name).is_some());
    names.sort();
    let mut found = Vec::new();
    for name in names {
        let bytes = disk.contents(DIRECTORY, &name).expect("it is there");
        let blocks = (0..bytes.len()).step_by(4096);
        let footer = blocks.filter_map(|at| Some((at, Header::decode(&bytes[at..]).ok()?)));
        let own = footer.filter(|(_, header)| bytes[48..64] == header.end.salt);
        found.extend(own.map(|(at, header)| (name.clone(), at, crate::number::size(header.footer_bytes()))));
    }
    found
}

fn flip(disk: &SimulatedDisk, name: &str, at: usize) {
    disk.flip_bit(DIRECTORY, name, at as u64, 3).expect("it is there");
}

/// All that opening finds, but for how it found it.
fn found(disk: &SimulatedDisk) -> (u64, String) {
    let mut recovered = recovered(disk);
    let footers = std::mem::take(&mut recovered.report.footers);
    recovered.sealed.clear();
    let Recovered { state, report, end, has_rest, footer_bytes, unechoed, unechoed_link, .. } = &recovered;
    let tail = format!("{report:?} {end:?} {has_rest} {footer_bytes} {unechoed:?} {unechoed_link:?}");
    (footers, format!("{tail} {state:#?}"))
}

/// Entries, small state, and where every entry lies; whatever was done, in however many openings.
#[test]
fn opening_by_footers_finds_what_a_scan_finds() {
    let used = Cell::new(0);
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let openings = vec((vec(step(), 20..120), 0..3u8), 1..4);
    let run = TestRunner::new(config).run(&openings, |openings| {
        let disk = SimulatedDisk::new(1);
        for (steps, end) in openings {
            let store = open(&disk);
            steps.iter().for_each(|step| step.perform(&store));
            match end {
                0 => store.close().expect("nothing fails"),
                1 => store.maintain().expect("nothing fails"),
                _ => drop(store.sync().expect("nothing fails")),
            }
        }
        let (by_footers, expected) = found(&disk);
        for (name, at, _) in footers_of(&disk) {
            flip(&disk, &name, at + 20);
        }
        let (by_scan, scanned) = found(&disk);
        prop_assert_eq!(by_scan, 0);
        prop_assert!(expected == scanned, "with {} footers: {}\nscanned: {}", by_footers, expected, scanned);
        used.set(used.get() + by_footers);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    assert!(used.get() > 500, "only {} footers were used", used.get());
}

/// A store of several segments: the last one is scanned, the others have footers.
fn sealed() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let store = open_sealed(&disk);
    fill(&store, 1..121).expect("nothing fails");
    store.maintain().expect("nothing fails");
    store.close().expect("nothing fails");
    disk
}

/// Of so large segments that nothing is carried.
fn open_sealed(disk: &SimulatedDisk) -> Store {
    open_with(disk, 64 << 10)
}

/// Entries of two groups, and votes.
fn fill(store: &Store, indexes: Range<u64>) -> Result<()> {
    for index in indexes {
        store.log(0).append(&[Entry::new(index, 1, data(index))])?;
        store.log(1).append(&[Entry::new(index, 1, vec![1; 3])])?;
        if index % 10 == 0 {
            store.log(1).set_hard_state(HardState { term: index, vote: None, commit: None })?;
        }
    }
    Ok(())
}

fn data(index: u64) -> Vec<u8> {
    vec![index.to_le_bytes()[0]; 3_000]
}

#[test]
fn every_sealed_segment_but_one_is_replayed_from_its_footer() {
    let disk = sealed();
    let store = open_sealed(&disk);
    let (segments, footers) = (store.stats().expect("it is open"), store.recovery_report().footers);
    assert_eq!((footers, segments.carried), (segments.segments - segments.prepared - 1, 0), "{segments:?}");
    assert!(footers > 5, "{segments:?}");
    for index in 1..121 {
        assert_eq!(store.log(0).get(index).expect("it is there").data, data(index));
        assert_eq!(store.log(1).get(index).expect("it is there").data, [1; 3]);
    }
}

#[test]
fn opening_reads_no_batch_of_a_segment_with_a_footer() {
    let disk = sealed();
    let expected = found(&disk);
    for (name, ..) in footers_of(&disk).into_iter().take(3) {
        flip(&disk, &name, FIRST_BATCH);
    }
    assert_eq!(found(&disk), expected);
}

#[test]
fn a_footer_with_any_byte_flipped_is_as_good_as_none() {
    let disk = sealed();
    let (footers, expected) = found(&disk);
    let (name, at, bytes) = footers_of(&disk).swap_remove(1);
    for byte in at..at + bytes {
        flip(&disk, &name, byte);
        let (left, scanned) = found(&disk);
        assert_eq!(left, footers - 1, "byte {} of {bytes}", byte - at);
        assert!(scanned == expected, "byte {} of {bytes}: {scanned}", byte - at);
        flip(&disk, &name, byte);
    }
    assert_eq!(found(&disk), (footers, expected));
}

#[test]
fn a_footer_that_was_lost_is_written_again() {
    let disk = sealed();
    let (name, at, _) = footers_of(&disk).swap_remove(1);
    flip(&disk, &name, at);
    let store = open_sealed(&disk);
    store.maintain().expect("nothing fails");
    // The one that is lost, and no other.
    assert_eq!(store.stats().expect("it is open").sealed, 1);
    assert!(footers_of(&disk).iter().any(|(other, ..)| *other == name));
}

#[test]
fn a_segment_that_is_damaged_gets_no_footer_and_is_counted_once() {
    let disk = sealed();
    let (name, at, _) = footers_of(&disk).swap_remove(1);
    flip(&disk, &name, at);
    let store = open_sealed(&disk);
    flip(&disk, &name, FIRST_BATCH);
    for _ in 0..2 {
        store.maintain().expect("to do it again would not help");
        let stats = store.stats().expect("it is open");
        assert_eq!((stats.sealed, stats.maintenance_failures), (0, 1), "{stats:?}");
        assert!(stats.last_maintenance_failure.expect("it is told").contains(&name));
    }
}

#[test]
fn a_write_or_flush_of_a_footer_that_fails_is_done_again_and_poisons_nothing() {
    for (kind, by_call) in [(Write, true), (SyncData, true), (Write, false), (SyncData, false)] {
        let disk = sealed();
        let expected = found(&disk);
        let (name, at, _) = footers_of(&disk).swap_remove(1);
        flip(&disk, &name, at);
        let store = open_sealed(&disk);
        disk.fail(Fault::new(Calls::Only(kind), Failure::InputOutput).named(&name));
        store.maintain().expect_err("the call that it makes fails");
        let stats = store.stats().expect("it is open");
        assert_eq!((stats.sealed, stats.maintenance_failures), (0, 1), "{stats:?}");
        match by_call {
            true => store.maintain().expect("nothing fails any more"),
            false => fill(&store, 121..160).expect("nothing is poisoned"),
        }
        let stats = store.stats().expect("it is open");
        assert_eq!(stats.maintenance_failures, 1, "{stats:?}");
        drop(store);
        assert!(by_call || found(&disk).0 > expected.0);
        assert!(!by_call || found(&disk) == expected);
    }
}

/// The segment of an unclean stop is sealed over what was torn behind its end.
#[test]
fn a_segment_that_an_unclean_stop_ended_gets_its_footer() {
    let disk = SimulatedDisk::new(1);
    for first in [1, 21, 41] {
        let store = open_sealed(&disk);
        fill(&store, first..first + 20).expect("nothing fails");
        disk.fail(Fault::new(Calls::Only(SyncData), Failure::InputOutput).named(".seg"));
        fill(&store, first + 20..first + 21).expect_err("its flush fails");
        drop(store);
        disk.clear_faults();
    }
    let store = open_sealed(&disk);
    let begun = store.log(0).bounds().expect("it is open").expect("it has entries").end;
    fill(&store, begun..begun + 1).unwrap_or_default();
    store.maintain().expect("nothing fails");
    drop(store);
    let (footers, expected) = found(&disk);
    assert_eq!(footers_of(&disk).len() as u64, footers, "all but the last segment are sealed");
    for (name, at, _) in footers_of(&disk) {
        flip(&disk, &name, at);
    }
    assert_eq!(found(&disk), (0, expected));
}
