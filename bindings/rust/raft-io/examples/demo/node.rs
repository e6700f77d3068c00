//! One node of the cluster, a process of its own: raft-io over a duramen log, linked to its peers by TCP and to the demo
//! by its standard input and output. It ends when the demo does.

use crate::Outcome;
use crate::peers::{self, Peers};
use crate::pipe::{Said, Told};
use crate::proposal::{Kept, Proposal};
use crate::state::State;
use duramen::Options;
use duramen_raft_io::{Action, Error, Event, Message, NodeId, RaftConfig, RaftLog, RaftNode, WalLog};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(15);
/// In ticks. A leader that flushes a full window of proposals must not look dead.
const ELECTION_TIMEOUT: (u32, u32) = (12, 24);
/// So small that space comes back within the seconds that the demo takes.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Applied entries from one snapshot to the next.
pub(crate) const SNAPSHOT_THRESHOLD: usize = 100;

/// What a node waits for.
enum Input {
    Told(Told),
    Message(Message),
    /// The demo is gone.
    End,
}

/// Why it failed is for the demo to say.
pub(crate) fn run(id: NodeId, directory: &Path) -> ExitCode {
    match serve(id, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&Said::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

fn serve(id: NodeId, directory: &Path) -> Outcome<()> {
    let (sender, inputs) = mpsc::channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("cannot listen: {error}"))?;
    let port = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?.port();
    say(&Said::Port(port));
    listen_to_the_demo(sender.clone());
    let Ok(Input::Told(Told::Ports(ports))) = inputs.recv() else { return Ok(()) };
    let options = Options::new().segment_bytes(SEGMENT_BYTES);
    let log = WalLog::open_with(&options, directory_of(directory, id)).map_err(|error| error.to_string())?;
    let state = log.snapshot().map_or_else(|| Ok(State::default()), |snapshot| restored(&snapshot.data))?;
    peers::listen(listener, move |message| drop(sender.send(Input::Message(message))));
    let others = (1..=ports.len() as NodeId).filter(|other| *other != id);
    let config = RaftConfig::new(id, others)
        .with_election_timeout(ELECTION_TIMEOUT.0, ELECTION_TIMEOUT.1)
        .with_snapshot_threshold(SNAPSHOT_THRESHOLD)
        .with_seed(u64::from(port));
    let raft = RaftNode::with_log(config, log);
    Node { raft, peers: Peers::new(id, &ports), leads: false, proposed: BTreeMap::new(), state }.run(&inputs)
}

fn listen_to_the_demo(sender: Sender<Input>) {
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        for told in lines.map_while(|line| Told::parse(&line)) {
            let _ = sender.send(Input::Told(told));
        }
        let _ = sender.send(Input::End);
    });
}

fn say(said: &Said) {
    let mut out = std::io::stdout().lock();
    // Nobody hears it when the demo is gone, and then this process ends as well.
    let _ = out.write_all((said.line() + "\n").as_bytes()).and_then(|()| out.flush());
}

struct Node {
    raft: RaftNode<WalLog>,
    peers: Peers,
    leads: bool,
    /// By index, the numbers of the proposals that this node appended as the leader it still is.
    proposed: BTreeMap<u64, u64>,
    state: State,
}

impl Node {
    fn run(mut self, inputs: &Receiver<Input>) -> Outcome<()> {
        let mut tick_at = Instant::now() + TICK;
        loop {
            match inputs.recv_timeout(tick_at.saturating_duration_since(Instant::now())) {
                Ok(Input::Message(message)) => self.step(Event::Message(message))?,
                Ok(Input::Told(Told::Propose(proposal))) => self.propose(&proposal)?,
                Ok(Input::Told(Told::ShowApplied)) => self.show_applied(),
                Ok(Input::Told(Told::Ports(_))) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if Instant::now() >= tick_at {
                self.step(Event::Tick)?;
                tick_at = Instant::now() + TICK;
            }
        }
    }

    fn propose(&mut self, proposal: &Proposal) -> Outcome<()> {
        match self.raft.step(Event::Propose(proposal.encode())) {
            Ok(actions) => {
                self.proposed.insert(self.raft.log().last_index(), proposal.number);
                self.carry_out(actions)
            }
            Err(Error::NotLeader { .. }) => {
                say(&Said::Refused { number: proposal.number });
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn step(&mut self, event: Event) -> Outcome<()> {
        let actions = self.raft.step(event).map_err(|error| error.to_string())?;
        if self.leads != self.raft.is_leader() {
            self.leads = self.raft.is_leader();
            self.proposed.clear();
            say(&if self.leads { Said::Leads { term: self.raft.term() } } else { Said::LeadsNoMore });
        }
        self.carry_out(actions)
    }

    fn carry_out(&mut self, actions: Vec<Action>) -> Outcome<()> {
        for action in actions {
            match action {
                Action::Send { to, message } => self.peers.send(to, message),
                Action::Apply { index, command, .. } => self.apply(index, &command)?,
                Action::Snapshot { index, .. } => self.save_snapshot(index)?,
                Action::RestoreSnapshot { index, data, .. } => {
                    self.state = restored(&data)?;
                    say(&Said::Installed { index });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Outcome<()> {
        let proposal = Proposal::decode(command).ok_or_else(|| format!("entry {index} is no proposal"))?;
        self.state.apply(index, proposal.kept().encode());
        if let Some(number) = self.proposed.remove(&index) {
            say(&Said::Acknowledged { number, index });
        }
        Ok(())
    }

    fn save_snapshot(&mut self, index: u64) -> Outcome<()> {
        let data = self.state.encode();
        self.raft.step(Event::Snapshot { index, data }).map_err(|error| error.to_string())?;
        say(&Said::Saved { index: self.raft.log().snapshot_index() });
        Ok(())
    }

    fn show_applied(&self) {
        for (index, kept) in self.state.applied() {
            match Kept::decode(kept) {
                Some(kept) => say(&Said::Applied { index: *index, kept }),
                None => say(&Said::Failed(format!("what was kept of entry {index} is none of ours"))),
            }
        }
        say(&Said::AppliedUpTo { index: self.state.last_index() });
    }
}

/// Where a node keeps its log.
pub(crate) fn directory_of(directory: &Path, id: NodeId) -> PathBuf {
    directory.join(format!("node-{id}.wal"))
}

fn restored(data: &[u8]) -> Outcome<State> {
    State::decode(data).ok_or_else(|| "a snapshot is none of ours".to_owned())
}
