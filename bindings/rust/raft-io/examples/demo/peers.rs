//! The links between nodes: one TCP connection to each peer for what this node sends, and those the peers opened.
//!
//! A message that cannot be sent at once is dropped. Raft takes a network for what it is.

use crate::frame;
use duramen_raft_io::{Message, NodeId};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// So many messages wait for a peer before the next one is dropped.
const WAITING_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Peers {
    lanes: BTreeMap<NodeId, SyncSender<Message>>,
}

impl Peers {
    /// Links to all nodes but `own`; node n listens on the n-th port.
    pub(crate) fn new(own: NodeId, ports: &[u16]) -> Peers {
        let others = (1..).zip(ports).filter(|(id, _)| *id != own);
        Peers { lanes: others.map(|(id, port)| (id, lane(*port))).collect() }
    }

    pub(crate) fn send(&self, to: NodeId, message: Message) {
        if let Some(lane) = self.lanes.get(&to) {
            let _ = lane.try_send(message);
        }
    }
}

fn lane(port: u16) -> SyncSender<Message> {
    let (sender, messages) = sync_channel(WAITING_MAX);
    thread::spawn(move || carry(port, &messages));
    sender
}

fn carry(port: u16, messages: &Receiver<Message>) {
    let mut stream = None;
    for message in messages {
        stream = stream.or_else(|| connect(port));
        if stream.as_mut().is_some_and(|stream| frame::write(stream, &message).is_err()) {
            stream = None;
        }
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), CONNECT_TIMEOUT).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Hands over every message that arrives, from threads of its own.
pub(crate) fn listen(listener: TcpListener, deliver: impl Fn(Message) + Clone + Send + 'static) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let deliver = deliver.clone();
            thread::spawn(move || {
                while let Ok(message) = frame::read(&mut stream) {
                    deliver(message);
                }
            });
        }
    });
}
