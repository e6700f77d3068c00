//! [raft-io](raft_io) with a log that keeps its promises: this crate is `raft_io` with another [`WalLog`], one that stands
//! on [duramen]. Everything else is raft-io's own, so `use duramen_raft_io as raft_io` is the whole change to a program.
//! Files of raft-io's `WalLog` are not read. A node must not forget its vote, so do not give it an empty log under its old
//! number: remove it from the cluster and add one with another number, which catches up from its peers.
//!
//! ```
//! # let directory = tempfile::tempdir().unwrap();
//! # std::env::set_current_dir(&directory).unwrap();
//! use duramen_raft_io::{LogEntry, RaftLog, WalLog};
//!
//! let mut log = WalLog::open("raft.wal")?;
//! log.append(&[LogEntry::new(1, 1, b"set x = 1".to_vec())])?;
//! log.sync()?; // durable from here
//!
//! // After a restart, reopening the same path recovers the entry.
//! let recovered = WalLog::open("raft.wal")?;
//! assert_eq!(recovered.last_index(), 1);
//! # Ok::<(), duramen_raft_io::Error>(())
//! ```
//!
//! A node takes it as it takes any log:
//!
//! ```
//! # let directory = tempfile::tempdir().unwrap();
//! # let dir = directory.path();
//! use duramen_raft_io::{Action, Event, RaftConfig, RaftNode, WalLog};
//!
//! let mut node = RaftNode::with_log(RaftConfig::single(1), WalLog::open(dir.join("node-1.wal"))?);
//! while !node.is_leader() {
//!     node.step(Event::Tick)?;
//! }
//! let actions = node.step(Event::Propose(b"set x = 1".to_vec()))?;
//! assert!(actions.iter().any(|action| matches!(action, Action::Apply { .. })));
//! # Ok::<(), duramen_raft_io::Error>(())
//! ```
//!
//! # Snapshots
//!
//! Set a snapshot threshold, and the log stays small: [`RaftLog::apply_snapshot`] drops the entries that the snapshot
//! covers, and their space comes back when the node syncs.
//!
//! ```
//! # let directory = tempfile::tempdir().unwrap();
//! # let dir = directory.path();
//! use duramen_raft_io::{LogEntry, RaftLog, Snapshot, WalLog};
//!
//! let mut log = WalLog::open(dir.join("node-1.wal"))?;
//! log.append(&[LogEntry::new(1, 1, b"set x = 1".to_vec()), LogEntry::new(1, 2, b"set y = 2".to_vec())])?;
//! log.apply_snapshot(&Snapshot::with_config(1, 1, vec![1, 2, 3], b"x = 1".to_vec()))?;
//! log.sync()?; // durable from here
//!
//! assert_eq!((log.snapshot_index(), log.last_index()), (1, 2));
//! assert_eq!(log.entry(1), None);
//! # Ok::<(), duramen_raft_io::Error>(())
//! ```
//!
//! On the disk the configuration of such a snapshot, in duramen's words, is the members' numbers in raft-io's order,
//! eight bytes each, little-endian; at most `blob_bytes_max` bytes ([`duramen::Options`]), 8192 numbers by default.
#![forbid(unsafe_code)]

mod wal_log;

pub use raft_io::*;
pub use wal_log::WalLog;

/// What a program names all the time: raft-io's prelude, with this crate's [`WalLog`].
pub mod prelude {
    pub use crate::WalLog;
    pub use raft_io::prelude::*;
}
