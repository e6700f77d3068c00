//! Part 1: the cluster as processes on this machine's disk, ended with SIGKILL in mid-write.
//!
//! 1. Start all nodes over the logs they left; every other time kill them all while they catch up, and start them again.
//!    Compare what they apply with the acknowledgements so far.
//! 2. Keep a window of proposals open with the leader, and write down each acknowledgement, outside of the cluster.
//! 3. Kill a follower. Once the leader has taken a snapshot, its log begins behind where the follower's ends, so the
//!    follower will need that snapshot when it is started again.
//! 4. At a moment that the nodes cannot foresee, kill them all. Again from 1; the last time only 1.

use crate::Outcome;
use crate::figures::{grouped, row};
use crate::ledger::Ledger;
use crate::node::{SNAPSHOT_THRESHOLD, directory_of};
use crate::pipe::{Said, Told};
use crate::processes::{Cluster, Leader, NODES};
use crate::proposal::{Kept, Proposal};
use crate::random::Random;
use crate::text::Text;
use duramen_raft_io::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 10;
/// Proposals that wait for their acknowledgement at one time.
const WINDOW: usize = 16;
/// From a round's first acknowledgement to the kill of a follower, in milliseconds: at least, and how much longer.
const WITH_ALL_MS: (u64, u64) = (50, 250);
/// From the leader's next snapshot to the kill of all, likewise.
const WITHOUT_ONE_MS: (u64, u64) = (100, 350);
/// From a start to the kill of nodes that catch up, likewise.
const CATCHING_UP_MS: (u64, u64) = (10, 490);
/// Without any progress for so long the demo gives up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(text: &Text, seed: u64) -> Outcome<()> {
    println!("\nPart 1: three nodes as processes, over duramen on this machine's disk. They propose the lines of");
    println!(
        "{} ({} lines, again and again), take a snapshot every {SNAPSHOT_THRESHOLD} entries, and are killed with\n\
         SIGKILL in mid-write.\n",
        text.path.display(),
        text.lines.len()
    );
    let directory = tempfile::Builder::new().prefix("duramen-demo-").tempdir();
    let directory = directory.map_err(|error| format!("cannot make a temporary directory: {error}"))?;
    let mut part = Part::new(text, directory.path(), seed);
    let done = part.run();
    if part.missing > 0 {
        println!("  The logs are kept in {}", directory.keep().display());
    }
    done
}

/// The proposals and what became of them.
struct Part<'a> {
    text: &'a Text,
    directory: &'a Path,
    random: Random,
    ledger: Ledger,
    /// All of them, by number.
    proposals: BTreeMap<u64, Proposal>,
    /// How many lines were proposed for the first time.
    lines: u64,
    /// Lines whose proposals will not be answered, to be proposed again.
    again: VecDeque<Vec<u8>>,
    /// The numbers of those that the leader was given and has not answered.
    open: BTreeSet<u64>,
    kills: u64,
    kills_in_flight: u64,
    kills_at_start: u64,
    saved: u64,
    installed: u64,
    /// What the files of one node's directory took, in bytes, at most.
    largest: u64,
    /// Acknowledged writes that were not found again, and where the first one was.
    missing: u64,
    first_missing: Option<(NodeId, u64)>,
}

impl<'a> Part<'a> {
    fn new(text: &'a Text, directory: &'a Path, seed: u64) -> Self {
        Part {
            text,
            directory,
            random: Random::new(seed),
            ledger: Ledger::default(),
            proposals: BTreeMap::new(),
            lines: 0,
            again: VecDeque::new(),
            open: BTreeSet::new(),
            kills: 0,
            kills_in_flight: 0,
            kills_at_start: 0,
            saved: 0,
            installed: 0,
            largest: 0,
            missing: 0,
            first_missing: None,
        }
    }

    fn run(&mut self) -> Outcome<()> {
        for round in 1..=ROUNDS {
            if round % 2 == 0 {
                self.kill_at_start()?;
            }
            let mut cluster = Cluster::start(self.directory, patience())?;
            self.check(&mut cluster)?;
            if self.missing > 0 {
                return self.print();
            }
            let before = self.ledger.count();
            let leader = self.write(&mut cluster)?;
            self.kill(cluster)?;
            let (again, more) = (grouped(before), grouped(self.ledger.count() - before));
            let open = self.open.len();
            println!(
                "  round {round:>2} of {ROUNDS}: {again:>6} found again; node {} leads, {more:>5} more acknowledged; killed \
                 all with {open:>2} writes in flight",
                leader.id,
            );
            self.give_up_open();
        }
        let mut cluster = Cluster::start(self.directory, patience())?;
        self.check(&mut cluster)?;
        self.print()
    }

    fn print(&self) -> Outcome<()> {
        println!();
        row("proposals", self.proposals.len() as u64);
        row("acknowledgements", self.ledger.count());
        row("kills", self.kills);
        row("of them with a write in flight", self.kills_in_flight);
        row("of them while catching up", self.kills_at_start);
        row("snapshots saved", self.saved);
        row("snapshots installed by restarted nodes", self.installed);
        row("largest directory of a node, in bytes", self.largest);
        row("acknowledged writes missing", self.missing);
        if let Some((node, index)) = self.first_missing {
            return Err(format!("acknowledged writes are missing, the first one in node {node} at index {index}"));
        }
        if self.saved == 0 || self.installed == 0 || self.largest == 0 {
            return Err("no snapshots were saved and installed: it shows too little".to_owned());
        }
        println!("\n  All {NODES} nodes have every acknowledged line, in order.");
        Ok(())
    }

    /// Waits until every node has applied what was acknowledged, and finds each of it again.
    fn check(&mut self, cluster: &mut Cluster) -> Outcome<()> {
        for id in 1..=NODES {
            let applied = self.applied(cluster, id)?;
            let missing = self.ledger.missing(&applied);
            self.missing += missing.len() as u64;
            self.first_missing = self.first_missing.or(missing.first().map(|index| (id, *index)));
        }
        Ok(())
    }

    /// All that a node has applied, once it has come as far as the acknowledgements.
    fn applied(&mut self, cluster: &mut Cluster, node: NodeId) -> Outcome<Vec<(u64, Kept)>> {
        let deadline = patience();
        let mut applied = Vec::new();
        cluster.tell(node, &Told::ShowApplied);
        loop {
            match cluster.next(deadline)? {
                (id, Said::Applied { index, kept }) if id == node => applied.push((index, kept)),
                (id, Said::AppliedUpTo { index }) if id == node && index >= self.ledger.last_index() => {
                    return Ok(applied);
                }
                (id, Said::AppliedUpTo { .. }) if id == node => {
                    // It is still catching up.
                    std::thread::sleep(Duration::from_millis(20));
                    applied.clear();
                    cluster.tell(node, &Told::ShowApplied);
                }
                (_, said) => self.note(&said)?,
            }
        }
    }

    /// Kills all nodes soon after they were started.
    fn kill_at_start(&mut self) -> Outcome<()> {
        let mut cluster = Cluster::start(self.directory, patience())?;
        let kill_at = self.moment(CATCHING_UP_MS);
        while let Some((_, said)) = cluster.poll(kill_at)? {
            self.note(&said)?;
        }
        self.kills_at_start += NODES;
        self.kill(cluster)
    }

    /// Proposes until the moment of the kill, and says who led then.
    fn write(&mut self, cluster: &mut Cluster) -> Outcome<Leader> {
        let mut leader = self.wait_for_leader(cluster)?;
        let mut stage = Stage::Beginning;
        let mut give_up_at = patience();
        loop {
            let now = Instant::now();
            match stage {
                Stage::All { until } if now >= until => {
                    self.kill_follower(cluster, leader.id);
                    stage = Stage::WithoutOne;
                }
                Stage::Last { until } if now >= until => return Ok(leader),
                _ if now >= give_up_at => return Err("no proposal was acknowledged in time".to_owned()),
                _ => {}
            }
            if cluster.leader() != Some(leader) {
                leader = self.wait_for_leader(cluster)?;
                self.give_up_open();
            }
            while self.open.len() < WINDOW {
                self.propose(cluster, leader.id);
            }
            let until = stage.until().unwrap_or(give_up_at).min(give_up_at);
            let Some((id, said)) = cluster.poll(until)? else { continue };
            self.note(&said)?;
            match (said, stage) {
                (Said::Acknowledged { .. }, Stage::Beginning) => {
                    stage = Stage::All { until: self.moment(WITH_ALL_MS) };
                    give_up_at = patience();
                }
                (Said::Saved { .. }, Stage::WithoutOne) if id == leader.id => {
                    stage = Stage::Last { until: self.moment(WITHOUT_ONE_MS) };
                }
                (Said::Acknowledged { .. }, _) => give_up_at = patience(),
                _ => {}
            }
        }
    }

    fn wait_for_leader(&mut self, cluster: &mut Cluster) -> Outcome<Leader> {
        let deadline = patience();
        loop {
            if let Some(leader) = cluster.leader() {
                return Ok(leader);
            }
            let (_, said) = cluster.next(deadline)?;
            self.note(&said)?;
        }
    }

    fn kill_follower(&mut self, cluster: &mut Cluster, leader: NodeId) {
        let away = 1 + self.random.below(NODES - 1);
        cluster.kill_one((leader - 1 + away) % NODES + 1);
        self.kills += 1;
        self.kills_in_flight += u64::from(!self.open.is_empty());
    }

    fn moment(&mut self, (least, more): (u64, u64)) -> Instant {
        Instant::now() + Duration::from_millis(least + self.random.below(more))
    }

    /// Writes down what a node has said, whatever else it means.
    fn note(&mut self, said: &Said) -> Outcome<()> {
        match said {
            Said::Acknowledged { number, index } => return self.acknowledge(*number, *index),
            Said::Refused { number } => self.give_up(*number),
            Said::Saved { .. } => self.saved += 1,
            Said::Installed { .. } => self.installed += 1,
            _ => return Ok(()),
        }
        if matches!(said, Said::Saved { .. } | Said::Installed { .. }) {
            self.measure();
        }
        Ok(())
    }

    fn measure(&mut self) {
        for id in 1..=NODES {
            self.largest = self.largest.max(size_of(&directory_of(self.directory, id)));
        }
    }

    fn propose(&mut self, cluster: &mut Cluster, leader: NodeId) {
        let line = self.again.pop_front().unwrap_or_else(|| self.next_line());
        let proposal = Proposal { number: self.proposals.len() as u64 + 1, line };
        cluster.tell(leader, &Told::Propose(proposal.clone()));
        self.open.insert(proposal.number);
        self.proposals.insert(proposal.number, proposal);
    }

    fn next_line(&mut self) -> Vec<u8> {
        let place = self.lines % self.text.lines.len() as u64;
        self.lines += 1;
        self.text.lines[usize::try_from(place).expect("it is below a usize")].clone()
    }

    /// Also of a proposal that was given up: its acknowledgement was late, and counts.
    fn acknowledge(&mut self, number: u64, index: u64) -> Outcome<()> {
        self.open.remove(&number);
        let proposal = self.proposals.get(&number).ok_or_else(|| format!("nobody proposed number {number}"))?;
        self.ledger.acknowledge(index, proposal.kept())
    }

    /// Nobody will answer for this proposal; its line is proposed again.
    fn give_up(&mut self, number: u64) {
        if self.open.remove(&number) {
            self.again.push_back(self.proposals[&number].line.clone());
        }
    }

    fn give_up_open(&mut self) {
        for number in std::mem::take(&mut self.open) {
            self.again.push_back(self.proposals[&number].line.clone());
        }
    }

    /// Kills all nodes; what they had said by then counts.
    fn kill(&mut self, cluster: Cluster) -> Outcome<()> {
        let alive = cluster.alive();
        for (id, said) in cluster.kill() {
            match said {
                Said::Failed(why) => return Err(format!("node {id}: {why}")),
                said => self.note(&said)?,
            }
        }
        self.measure();
        self.kills += alive;
        self.kills_in_flight += if self.open.is_empty() { 0 } else { alive };
        Ok(())
    }
}

/// How far the writing of a round has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Nothing was acknowledged yet.
    Beginning,
    All {
        until: Instant,
    },
    /// A follower was killed, and the leader has not taken a snapshot since.
    WithoutOne,
    Last {
        until: Instant,
    },
}

impl Stage {
    fn until(self) -> Option<Instant> {
        match self {
            Stage::Beginning | Stage::WithoutOne => None,
            Stage::All { until } | Stage::Last { until } => Some(until),
        }
    }
}

/// What the files of a directory take, in bytes. One that is removed meanwhile takes nothing.
fn size_of(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

fn patience() -> Instant {
    Instant::now() + PATIENCE
}
