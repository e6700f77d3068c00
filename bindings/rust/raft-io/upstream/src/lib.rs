//! raft-io's own tests, unchanged, from the registry's copy, over `duramen_raft_io::WalLog`.
//!
//! They are a crate of their own because finding that copy takes a build script, which no user of the adapter should run.
//! To its tests this crate is raft-io: all of `duramen_raft_io`, with a `RaftNode` whose log is a durable one unless it
//! is given another.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as raft_io;

#[cfg(test)]
mod durable;

#[cfg(test)]
pub use durable::RaftNode;
#[cfg(test)]
pub use duramen_raft_io::*;

#[cfg(test)]
include!(concat!(env!("OUT_DIR"), "/upstream.rs"));

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// A module that compiles to nothing passes all its tests.
    #[test]
    fn the_tests_of_raft_io_are_there() {
        let this = std::env::current_exe().expect("a test knows its program");
        let listed = Command::new(this).arg("--list").output().expect("a test program lists its tests");
        let list = String::from_utf8(listed.stdout).expect("names of tests are UTF-8");
        for (file, expected) in [
            ("hardening", 1),
            ("kv_consumer", 4),
            ("membership", 4),
            ("recovery", 3),
            ("replication", 4),
            ("safety", 3),
            ("snapshot", 3),
        ] {
            let begin = format!("upstream::{file}::");
            let count = list.lines().filter(|line| line.starts_with(&begin) && line.ends_with(": test")).count();
            assert_eq!(count, expected, "tests/{file}.rs of version 1.0.0:\n{list}");
        }
    }

    #[test]
    fn they_run_over_duramen() {
        assert!(std::any::type_name::<raft_io::WalLog>().starts_with("duramen_raft_io::"));
        let node = raft_io::RaftNode::new(raft_io::RaftConfig::single(1));
        assert!(std::any::type_name_of_val(node.log()).starts_with("duramen_raft_io::"));
    }
}
