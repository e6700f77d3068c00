//! Part 1: the cluster as processes on this machine's disk, ended with SIGKILL in mid-write.
//!
//! 1. Start all nodes over the logs they left, and compare what they apply with the acknowledgements so far.
//! 2. Keep a window of proposals open with the leader, and write down each acknowledgement, outside of the cluster.
//! 3. At a moment that the nodes cannot foresee, kill them all. Again from 1; the last time only 1.

use crate::Outcome;
use crate::figures::{grouped, row};
use crate::ledger::Ledger;
use crate::pipe::{Said, Told};
use crate::processes::{Cluster, Leader, NODES};
use crate::proposal::Proposal;
use crate::random::Random;
use crate::text::Text;
use duramen_raft_io::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 10;
/// Proposals that wait for their acknowledgement at one time.
const WINDOW: usize = 16;
/// From a round's first acknowledgement to the kill, in milliseconds: at least, and how much longer at most.
const WRITING_MS: (u64, u64) = (400, 600);
/// Without any progress for so long the demo gives up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(text: &Text, seed: u64) -> Outcome<()> {
    println!("\nPart 1: three nodes as processes, over duramen on this machine's disk. They propose the lines of");
    println!(
        "{} ({} lines, again and again) and are killed with SIGKILL in mid-write.\n",
        text.path.display(),
        text.lines.len()
    );
    let directory = tempfile::Builder::new().prefix("duramen-demo-").tempdir();
    let directory = directory.map_err(|error| format!("cannot make a temporary directory: {error}"))?;
    let mut part = Part::new(text, seed);
    let done = part.run(directory.path());
    if part.missing > 0 {
        println!("  The logs are kept in {}", directory.keep().display());
    }
    done
}

/// The proposals and what became of them.
struct Part<'a> {
    text: &'a Text,
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
    /// Acknowledged writes that were not found again, and where the first one was.
    missing: u64,
    first_missing: Option<(NodeId, u64)>,
}

impl<'a> Part<'a> {
    fn new(text: &'a Text, seed: u64) -> Self {
        Part {
            text,
            random: Random::new(seed),
            ledger: Ledger::default(),
            proposals: BTreeMap::new(),
            lines: 0,
            again: VecDeque::new(),
            open: BTreeSet::new(),
            kills: 0,
            kills_in_flight: 0,
            missing: 0,
            first_missing: None,
        }
    }

    fn run(&mut self, directory: &Path) -> Outcome<()> {
        for round in 1..=ROUNDS {
            let mut cluster = Cluster::start(directory, patience())?;
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
        let mut cluster = Cluster::start(directory, patience())?;
        self.check(&mut cluster)?;
        self.print()
    }

    fn print(&self) -> Outcome<()> {
        println!();
        row("proposals", self.proposals.len() as u64);
        row("acknowledgements", self.ledger.count());
        row("kills", self.kills);
        row("of them with a write in flight", self.kills_in_flight);
        row("acknowledged writes missing", self.missing);
        if let Some((node, index)) = self.first_missing {
            return Err(format!("acknowledged writes are missing, the first one in node {node} at index {index}"));
        }
        println!("\n  All {NODES} nodes have every acknowledged line, in order.");
        Ok(())
    }

    /// Waits until every node has applied what was acknowledged, and finds each of it again.
    fn check(&mut self, cluster: &mut Cluster) -> Outcome<()> {
        for id in 1..=NODES {
            let applied = applied(cluster, id, self.ledger.last_index())?;
            let missing = self.ledger.missing(&applied);
            self.missing += missing.len() as u64;
            self.first_missing = self.first_missing.or(missing.first().map(|index| (id, *index)));
        }
        Ok(())
    }

    /// Proposes until the moment of the kill, and says who led then.
    fn write(&mut self, cluster: &mut Cluster) -> Outcome<Leader> {
        let writing = Duration::from_millis(WRITING_MS.0 + self.random.below(WRITING_MS.1));
        let mut leader = wait_for_leader(cluster)?;
        let mut kill_at = None;
        let mut give_up_at = patience();
        while kill_at.is_none_or(|kill_at| Instant::now() < kill_at) {
            if cluster.leader() != Some(leader) {
                leader = wait_for_leader(cluster)?;
                self.give_up_open();
            }
            while self.open.len() < WINDOW {
                self.propose(cluster, leader.id);
            }
            match cluster.poll(kill_at.unwrap_or(give_up_at))? {
                Some((_, Said::Acknowledged { number, index })) => {
                    self.acknowledge(number, index)?;
                    kill_at = kill_at.or(Some(Instant::now() + writing));
                    give_up_at = patience();
                }
                Some((_, Said::Refused { number })) => self.give_up(number),
                Some(_) => {}
                None if kill_at.is_none() => return Err("no proposal was acknowledged in time".to_owned()),
                None => {}
            }
        }
        Ok(leader)
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
        self.ledger.acknowledge(index, proposal.clone())
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
        for (id, said) in cluster.kill() {
            match said {
                Said::Acknowledged { number, index } => self.acknowledge(number, index)?,
                Said::Failed(why) => return Err(format!("node {id}: {why}")),
                _ => {}
            }
        }
        self.kills += NODES;
        self.kills_in_flight += if self.open.is_empty() { 0 } else { NODES };
        Ok(())
    }
}

fn wait_for_leader(cluster: &mut Cluster) -> Outcome<Leader> {
    let deadline = patience();
    loop {
        match cluster.leader() {
            Some(leader) => return Ok(leader),
            None => cluster.next(deadline)?,
        };
    }
}

/// All that a node has applied, once it has come as far as `index`.
fn applied(cluster: &mut Cluster, node: NodeId, index: u64) -> Outcome<Vec<(u64, Proposal)>> {
    let deadline = patience();
    let mut applied = Vec::new();
    cluster.tell(node, &Told::ShowApplied);
    loop {
        match cluster.next(deadline)? {
            (id, Said::Applied { index, proposal }) if id == node => applied.push((index, proposal)),
            (id, Said::AppliedUpTo { index: last }) if id == node && last >= index => return Ok(applied),
            (id, Said::AppliedUpTo { .. }) if id == node => {
                // It is still catching up.
                std::thread::sleep(Duration::from_millis(20));
                applied.clear();
                cluster.tell(node, &Told::ShowApplied);
            }
            _ => {}
        }
    }
}

fn patience() -> Instant {
    Instant::now() + PATIENCE
}
