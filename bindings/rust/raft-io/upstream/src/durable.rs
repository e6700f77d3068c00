//! The `RaftNode` that raft-io's tests are given: raft-io's own, which is made with a log of duramen where raft-io would
//! take one in memory.
#![forbid(unsafe_code)]

use duramen::Options;
use duramen::io::SimulatedDisk;
use duramen_raft_io::{RaftConfig, RaftLog, WalLog};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// In bytes; small, so that snapshots have segments to give back.
const SEGMENT_BYTES: u64 = 16 << 10;

/// raft-io's node.
pub struct RaftNode<L: RaftLog = WalLog>(duramen_raft_io::RaftNode<L>);

impl RaftNode {
    /// A node over an empty log, on a simulated disk: a flush of a real one would take most of the time, and these tests
    /// never open a log again.
    pub fn new(config: RaftConfig) -> RaftNode {
        let options = Options::new().disk(Arc::new(SimulatedDisk::new(1))).segment_bytes(SEGMENT_BYTES);
        RaftNode::with_log(config, WalLog::open_with(&options, "/log").expect("an empty disk takes a log"))
    }
}

impl<L: RaftLog> RaftNode<L> {
    /// A node over this log.
    pub fn with_log(config: RaftConfig, log: L) -> RaftNode<L> {
        RaftNode(duramen_raft_io::RaftNode::with_log(config, log))
    }

    /// Named by its path in raft-io's tests, where no dereferencing helps.
    pub fn is_leader(&self) -> bool {
        self.0.is_leader()
    }
}

impl<L: RaftLog> Deref for RaftNode<L> {
    type Target = duramen_raft_io::RaftNode<L>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: RaftLog> DerefMut for RaftNode<L> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
