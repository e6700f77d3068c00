//! A full disk: opening, reading, truncating, voting and purging work with no byte free; a write with entries is refused with
//! nothing changed; after a purge appends go on in the segments that it gave back, without one new byte; and when bytes come
//! back the store goes on by itself. All of it also after a kill and a power cut on the full disk.

#[path = "support/random.rs"]
mod random;

use duramen::io::SimulatedDisk;
use duramen::{Batch, Durability, Entry, Error, HardState, Limit, Options, Store};
use random::data_of;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const DIRECTORY: &str = "/store";
const KIB: u64 = 1 << 10;
const SEGMENTS: [u64; 2] = [64 * KIB, 1024 * KIB];
const GROUPS: u64 = 4;

/// The data of an entry: an eighth of a segment at most, as in a log that is worth its segments.
fn entry_bytes(segment_bytes: u64) -> usize {
    usize::try_from(segment_bytes / 32).unwrap()
}

// ------------------------------------------------------------------------------------------------------------- tests

#[test]
fn all_but_appends_works_without_a_byte_and_a_purge_brings_those_back() {
    for segment_bytes in SEGMENTS {
        let mut node = Node::filled(1, segment_bytes);
        for round in 0..10 {
            let appended = node.append_until_full();
            node.check();
            node.all_but_appends();
            node.purge_all();
            // What the pool does not keep goes back, and others take it at once.
            node.disk.set_free_bytes(Some(0));
            println!("segments of {segment_bytes}, round {round}: {appended} entries fitted");
            // In the first round there is what was left of the segments that were prepared; then what the purge gave back.
            assert!(round == 0 || appended * node.entry_bytes as u64 >= segment_bytes / 3, "only {appended} entries");
        }
        node.check();
    }
}

#[test]
fn a_full_store_is_closed_and_opened_and_goes_on() {
    for segment_bytes in SEGMENTS {
        for end in [End::Close, End::Drop, End::Kill, End::PowerCut] {
            let mut node = Node::filled(2, segment_bytes);
            for round in 0..6 {
                node.append_until_full();
                node.reopen(end);
                node.check();
                node.all_but_appends();
                node.reopen(end);
                node.check();
                node.purge_all();
                if round % 2 == 0 {
                    node.reopen(end);
                    node.check();
                }
                let appended = node.append_until_full();
                assert!(appended > 0, "{end:?}, segments of {segment_bytes}, round {round}: no append after a purge");
                node.check();
            }
            println!("{end:?}, segments of {segment_bytes}: {:?} bytes free", node.disk.free_bytes());
        }
    }
}

#[test]
fn bytes_that_come_back_are_used_without_opening_again() {
    for segment_bytes in SEGMENTS {
        let mut node = Node::filled(3, segment_bytes);
        node.append_until_full();
        node.disk.set_free_bytes(Some(4 * segment_bytes));
        assert!(node.append_until_full() > 0);
        node.disk.set_free_bytes(None);
        for _ in 0..100 {
            node.append(0).unwrap();
        }
        node.check();
    }
}

/// A group that nobody purges keeps the oldest segment; what it holds is carried, which takes room, too.
#[test]
fn a_group_that_lags_on_a_full_disk_is_carried() {
    for segment_bytes in SEGMENTS {
        let mut node = Node::new(4, segment_bytes);
        node.append(3).unwrap();
        node.vote(3).unwrap();
        for _ in 0..200 {
            node.append(0).unwrap();
        }
        node.disk.set_free_bytes(Some(0));
        let mut appended = 0;
        for round in 0..10 {
            node.append_until_full_in(0);
            node.purge(0).unwrap();
            appended = node.append_until_full_in(0);
            assert!(appended > 0, "segments of {segment_bytes}, round {round}: no append after a purge");
            node.check();
        }
        println!("segments of {segment_bytes}: {appended} entries after the last purge, {:?}", node.store().stats());
        assert!(node.store().stats().unwrap().carried > 0);
    }
}

/// The segment that is kept back is for purging: however many votes there are, a purge must find room.
#[test]
fn votes_without_end_leave_room_for_a_purge() {
    for segment_bytes in SEGMENTS {
        let mut node = Node::filled(5, segment_bytes);
        node.append_until_full();
        let mut votes = 0;
        while votes < 3_000 {
            match node.vote(votes % GROUPS) {
                Ok(()) => votes += 1,
                Err(error) => {
                    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                    break;
                }
            }
        }
        println!("segments of {segment_bytes}: {votes} votes on a full disk");
        node.check();
        node.purge_all();
        assert!(node.append_until_full() > 0, "segments of {segment_bytes}: no append after a purge");
        node.check();
    }
}

#[test]
fn a_crash_at_any_operation_on_a_full_disk_leaves_a_store_that_can_be_purged() {
    for segment_bytes in SEGMENTS {
        for power in [false, true] {
            let (mut crashes, mut at) = (0, 1);
            loop {
                let mut node = Node::filled(6, segment_bytes);
                node.append_until_full();
                node.reopen(End::Kill);
                let Some(disks) = node.crash_inside(at, power) else { break };
                for disk in disks {
                    node.go_on_after_crash(
                        disk,
                        &format!("segments of {segment_bytes}, power {power}, operation {at}"),
                    );
                    crashes += 1;
                }
                // In larger segments each operation takes longer, and nothing else happens.
                at += segment_bytes / SEGMENTS[0] / 4 + 1;
            }
            println!("segments of {segment_bytes}, power cut {power}: {crashes} crashes at {} operations", at - 1);
            assert!(crashes > 20, "{crashes} crashes");
        }
    }
}

/// After an unclean stop a full disk has writing go on in the segment in which the log ended: there, too, what is
/// acknowledged survives, and nothing comes back that was cut.
#[test]
fn what_is_written_behind_an_unclean_stop_in_the_same_segment_survives_power_cuts() {
    let (mut states, mut last_kept) = (0, 0);
    for seed in 0..6 {
        let mut node = Node::filled(seed, SEGMENTS[0]);
        node.append_until_full();
        // One that is under way is cut, or not.
        let state = HardState { term: 500, ..HardState::default() };
        node.store().log(1).set_hard_state_with(state, Durability::Buffered).unwrap();
        node.reopen(if seed % 2 == 0 { End::PowerCut } else { End::Kill });
        let found = node.store().log(1).hard_state().unwrap();
        node.groups.get_mut(&1).unwrap().hard_state = found;
        node.check();
        let moments = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::new(Mutex::new(found.map_or(0, |state| state.term)));
        let (seen, durable) = (Arc::clone(&moments), Arc::clone(&told));
        node.disk.on_operation(Some(Box::new(move |_, disk| {
            seen.lock().unwrap().push((*durable.lock().unwrap(), disk.crash_points()));
        })));
        for term in 1_000..1_002 {
            let state = HardState { term, ..HardState::default() };
            node.store().log(1).set_hard_state(state).unwrap();
            *told.lock().unwrap() = term;
        }
        node.disk.on_operation(None);
        assert!(node.store().stats().unwrap().maintenance_failures > 0, "it did not have to go on in the same segment");
        let moments = std::mem::take(&mut *moments.lock().unwrap());
        for (told, crash) in moments {
            for outcome in crash.outcomes(32, seed) {
                let disk = crash.disk_after(&outcome);
                for again in 0..2 {
                    node.store = Some(open(&disk, SEGMENTS[0]).unwrap());
                    let found = node.store().log(1).hard_state().unwrap();
                    let term = found.map_or(0, |state| state.term);
                    let is_next = term == told || term == told + 1 || (told < 1_000 && term <= 1_000);
                    assert!(term >= told && is_next || again == 1, "told {told}, found {term}");
                    last_kept += u64::from(term == told);
                    node.groups.get_mut(&1).unwrap().hard_state = found;
                    node.check();
                    // The next life writes where this one ended, and dies.
                    let state = HardState { term: 2_000, ..HardState::default() };
                    node.store().log(1).set_hard_state(state).unwrap();
                    node.store = Some(open(&disk.kill(), SEGMENTS[0]).unwrap());
                    node.groups.get_mut(&1).unwrap().hard_state = Some(state);
                    node.check();
                    node.store = None;
                    states += 1;
                }
            }
        }
    }
    println!("{states} states, {last_kept} ended exactly with what was acknowledged");
    assert!(states > 300 && last_kept > 0 && last_kept < states, "{states} states, {last_kept} exactly");
}

// -------------------------------------------------------------------------------------------------------------- node

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Drop,
    Kill,
    PowerCut,
}

/// What one group must hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Group {
    first: u64,
    next: u64,
    hard_state: Option<HardState>,
}

struct Node {
    disk: SimulatedDisk,
    store: Option<Store>,
    segment_bytes: u64,
    entry_bytes: usize,
    groups: BTreeMap<u64, Group>,
    votes: u64,
}

impl Node {
    fn new(seed: u64, segment_bytes: u64) -> Node {
        let disk = SimulatedDisk::new(seed);
        let store = Some(open(&disk, segment_bytes).unwrap());
        let groups = (0..GROUPS).map(|group| (group, Group { first: 1, next: 1, hard_state: None })).collect();
        Node { disk, store, segment_bytes, entry_bytes: entry_bytes(segment_bytes), groups, votes: 0 }
    }

    /// With entries of every group in some segments, and no byte free.
    fn filled(seed: u64, segment_bytes: u64) -> Node {
        let mut node = Node::new(seed, segment_bytes);
        for at in 0..120 {
            node.append(at % GROUPS).unwrap();
        }
        for group in 0..GROUPS {
            node.vote(group).unwrap();
        }
        node.disk.set_free_bytes(Some(0));
        node
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn append(&mut self, group: u64) -> Result<(), Error> {
        let next = self.groups[&group].next;
        let entry = Entry::new(next, 1, data_of(self.entry_bytes, &[group, next]));
        self.store().log(group).append(&[entry])?;
        self.groups.get_mut(&group).unwrap().next += 1;
        Ok(())
    }

    /// How many appends were taken. The one that is refused changes nothing.
    fn append_until_full(&mut self) -> u64 {
        (0..GROUPS).map(|group| self.append_until_full_in(group)).sum()
    }

    fn append_until_full_in(&mut self, group: u64) -> u64 {
        for appended in 0.. {
            let before = (self.store().groups().unwrap(), self.store().log(group).last().unwrap());
            match self.append(group) {
                Ok(()) => assert!(appended < 100_000, "the disk is never full"),
                Err(error) => {
                    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                    let after = (self.store().groups().unwrap(), self.store().log(group).last().unwrap());
                    assert_eq!(before, after, "a refused append has changed something");
                    return appended;
                }
            }
        }
        unreachable!()
    }

    fn vote(&mut self, group: u64) -> Result<(), Error> {
        self.votes += 1;
        let state = HardState { term: self.votes, vote: Some(group), commit: None };
        self.store().log(group).set_hard_state(state)?;
        self.groups.get_mut(&group).unwrap().hard_state = Some(state);
        Ok(())
    }

    fn truncate(&mut self, group: u64) -> Result<(), Error> {
        let Group { first, next, .. } = self.groups[&group];
        let from = next.saturating_sub(1).max(first);
        self.store().log(group).truncate_from(from)?;
        self.groups.get_mut(&group).unwrap().next = from;
        Ok(())
    }

    fn purge(&mut self, group: u64) -> Result<(), Error> {
        let next = self.groups[&group].next;
        if next > self.groups[&group].first {
            self.store().log(group).purge(next - 1, 1, b"snapshot")?;
            self.groups.get_mut(&group).unwrap().first = next;
        }
        Ok(())
    }

    /// All groups in one batch: it takes one block.
    fn purge_all(&mut self) {
        let mut batch = Batch::new();
        for (number, group) in &mut self.groups {
            if group.next > group.first {
                batch = batch.log(*number, |log| log.purge(group.next - 1, 1, b"snapshot"));
                group.first = group.next;
            }
        }
        self.store().write(batch).unwrap_or_else(|error| panic!("a purge on a full disk: {error}"));
    }

    fn all_but_appends(&mut self) {
        let group = self.votes % GROUPS;
        self.vote(group).unwrap_or_else(|error| panic!("a vote on a full disk: {error}"));
        self.truncate(group).unwrap_or_else(|error| panic!("a truncation on a full disk: {error}"));
        self.store().log(group).note_commit(1).unwrap();
        self.store().sync().unwrap();
        self.check();
    }

    fn check(&self) {
        for (number, group) in &self.groups {
            let log = self.store().log(*number);
            let bounds = log.bounds().unwrap().unwrap_or(1..1);
            assert_eq!((bounds.start, bounds.end), (group.first, group.next), "group {number}");
            assert_eq!(log.hard_state().unwrap(), group.hard_state, "group {number}");
            let mut index = group.first;
            while index < group.next {
                let page = log.read(index..group.next, Limit::bytes(64 << 10)).unwrap();
                for entry in page.iter() {
                    assert_eq!(entry.data, data_of(self.entry_bytes, &[*number, entry.index]));
                }
                index = page.next();
            }
        }
    }

    fn reopen(&mut self, end: End) {
        match end {
            End::Close => self.store().close().unwrap(),
            End::Drop => {}
            End::Kill => self.disk = self.disk.kill(),
            End::PowerCut => {
                let crash = self.disk.crash_points();
                self.disk = crash.disk_after(&crash.all_old());
            }
        }
        self.store = None;
        self.store = Some(open(&self.disk, self.segment_bytes).unwrap());
    }

    /// Everything that a full disk allows, with a crash before operation `at` of it; none if there are fewer.
    fn crash_inside(&mut self, at: u64, power: bool) -> Option<Vec<SimulatedDisk>> {
        let (left, disks) = (Arc::new(Mutex::new(at)), Arc::new(Mutex::new(None)));
        let seen = Arc::clone(&disks);
        self.disk.on_operation(Some(Box::new(move |_, disk| {
            let mut left = left.lock().unwrap();
            *left = left.saturating_sub(1);
            if *left == 0 && seen.lock().unwrap().is_none() {
                *seen.lock().unwrap() = Some(match power {
                    false => vec![disk.kill()],
                    true => {
                        let points = disk.crash_points();
                        points.outcomes(4, at).map(|outcome| points.disk_after(&outcome)).collect()
                    }
                });
            }
        })));
        self.vote(1).unwrap();
        self.purge_all();
        self.append_until_full();
        self.disk.on_operation(None);
        self.store = None;
        disks.lock().unwrap().take()
    }

    /// Whatever was left: the store opens, can be purged, and takes entries again, with no byte more.
    fn go_on_after_crash(&mut self, disk: SimulatedDisk, what: &str) {
        disk.set_free_bytes(Some(0));
        let store = open(&disk, self.segment_bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let state = HardState { term: 1_000_000, vote: None, commit: None };
        store.log(1).set_hard_state(state).unwrap_or_else(|error| panic!("{what}: a vote: {error}"));
        let mut batch = Batch::new();
        for group in 0..GROUPS {
            if let Some(last) = store.log(group).last().unwrap() {
                batch = batch.log(group, |log| log.purge(last.index, last.term, b""));
            }
        }
        store.write(batch).unwrap_or_else(|error| panic!("{what}: a purge: {error}"));
        let next = store.log(0).bounds().unwrap().unwrap().end;
        let entry = Entry::new(next, 2, data_of(self.entry_bytes, &[next]));
        let appended = store.log(0).append_with(&[entry], Durability::Durable);
        let state = || (disk.free_bytes(), store.stats().unwrap());
        appended.unwrap_or_else(|error| panic!("{what}: an append after a purge: {error}: {:?}", state()));
    }
}

fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<Store, Error> {
    Options::new().segment_bytes(segment_bytes).disk(Arc::new(disk.clone())).open(DIRECTORY)
}
