//! One node of the cluster, a process of its own: raft-io over a duramen log, linked to its peers by TCP and to the demo
//! by its standard input and output. It ends when the demo does.

use crate::Outcome;
use crate::peers::{self, Peers};
use crate::pipe::{Said, Told};
use crate::proposal::Proposal;
use duramen_raft_io::{Action, Error, Event, Message, NodeId, RaftConfig, RaftLog, RaftNode, WalLog};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(15);
/// In ticks. A leader that flushes a full window of proposals must not look dead.
const ELECTION_TIMEOUT: (u32, u32) = (12, 24);

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
    let log = WalLog::open(directory.join(format!("node-{id}.wal"))).map_err(|error| error.to_string())?;
    peers::listen(listener, move |message| drop(sender.send(Input::Message(message))));
    let others = (1..=ports.len() as NodeId).filter(|other| *other != id);
    let config = RaftConfig::new(id, others)
        .with_election_timeout(ELECTION_TIMEOUT.0, ELECTION_TIMEOUT.1)
        .with_seed(u64::from(port));
    let raft = RaftNode::with_log(config, log);
    Node { raft, peers: Peers::new(id, &ports), leads: false, proposed: BTreeMap::new(), applied: Vec::new() }
        .run(&inputs)
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
    /// Since this process began; raft-io applies a log from its beginning after a restart.
    applied: Vec<(u64, Vec<u8>)>,
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
                self.carry_out(actions);
                Ok(())
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
        self.carry_out(actions);
        Ok(())
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { to, message } => self.peers.send(to, message),
                Action::Apply { index, command, .. } => {
                    self.applied.push((index, command));
                    if let Some(number) = self.proposed.remove(&index) {
                        say(&Said::Acknowledged { number, index });
                    }
                }
                _ => {}
            }
        }
    }

    fn show_applied(&self) {
        for (index, command) in &self.applied {
            match Proposal::decode(command) {
                Some(proposal) => say(&Said::Applied { index: *index, proposal }),
                None => say(&Said::Failed(format!("entry {index} is no proposal"))),
            }
        }
        say(&Said::AppliedUpTo { index: self.applied.last().map_or(0, |(index, _)| *index) });
    }
}
