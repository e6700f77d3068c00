//! The processes of the cluster, as the demo sees them. It ends those it started, and no others.

use crate::Outcome;
use crate::pipe::{Said, Told};
use duramen_raft_io::NodeId;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

pub(crate) const NODES: u64 = 3;

#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Process>,
    /// Ends when all nodes are gone.
    heard: Receiver<(NodeId, Said)>,
    leader: Option<Leader>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: NodeId,
    pub(crate) term: u64,
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    is_killed: bool,
}

impl Cluster {
    /// Starts all nodes and tells them of each other.
    pub(crate) fn start(directory: &Path, deadline: Instant) -> Outcome<Cluster> {
        let (sender, heard) = mpsc::channel();
        let mut cluster = Cluster { nodes: Vec::new(), heard, leader: None };
        for id in 1..=NODES {
            let node = Process::start(id, directory, sender.clone());
            cluster.nodes.push(node.map_err(|error| format!("cannot start node {id}: {error}"))?);
        }
        drop(sender);
        let mut ports = vec![0; cluster.nodes.len()];
        while ports.contains(&0) {
            if let (id, Said::Port(port)) = cluster.next(deadline)? {
                ports[place(id)] = port;
            }
        }
        for id in 1..=NODES {
            cluster.tell(id, &Told::Ports(ports.clone()));
        }
        Ok(cluster)
    }

    /// Tells a node something. A node that is gone is heard of by [`Cluster::next`].
    pub(crate) fn tell(&mut self, id: NodeId, told: &Told) {
        let _ = self.nodes[place(id)].input.write_all((told.line() + "\n").as_bytes());
    }

    /// The next thing that any node says, if one says anything before the deadline.
    pub(crate) fn poll(&mut self, deadline: Instant) -> Outcome<Option<(NodeId, Said)>> {
        let (id, said) = match self.heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err("all nodes ended by themselves".to_owned()),
        };
        match &said {
            Said::Failed(why) => return Err(format!("node {id}: {why}")),
            Said::Leads { term } if self.leader.is_none_or(|leader| leader.term < *term) => {
                self.leader = Some(Leader { id, term: *term });
            }
            Said::LeadsNoMore if self.leader.is_some_and(|leader| leader.id == id) => self.leader = None,
            _ => {}
        }
        Ok(Some((id, said)))
    }

    /// The next thing that any node says.
    pub(crate) fn next(&mut self, deadline: Instant) -> Outcome<(NodeId, Said)> {
        self.poll(deadline)?.ok_or_else(|| "the cluster made no progress in time".to_owned())
    }

    /// The node that leads, as far as it has been heard.
    pub(crate) fn leader(&self) -> Option<Leader> {
        self.leader
    }

    /// How many nodes were not killed yet.
    pub(crate) fn alive(&self) -> u64 {
        self.nodes.iter().filter(|node| !node.is_killed).count() as u64
    }

    /// Sends SIGKILL to one node.
    pub(crate) fn kill_one(&mut self, id: NodeId) {
        self.nodes[place(id)].kill();
    }

    /// Sends SIGKILL to all nodes, and gives what they had said by then.
    pub(crate) fn kill(mut self) -> Vec<(NodeId, Said)> {
        self.nodes.iter_mut().for_each(Process::kill);
        self.heard.iter().collect()
    }
}

impl Process {
    fn start(id: NodeId, directory: &Path, sender: Sender<(NodeId, Said)>) -> std::io::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["node", &id.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        thread::spawn(move || listen(id, output, &sender));
        Ok(Process { child, input, is_killed: false })
    }

    fn kill(&mut self) {
        // It may have ended by itself, which the listener hears.
        let _ = self.child.kill();
        self.is_killed = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Passes on whole lines. A line without its end was cut off by the kill, and may say something else than it would have.
fn listen(id: NodeId, output: ChildStdout, sender: &Sender<(NodeId, Said)>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let Some(whole) = line.strip_suffix('\n') else { return };
        let said = Said::parse(whole).unwrap_or_else(|| Said::Failed(format!("it said {whole:?}")));
        let _ = sender.send((id, said));
        line.clear();
    }
}

fn place(id: NodeId) -> usize {
    usize::try_from(id - 1).expect("nodes are few")
}
