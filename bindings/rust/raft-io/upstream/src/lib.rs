//! raft-io's own recovery tests, unchanged, from the registry's copy, over `duramen_raft_io::WalLog`.
//!
//! They are a crate of their own because finding that copy takes a build script, which no user of the adapter should run.
#![forbid(unsafe_code)]

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
        let count = list.lines().filter(|line| line.starts_with("upstream::") && line.ends_with(": test")).count();
        assert!(count >= 3, "{count} tests of raft-io, there are 3 in version 1.0.0:\n{list}");
    }

    #[test]
    fn they_run_over_duramen() {
        assert!(std::any::type_name::<raft_io::WalLog>().starts_with("duramen_raft_io::"));
    }
}
