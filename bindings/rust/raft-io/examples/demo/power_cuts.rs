//! Part 2: the cluster in one process, on simulated disks that lose power. All of it comes again from the same seed.
//!
//! 1. Every node but those that are cut off hears its clock and its messages, in any order, a few of them lost; the leader
//!    is given proposals.
//! 2. Now and then, and more often where a snapshot is taken or installed, a node is doomed to lose power before one of
//!    its next operations on the disk, and sometimes all nodes do at once.
//!    What the node would have said in the step that it died in is never sent.
//! 3. The disk comes back in one of the states that it can be in, and the node opens its log again.
//!
//! What must hold behind every restart:
//!
//! - every acknowledged proposal is in the logs of a majority, or in their snapshots
//! - the term has not gone back, and in the same term the vote is the one that was cast
//! - no index was ever applied with two different commands, and a snapshot that is installed holds what was applied

use crate::random::Random;
use crate::state::State;
use duramen::io::{CrashPoints, Injection, SimulatedDisk};
use duramen::{Limit, Options};
use duramen_raft_io::{
    Action, Error, Event, HardState, LogEntry, Message, NodeId, RaftConfig, RaftLog, RaftNode, WalLog,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const NODES: u64 = 3;
/// A cluster begins anew after so many power cuts: every node's first steps are as dangerous as its later ones.
const POWER_CUTS_PER_CLUSTER: u64 = 20;
/// In bytes; small, so that the log often begins another segment.
const SEGMENT_BYTES: u64 = 32 << 10;
/// In bytes; several sectors.
const COMMAND_BYTES_MAX: u64 = 2048;
/// Applied entries from one snapshot to the next.
const SNAPSHOT_THRESHOLD: usize = 8;
/// A doomed node dies before one of so many operations on its disk.
const OPERATIONS_TO_LIVE: u64 = 12;
/// Of so many states that a power cut can leave, one is chosen.
const OUTCOMES: usize = 16;
/// So many clock ticks without a power cut mean that the cluster stands still.
const TICKS_MAX: u64 = 10_000;

/// What a disk does when it is asked to flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushes {
    Done,
    /// It says `Ok`, and everything stays unflushed.
    Ignored,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// At least so many.
    pub(crate) power_cuts: u64,
    pub(crate) flushes: Flushes,
}

/// What happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) power_cuts: u64,
    /// Those before which something was written and not yet flushed.
    pub(crate) in_mid_write: u64,
    /// Those of all nodes at the same moment.
    pub(crate) of_all: u64,
    /// Those while the node that was chosen took or installed a snapshot.
    pub(crate) in_mid_snapshot: u64,
    /// Snapshots that nodes took of themselves.
    pub(crate) saved: u64,
    /// Snapshots that nodes took over from their leader.
    pub(crate) installed: u64,
    /// Proposals that were committed and applied, each once.
    pub(crate) acknowledged: u64,
    /// Acknowledged proposals that were not in the logs of a majority behind a restart.
    pub(crate) lost: u64,
    /// Restarts behind which a node had forgotten its term or its vote.
    pub(crate) votes_taken_back: u64,
    /// Restarts at which a log found itself damaged.
    pub(crate) refused: u64,
    injections: BTreeMap<Injection, u64>,
}

impl Tally {
    /// What the power cuts left, in words.
    pub(crate) fn injected(&self) -> Vec<(&'static str, u64)> {
        let sum = |kinds: &[Injection]| kinds.iter().filter_map(|kind| self.injections.get(kind)).sum();
        vec![
            ("sectors kept", sum(&[Injection::SectorNew])),
            ("sectors lost", sum(&[Injection::SectorOld, Injection::SectorEarlier])),
            ("sectors torn", sum(&[Injection::SectorTorn])),
            (
                "sectors of nonsense",
                sum(&[Injection::SectorGarbage, Injection::SectorStale, Injection::NeighboursGarbage]),
            ),
            ("sizes of files cut back", sum(&[Injection::SizeLost, Injection::SizeEarlier, Injection::PrewriteLost])),
            ("names of files lost", sum(&[Injection::EntryLost, Injection::EntryEarlier])),
        ]
    }

    fn violations(&self) -> u64 {
        self.lost + self.votes_taken_back + self.refused
    }
}

/// Runs clusters until the plan is done. Where flushes are done, a loss is an error that names the seed.
pub(crate) fn run(plan: &Plan) -> Result<Tally, String> {
    let mut seeds = Random::new(plan.seed);
    let mut tally = Tally::default();
    while tally.power_cuts < plan.power_cuts {
        let mut cluster = Cluster::new(seeds.next(), plan.flushes, tally);
        let done = cluster.run();
        tally = cluster.end();
        done.map_err(|why| format!("{why} (seed {}, power cut {})", plan.seed, tally.power_cuts))?;
    }
    Ok(tally)
}

struct Cluster {
    random: Random,
    flushes: Flushes,
    nodes: Vec<Node>,
    wire: Vec<(NodeId, NodeId, Message)>,
    /// What was committed at each index.
    committed: BTreeMap<u64, Committed>,
    proposals: u64,
    tally: Tally,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Committed {
    term: u64,
    command: Vec<u8>,
}

impl Committed {
    fn encode(&self) -> Vec<u8> {
        [&self.term.to_le_bytes(), self.command.as_slice()].concat()
    }
}

struct Node {
    id: NodeId,
    disk: SimulatedDisk,
    raft: RaftNode<WalLog>,
    state: State,
    /// The hard state when the node last sent something: peers may count on it.
    promised: HardState,
    /// For so many ticks no message reaches it or leaves it.
    cut_off: u64,
    doom: Option<Doom>,
    /// Its log would not open any more.
    is_refused: bool,
}

impl Cluster {
    fn new(seed: u64, flushes: Flushes, tally: Tally) -> Cluster {
        let mut random = Random::new(seed);
        let nodes = (1..=NODES).map(|id| Node::new(id, random.next(), flushes)).collect();
        Cluster { random, flushes, nodes, wire: Vec::new(), committed: BTreeMap::new(), proposals: 0, tally }
    }

    fn run(&mut self) -> Result<(), String> {
        let (until, violations) = (self.tally.power_cuts + POWER_CUTS_PER_CLUSTER, self.tally.violations());
        let mut ticks = 0;
        while self.tally.power_cuts < until {
            let before = self.tally.power_cuts;
            self.bring_fate();
            self.tick()?;
            if self.tally.violations() > violations {
                // What such a cluster does next means nothing.
                return Ok(());
            }
            ticks = if self.tally.power_cuts > before { 0 } else { ticks + 1 };
            if ticks > TICKS_MAX {
                return Err("the cluster stands still".to_owned());
            }
        }
        self.settle()
    }

    /// Left alone, the cluster goes on.
    fn settle(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            (node.cut_off, node.doom) = (0, None);
            node.disk.on_operation(None);
        }
        let before = self.tally.acknowledged;
        for _ in 0..TICKS_MAX {
            self.tick()?;
            if self.tally.acknowledged > before {
                return Ok(());
            }
        }
        Err("the cluster acknowledges nothing any more".to_owned())
    }

    /// One tick of all clocks, and all that follows from it.
    fn tick(&mut self) -> Result<(), String> {
        for at in 0..self.nodes.len() {
            self.nodes[at].cut_off = self.nodes[at].cut_off.saturating_sub(1);
            self.step(at, Event::Tick)?;
        }
        if let Some(leader) = self.nodes.iter().position(|node| node.raft.is_leader()) {
            for _ in 0..self.random.below(4) {
                let command = self.command();
                self.step(leader, Event::Propose(command))?;
            }
        }
        // Answers are messages too; those that are on their way after so many stay there until the next tick.
        for _ in 0..64 {
            if self.wire.is_empty() {
                break;
            }
            let (from, to, message) = self.wire.swap_remove(self.random.place(self.wire.len()));
            let is_lost =
                self.random.once_in(50) || self.nodes[place(from)].cut_off + self.nodes[place(to)].cut_off > 0;
            if !is_lost {
                self.step(place(to), Event::Message(message))?;
            }
        }
        Ok(())
    }

    /// Dooms a node, or cuts one off.
    fn bring_fate(&mut self) {
        let at = self.random.place(self.nodes.len());
        if self.random.once_in(12) {
            self.doom(at);
        }
        if self.random.once_in(60) {
            self.nodes[at].cut_off = 5 + self.random.below(60);
        }
    }

    fn doom(&mut self, at: usize) {
        if self.nodes[at].doom.is_none() {
            let doom = Doom::new(self.random.below(OPERATIONS_TO_LIVE));
            self.nodes[at].meet(doom);
        }
    }

    fn command(&mut self) -> Vec<u8> {
        self.proposals += 1;
        let mut command = self.proposals.to_le_bytes().to_vec();
        let length = 8 + self.random.below(COMMAND_BYTES_MAX);
        command.extend((8..length).map(|at| at.to_le_bytes()[0]));
        command
    }

    /// Hands an event to a node, and does what it says, unless the node died meanwhile.
    fn step(&mut self, at: usize, event: Event) -> Result<(), String> {
        let Some(actions) = self.actions(at, event)? else { return Ok(()) };
        let from = self.nodes[at].id;
        for action in actions {
            match action {
                Action::Send { to, message } => self.wire.push((from, to, message)),
                Action::Apply { index, term, command } => self.apply(at, index, Committed { term, command })?,
                Action::Snapshot { index, .. } => {
                    let data = self.nodes[at].state.encode();
                    if self.actions(at, Event::Snapshot { index, data })?.is_none() {
                        return Ok(());
                    }
                    self.tally.saved += 1;
                }
                Action::RestoreSnapshot { index, data, .. } => self.restore(at, index, &data)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What a node makes of an event; nothing if it died meanwhile, or was asked for what only a leader does.
    fn actions(&mut self, at: usize, event: Event) -> Result<Option<Vec<Action>>, String> {
        let is_snapshot = matches!(event, Event::Snapshot { .. } | Event::Message(Message::InstallSnapshot(_)));
        if is_snapshot && self.random.once_in(8) {
            self.doom(at);
        }
        let node = &mut self.nodes[at];
        let result = node.raft.step(event);
        if let Some(cut) = node.doom.as_ref().and_then(Doom::cut) {
            self.tally.in_mid_snapshot += u64::from(is_snapshot);
            return self.lose_power(at, cut).map(|()| None);
        }
        node.promised = node.raft.log().hard_state();
        match result {
            Ok(actions) => Ok(Some(actions)),
            Err(Error::NotLeader { .. }) => Ok(None),
            Err(error) => Err(format!("node {}: {error}", node.id)),
        }
    }

    fn apply(&mut self, at: usize, index: u64, committed: Committed) -> Result<(), String> {
        let node = &mut self.nodes[at];
        node.state.apply(index, committed.encode());
        match self.committed.get(&index) {
            Some(earlier) if *earlier == committed => Ok(()),
            Some(earlier) => {
                let (node, term, earlier) = (node.id, committed.term, earlier.term);
                Err(format!(
                    "node {node} applies at index {index} a command of term {term}, another had one of {earlier}"
                ))
            }
            None => {
                self.committed.insert(index, committed);
                self.tally.acknowledged += 1;
                Ok(())
            }
        }
    }

    /// Takes the state from an installed snapshot: all that was committed up to its index, and nothing else.
    fn restore(&mut self, at: usize, upto: u64, data: &[u8]) -> Result<(), String> {
        self.tally.installed += 1;
        let node = &mut self.nodes[at];
        node.state = restored(data);
        let expected = self.committed.range(..=upto).map(|(index, committed)| (*index, committed.encode()));
        if !expected.eq(node.state.applied().iter().cloned()) {
            let wrong = format!("node {} installs a snapshot at index {upto} that is not what was applied", node.id);
            return self.violation(wrong);
        }
        Ok(())
    }

    /// The power of a node is cut, and now and then that of the others at the same moment.
    fn lose_power(&mut self, at: usize, cut: CrashPoints) -> Result<(), String> {
        let of_all = self.random.once_in(4);
        let mut cuts = vec![(at, cut)];
        if of_all {
            let others = (0..self.nodes.len()).filter(|other| *other != at);
            cuts.extend(others.map(|other| (other, self.nodes[other].disk.crash_points())));
            self.wire.clear();
        }
        self.tally.power_cuts += 1;
        self.tally.of_all += u64::from(of_all);
        self.tally.in_mid_write += u64::from(!cuts[0].1.is_empty());
        for (at, cut) in cuts {
            let outcome = cut.outcomes(OUTCOMES, self.random.next()).nth(self.random.place(OUTCOMES));
            let outcome = outcome.unwrap_or_else(|| cut.all_old());
            self.restart(at, cut.disk_after(&outcome))?;
        }
        self.check_acknowledged()
    }

    fn restart(&mut self, at: usize, disk: SimulatedDisk) -> Result<(), String> {
        let seed = self.random.next();
        let node = &mut self.nodes[at];
        let promised = node.promised;
        let log = match open(&disk) {
            Ok(log) => log,
            Err(error) => {
                self.tally.refused += 1;
                node.is_refused = true;
                let refused = format!("node {} cannot open its log again: {error}", node.id);
                return self.violation(refused);
            }
        };
        let found = log.hard_state();
        node.state = saved_state(&log);
        (node.raft, node.disk, node.promised, node.doom) = (raft(node.id, seed, log), disk, found, None);
        let forgot_vote =
            found.term == promised.term && promised.voted_for.is_some() && found.voted_for != promised.voted_for;
        if found.term < promised.term || forgot_vote {
            self.tally.votes_taken_back += 1;
            let id = self.nodes[at].id;
            self.violation(format!("node {id} had promised {promised:?} and came back with {found:?}"))?;
        }
        Ok(())
    }

    /// Every acknowledged proposal must be in the snapshots or the logs of a majority.
    fn check_acknowledged(&mut self) -> Result<(), String> {
        let kept: Vec<BTreeMap<u64, Vec<u8>>> = self.nodes.iter().map(Node::kept).collect();
        let is_kept = |index: u64, committed: &Committed| {
            let committed = committed.encode();
            kept.iter().filter(|kept| kept.get(&index) == Some(&committed)).count() * 2 > kept.len()
        };
        let lost = self.committed.iter().filter(|(index, committed)| !is_kept(**index, committed));
        let lost: Vec<u64> = lost.map(|(index, _)| *index).collect();
        let Some(first) = lost.first() else { return Ok(()) };
        self.tally.lost += lost.len() as u64;
        self.violation(format!("{} acknowledged writes are lost, the first one at index {first}", lost.len()))
    }

    /// Where flushes are ignored, violations are what is looked for.
    fn violation(&self, what: String) -> Result<(), String> {
        match self.flushes {
            Flushes::Done => Err(what),
            Flushes::Ignored => Ok(()),
        }
    }

    fn end(self) -> Tally {
        let mut tally = self.tally;
        for (injection, count) in self.nodes.iter().flat_map(|node| node.disk.injections().iter().collect::<Vec<_>>()) {
            *tally.injections.entry(injection).or_default() += count;
        }
        tally
    }
}

impl Node {
    fn new(id: NodeId, seed: u64, flushes: Flushes) -> Node {
        let disk = SimulatedDisk::new(seed);
        disk.ignore_flushes(flushes == Flushes::Ignored);
        let log = open(&disk).expect("an empty disk takes a log");
        Node {
            id,
            disk,
            raft: raft(id, seed, log),
            state: State::default(),
            promised: HardState::default(),
            cut_off: 0,
            doom: None,
            is_refused: false,
        }
    }

    /// All that its disk holds, in the snapshot and behind it.
    fn kept(&self) -> BTreeMap<u64, Vec<u8>> {
        if self.is_refused {
            return BTreeMap::new();
        }
        let log = self.raft.log();
        let entries = log.entries(1, u64::MAX).into_iter();
        let entries =
            entries.map(|LogEntry { index, term, command, .. }| (index, Committed { term, command }.encode()));
        saved_state(log).applied().iter().cloned().chain(entries).collect()
    }

    fn meet(&mut self, doom: Doom) {
        let watching = doom.clone();
        self.disk.on_operation(Some(Box::new(move |_, disk| watching.count_down(disk))));
        self.doom = Some(doom);
    }
}

/// Opens a log and reads all of it: opening goes by footers, and what a disk that ignores flushes has lost behind one is met by
/// reads alone.
fn open(disk: &SimulatedDisk) -> Result<WalLog, Error> {
    let options = Options::new().disk(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES);
    let wal = WalLog::open_with(&options, "/log")?;
    let log = wal.log();
    let read = log.bounds().and_then(|bounds| log.read_present(bounds.unwrap_or_default(), Limit::none()));
    match read {
        Ok(_) => Ok(wal),
        Err(error) => Err(Error::storage("reading the log", error)),
    }
}

fn raft(id: NodeId, seed: u64, log: WalLog) -> RaftNode<WalLog> {
    RaftNode::with_log(RaftConfig::new(id, 1..=NODES).with_seed(seed).with_snapshot_threshold(SNAPSHOT_THRESHOLD), log)
}

/// The state in the snapshot that a log keeps.
fn saved_state(log: &WalLog) -> State {
    log.snapshot().map_or_else(State::default, |snapshot| restored(&snapshot.data))
}

fn restored(data: &[u8]) -> State {
    State::decode(data).expect("a snapshot that is there is whole")
}

/// A power cut to come.
#[derive(Clone)]
struct Doom(Arc<Mutex<Fate>>);

struct Fate {
    /// Operations that the disk still does.
    left: u64,
    cut: Option<CrashPoints>,
}

impl Doom {
    fn new(left: u64) -> Doom {
        Doom(Arc::new(Mutex::new(Fate { left, cut: None })))
    }

    /// Before an operation. What the node does after its death goes to a disk that nobody will look at.
    fn count_down(&self, disk: &SimulatedDisk) {
        let mut fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fate.left.checked_sub(1) {
            Some(left) => fate.left = left,
            None if fate.cut.is_none() => fate.cut = Some(disk.crash_points()),
            None => {}
        }
    }

    /// The power cut, once it has come.
    fn cut(&self) -> Option<CrashPoints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cut.take()
    }
}

fn place(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("nodes are few")
}
