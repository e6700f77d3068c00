//! The table of PAR (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST '18): four entries on
//! three nodes, each of the twelve copies damaged or not. Where every entry is whole on some node all three are repaired;
//! where one is damaged everywhere the cluster waits, and no node takes it for absent. All with what the crate offers.
//!
//! Each entry stands in a batch and a block of its own. Behind them a hard state was written, which is never damaged: all
//! four are durable below a watermark, and their commit index is known.

use duramen::io::SimulatedDisk;
use duramen::{Code, Entry, Error, HardState, Health, Limit, Log, Loss, Options, Store};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, sync::Arc, thread};

const DIRECTORY: &str = "/store";
const SEGMENT: &str = "0000000000000001.seg";
const BLOCK: usize = 4096;
const GROUP: u64 = 7;
const NODES: usize = 3;
const TERMS: [u64; 4] = [1, 1, 2, 3];
const COMMIT: u64 = TERMS.len() as u64;

/// Each entry on each node: whole or damaged.
const COMBINATIONS: usize = 1 << (NODES * TERMS.len());
/// Of the seven ways in which an entry is whole somewhere, for each of four.
const RECOVERED: u64 = 7 * 7 * 7 * 7;
const WAITING: u64 = COMBINATIONS as u64 - RECOVERED;

/// What is done to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A bit of the entry's data.
    Data,
    /// A bit of the index in the entry's header.
    EntryHeader,
    /// A bit of the batch's directory.
    Directory,
    /// A bit of the batch's header.
    BatchHeader,
    /// All of the block: of two in a row nothing tells what the first one held.
    Block,
}

/// What a careless node would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// A peer's entry is taken whatever its term.
    TermIgnored,
    /// A lost entry is given up, although a peer has it.
    LossAccepted,
    /// A doubt is ended before a peer was asked.
    DoubtAccepted,
    /// Whatever a peer lacks is called absent.
    WaitingLeftOut,
}

#[test]
fn a_flipped_bit_of_the_data() {
    table(Kind::Data);
}

#[test]
fn a_flipped_bit_of_the_entrys_header() {
    table(Kind::EntryHeader);
}

#[test]
fn a_flipped_bit_of_the_directory() {
    table(Kind::Directory);
}

#[test]
fn a_flipped_bit_of_the_batchs_header() {
    table(Kind::BatchHeader);
}

#[test]
fn a_block_of_zeros() {
    let tally = table(Kind::Block);
    assert!(tally.in_doubt > 1_000, "blocks in a row leave a log in doubt, in {} combinations only", tally.in_doubt);
}

/// Node 0 has a fifth entry, which is damaged, from a leader that was followed by another one: the copies of its peers have another
/// term. Nobody has what is lost, so it stays lost, and everything else goes as before.
#[test]
fn an_entry_of_another_term_is_no_copy() {
    let cluster = Cluster::new(Kind::Data, Some([2, 3, 3]));
    let tally = cluster.try_all(Mistake::None, 7).unwrap_or_else(|why| panic!("{why}"));
    println!("another term: {tally}");
    assert!(tally.recovered > 300 && tally.waiting > 200, "{tally}");
}

/// The table tells whether the procedure is a right one.
#[test]
fn mistakes_of_the_procedure_are_found() {
    for (kind, tail, mistake) in [
        (Kind::Data, Some([2, 3, 3]), Mistake::TermIgnored),
        (Kind::Data, None, Mistake::LossAccepted),
        (Kind::Block, None, Mistake::DoubtAccepted),
        (Kind::Data, None, Mistake::WaitingLeftOut),
    ] {
        let why = Cluster::new(kind, tail).try_all(mistake, 1).expect_err("the mistake makes a difference");
        println!("{mistake:?}: {why}");
    }
}

fn table(kind: Kind) -> Tally {
    let tally = Cluster::new(kind, None).try_all(Mistake::None, 1).unwrap_or_else(|why| panic!("{why}"));
    println!("{kind:?}: {tally}");
    assert_eq!((tally.recovered, tally.waiting), (RECOVERED, WAITING));
    tally
}

/// How often each end was reached.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    recovered: u64,
    waiting: u64,
    /// Of all those: some log was in doubt.
    in_doubt: u64,
    /// Entries that were taken from a peer.
    taken: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.recovered += other.recovered;
        self.waiting += other.waiting;
        self.in_doubt += other.in_doubt;
        self.taken += other.taken;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { recovered, waiting, in_doubt, taken } = self;
        let all = recovered + waiting;
        write!(f, "{all} combinations, {recovered} recovered, {waiting} waiting, ")?;
        write!(f, "{in_doubt} with a log in doubt, {taken} entries taken from peers")
    }
}

/// Three nodes: for each the disk with every damage that it may have.
struct Cluster {
    kind: Kind,
    disks: Vec<Vec<SimulatedDisk>>,
    /// The terms of a fifth entry, if there is one: not committed, and damaged on node 0.
    tail: Option<[u64; NODES]>,
}

fn open(disk: &SimulatedDisk) -> Store {
    let options = Options::new().disk(Arc::new(disk.clone())).segment_bytes(64 << 10).cache_bytes(0);
    options.open(DIRECTORY).expect("whatever is damaged, a store is opened")
}

fn entry(index: u64, term: u64) -> Entry {
    Entry::new(index, term, format!("entry {index} of term {term}").into_bytes()).with_kind(9)
}

fn golden(index: u64) -> Entry {
    let term = (1..).zip(TERMS).find(|(at, _)| *at == index).map(|(_, term)| term);
    entry(index, term.expect("one of the four"))
}

fn hard_state() -> HardState {
    HardState { term: 3, vote: Some(1), commit: Some(COMMIT) }
}

/// Every entry in a write of its own, flushed before the next.
fn written(seed: u64, tail: Option<u64>) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let store = open(&disk);
    let log = store.log(GROUP);
    for index in 1..=COMMIT {
        log.append(&[golden(index)]).expect("the disk is sound");
    }
    log.set_hard_state(hard_state()).expect("the disk is sound");
    if let Some(term) = tail {
        log.append(&[entry(COMMIT + 1, term)]).expect("the disk is sound");
        log.set_meta("later", b"write").expect("the disk is sound");
    }
    powerless(&disk)
}

/// The disk after a power cut: what was acknowledged is durable, and nothing else is needed.
fn powerless(disk: &SimulatedDisk) -> SimulatedDisk {
    let points = disk.crash_points();
    points.disk_after(&points.all_old())
}

/// Where in the segment the data of an entry lies.
fn place(disk: &SimulatedDisk, entry: &Entry) -> usize {
    let bytes = disk.contents(DIRECTORY, SEGMENT).expect("it is the first segment");
    let found = bytes.windows(entry.data.len()).position(|window| window == entry.data);
    found.expect("the entry was written")
}

impl Kind {
    fn inflict(self, disk: &SimulatedDisk, entry: &Entry) {
        let data = place(disk, entry);
        let block = data / BLOCK * BLOCK;
        let flip = |at: usize| disk.flip_bit(DIRECTORY, SEGMENT, at as u64, 2);
        let done = match self {
            Kind::Data => flip(data + 3),
            Kind::EntryHeader => flip(data - 40 + 16),
            Kind::Directory => flip(block + 96 + 8),
            Kind::BatchHeader => flip(block + 40),
            Kind::Block => disk.overwrite_durable(DIRECTORY, SEGMENT, block as u64, &[0; BLOCK]),
        };
        done.expect("the segment is long enough");
    }
}

impl Cluster {
    fn new(kind: Kind, tail: Option<[u64; NODES]>) -> Cluster {
        let node = |node: usize| {
            let disk = written(node as u64 + 1, tail.map(|terms| terms[node]));
            let blocks: Vec<usize> = (1..=COMMIT).map(|index| place(&disk, &golden(index)) / BLOCK).collect();
            assert!(
                blocks.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "each entry has a block of its own: {blocks:?}"
            );
            let damaged = |mask: usize| {
                let disk = disk.kill();
                (1..=COMMIT)
                    .filter(|index| mask >> (index - 1) & 1 == 1)
                    .for_each(|index| kind.inflict(&disk, &golden(index)));
                if let (0, Some(terms)) = (node, tail) {
                    Kind::Data.inflict(&disk, &entry(COMMIT + 1, terms[0]));
                }
                disk
            };
            (0..1 << TERMS.len()).map(damaged).collect()
        };
        Cluster { kind, disks: (0..NODES).map(node).collect(), tail }
    }

    /// Every `step`th combination, on all processors.
    fn try_all(&self, mistake: Mistake, step: usize) -> Result<Tally, String> {
        let (next, all) = (AtomicUsize::new(0), Mutex::new(Ok(Tally::default())));
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    let mut own = Ok(Tally::default());
                    while let Ok(sum) = &mut own {
                        let combination = next.fetch_add(step, Ordering::Relaxed);
                        if combination >= COMBINATIONS {
                            break;
                        }
                        match self.try_one(Combination(combination), mistake) {
                            Ok(one) => sum.add(one),
                            Err(why) => own = Err(format!("{:?}, combination {combination:#05x}: {why}", self.kind)),
                        }
                    }
                    let mut all = all.lock().unwrap();
                    match (&mut *all, own) {
                        (Ok(sum), Ok(own)) => sum.add(own),
                        (all, Err(why)) => *all = Err(why),
                        (Err(_), Ok(_)) => {}
                    }
                });
            }
        });
        all.into_inner().unwrap()
    }

    fn try_one(&self, combination: Combination, mistake: Mistake) -> Result<Tally, String> {
        let disks: Vec<_> = (0..NODES).map(|node| self.disks[node][combination.of_node(node)].kill()).collect();
        let nodes: Vec<Store> = disks.iter().map(open).collect();
        for (number, node) in nodes.iter().enumerate() {
            self.check_before(&node.log(GROUP), combination.of_node(number), number)?;
        }
        let in_doubt = nodes.iter().any(|node| node.log(GROUP).health().is_ok_and(|health| health == Health::Unknown));
        let taken = repair_cluster(&nodes, mistake).map_err(|error| error.to_string())?;
        self.check_all(&nodes, combination)?;
        drop(nodes);
        let again: Vec<Store> = disks.iter().map(|disk| open(&powerless(disk))).collect();
        self.check_all(&again, combination).map_err(|why| format!("opened again: {why}"))?;
        let waits = combination.waits();
        Ok(Tally { recovered: u64::from(!waits), waiting: u64::from(waits), in_doubt: u64::from(in_doubt), taken })
    }

    /// Before the repair a damaged entry is lost by name or in doubt, and every other one is whole.
    fn check_before(&self, log: &Log, damaged: usize, node: usize) -> Result<(), String> {
        for index in 1..=COMMIT {
            match damaged >> (index - 1) & 1 {
                0 => check_whole(log, index),
                _ => check_told(log, index),
            }
            .map_err(|why| format!("before, node {node}: {why}"))?;
        }
        Ok(())
    }

    fn check_all(&self, nodes: &[Store], combination: Combination) -> Result<(), String> {
        for (number, node) in nodes.iter().enumerate() {
            self.check_node(number, node, combination).map_err(|why| format!("node {number}: {why}"))?;
        }
        Ok(())
    }

    fn check_node(&self, number: usize, node: &Store, combination: Combination) -> Result<(), String> {
        let log = node.log(GROUP);
        let lost: Vec<u64> = (1..=COMMIT).filter(|index| combination.is_lost(*index)).collect();
        for index in 1..=COMMIT {
            match lost.contains(&index) {
                false => check_whole(&log, index)?,
                true => check_told(&log, index)?,
            }
        }
        let damage = node.damage().map_err(|error| error.to_string())?;
        let bad_tail = self.tail.filter(|_| number == 0).map(|terms| terms[0]);
        if let Some(term) = bad_tail {
            let loss = Loss::Entries { first: COMMIT + 1, last: COMMIT + 1, term };
            let is_told = damage.iter().any(|damage| damage.loss == loss);
            expect("the fifth entry is lost by name", is_told, true)?;
        }
        let is_sound = lost.is_empty() && bad_tail.is_none();
        expect("nothing is damaged", damage.is_empty(), is_sound)?;
        expect("healthy", log.health().map_err(|error| error.to_string())? == Health::Healthy, is_sound)?;
        let end = COMMIT + 1 + u64::from(self.tail.is_some());
        // Nobody knows where a log in doubt begins.
        let bounds = log.bounds().map_err(|error| error.to_string())?.unwrap_or_default();
        let in_doubt = log.health().is_ok_and(|health| health == Health::Unknown);
        expect("bounds", (bounds.start == 1 || in_doubt, bounds.end), (true, end))?;
        expect("hard state", said(log.hard_state())?, format!("{:?}", Some(hard_state())))?;
        expect("groups", said(node.groups())?, format!("{:?}", [GROUP]))?;
        if lost.is_empty() {
            let page =
                log.read(1..end - u64::from(bad_tail.is_some()), Limit::none()).map_err(|error| error.to_string())?;
            expect("entries that are read", page.iter().count() as u64, end - 1 - u64::from(bad_tail.is_some()))?;
            expect("boundary", said(log.boundary())?, "None".into())?;
            expect("snapshot", said(log.snapshot_id())?, "None".into())?;
            expect(
                "metadata",
                log.meta_keys().map_err(|error| error.to_string())?.len(),
                usize::from(self.tail.is_some()),
            )?;
        }
        Ok(())
    }
}

/// One bit for each entry, node by node.
#[derive(Debug, Clone, Copy)]
struct Combination(usize);

impl Combination {
    fn of_node(self, node: usize) -> usize {
        self.0 >> (node * TERMS.len()) & ((1 << TERMS.len()) - 1)
    }

    /// Is the entry damaged on every node?
    fn is_lost(self, index: u64) -> bool {
        (0..NODES).all(|node| self.of_node(node) >> (index - 1) & 1 == 1)
    }

    fn waits(self) -> bool {
        (1..=COMMIT).any(|index| self.is_lost(index))
    }
}

fn said<T: fmt::Debug>(result: duramen::Result<T>) -> Result<String, String> {
    result.map(|value| format!("{value:?}")).map_err(|error| error.to_string())
}

fn expect<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

fn check_whole(log: &Log, index: u64) -> Result<(), String> {
    let found = log.get(index).map_err(|error| format!("entry {index}: {error}"))?;
    expect("an entry", found, golden(index))
}

/// A lost entry is told with its term, or the log is in doubt; it is never absent.
fn check_told(log: &Log, index: u64) -> Result<(), String> {
    let losses = log.damage().map_err(|error| error.to_string())?;
    match log.get(index) {
        Err(Error::EntryLost { index: told, term, .. }) => {
            let golden = golden(index);
            expect("what is told", (told, term), (index, golden.term))?;
            expect("its term", log.term(index).map_err(|error| error.to_string())?, golden.term)?;
            let is_listed = losses.iter().any(|loss| {
                matches!(loss, Loss::Entries { first, last, term } if (*first..=*last).contains(&index) && *term == golden.term)
            });
            expect("it is in the list", is_listed, true)
        }
        Err(Error::StateLost { .. }) => expect("the log is in doubt", losses.contains(&Loss::Log), true),
        other => Err(format!("entry {index} is lost, and the answer is {other:?}")),
    }
}

// --------------------------------------------------------------------------------------------- how a cluster repairs itself

/// Every node asks its peers for what it has lost. Returns how many entries were taken.
///
/// 1. A lost entry has a name: index and term. The copy of a peer counts if it is whole and has both.
/// 2. A log in doubt may lack entries that nobody can name. Up to the commit index, which stands in the hard state, all nodes
///    have one log: whoever has an entry there has the right one. Nothing is taken above it.
/// 3. A doubt is ended when every entry up to the commit index is there or lost by name; until then the node waits.
fn repair_cluster(nodes: &[Store], mistake: Mistake) -> duramen::Result<u64> {
    let mut taken = 0;
    for (at, node) in nodes.iter().enumerate() {
        let peers: Vec<Log> = (0..nodes.len()).filter(|peer| *peer != at).map(|peer| nodes[peer].log(GROUP)).collect();
        let log = node.log(GROUP);
        let mut found = copies_of_lost(&log, &peers, mistake)?;
        let is_in_doubt = log.damage()?.contains(&Loss::Log);
        let mut is_settled = true;
        if is_in_doubt && mistake != Mistake::DoubtAccepted {
            let nameless = nameless(&log)?;
            let copies: BTreeMap<u64, Entry> =
                nameless.iter().filter_map(|index| Some((*index, copy(&peers, *index, None)?))).collect();
            is_settled = copies.len() == nameless.len();
            found.extend(copies.into_values());
        }
        taken += found.len() as u64;
        if !found.is_empty() {
            log.repair(&found)?;
        }
        if is_in_doubt && is_settled {
            let of_the_store = node.damage()?.into_iter().find(|damage| damage.group.is_none());
            log.accept_loss(of_the_store.map_or(Loss::Log, |damage| damage.loss))?;
            node.accept_lost_batches()?;
        }
    }
    Ok(taken)
}

/// Whole copies of the entries that are lost by name.
fn copies_of_lost(log: &Log, peers: &[Log], mistake: Mistake) -> duramen::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for loss in log.damage()? {
        let Loss::Entries { first, last, term } = loss else { continue };
        if mistake == Mistake::LossAccepted {
            log.accept_loss(loss)?;
            continue;
        }
        let wanted = Some(term).filter(|_| mistake != Mistake::TermIgnored);
        for index in first..=last {
            match copy(peers, index, wanted) {
                Some(copy) => found.push(copy),
                None if mistake == Mistake::WaitingLeftOut => {
                    log.accept_loss(Loss::Entries { first: index, last: index, term })?;
                }
                None => {}
            }
        }
    }
    Ok(found)
}

/// The indexes up to the commit index of which a log in doubt knows nothing.
fn nameless(log: &Log) -> duramen::Result<Vec<u64>> {
    let commit = log.hard_state()?.and_then(|state| state.commit).unwrap_or_default();
    let is_nameless = |index: &u64| log.term(*index).is_err_and(|error| error.code() == Code::Corrupt);
    Ok((1..=commit).filter(is_nameless).collect())
}

/// The first whole copy of a peer, with this term, where one is known.
fn copy(peers: &[Log], index: u64, term: Option<u64>) -> Option<Entry> {
    let mut whole = peers.iter().filter_map(|peer| peer.get(index).ok());
    whole.find(|entry| term.is_none_or(|term| term == entry.term))
}
