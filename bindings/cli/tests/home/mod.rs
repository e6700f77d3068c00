//! A folder with a store, and the command run on it, for the tests of the command.
#![forbid(unsafe_code)]

use duramen::{Entry, HardState, Store};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const SOUND: i32 = 0;
pub(crate) const DAMAGED: i32 = 1;

/// A folder that holds a store under the name `store`.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Runs the command: its name, the store, and what comes behind.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        run(&[&[command, path_text(&self.path())], arguments].concat())
    }

    /// Flips a bit in the file with this ending that is first by name, where it holds these bytes.
    pub(crate) fn flip(&self, ending: &str, find: &[u8]) {
        self.flip_at(ending, |bytes| place_of(bytes, find));
    }

    /// Flips a bit at the place that is found in the file.
    pub(crate) fn flip_at(&self, ending: &str, find: impl FnOnce(&[u8]) -> usize) {
        let mut names: Vec<PathBuf> = fs::read_dir(self.path()).unwrap().map(|item| item.unwrap().path()).collect();
        names.sort();
        let file = names.into_iter().find(|path| path_text(path).ends_with(ending)).expect("there is such a file");
        let mut bytes = fs::read(&file).unwrap();
        let at = find(&bytes);
        bytes[at] ^= 0x40;
        fs::write(file, bytes).unwrap();
    }
}

/// Where the bytes lie that are first in a file.
pub(crate) fn place_of(bytes: &[u8], find: &[u8]) -> usize {
    bytes.windows(find.len()).position(|window| window == find).expect("the file holds it")
}

pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// A little of everything.
pub(crate) fn small_store() -> Home {
    let home = Home::new();
    let store = Store::open(home.path()).unwrap();
    let log = store.log(1);
    let entries = [
        Entry::new(1, 1, &b"one"[..]),
        Entry { index: 2, term: 1, kind: 7, data: &b""[..] },
        Entry::new(3, 2, &b"\x00\xff\"\\"[..]),
    ];
    log.append(&entries).unwrap();
    log.purge(1, 1, b"blob").unwrap();
    log.set_hard_state(HardState { term: 2, vote: Some(9), commit: Some(2) }).unwrap();
    log.set_meta("b", b"\x01\x02").unwrap();
    log.set_meta("a", b"").unwrap();
    let mut writer = log.snapshot_writer().unwrap();
    writer.write_all(b"the state of the machine").unwrap();
    log.save_snapshot(writer.finish(2, 1, b"config").unwrap()).unwrap();
    store.log(0).set_hard_state(HardState { term: 5, vote: None, commit: None }).unwrap();
    store.log(u64::MAX).put(&[Entry::new(4, 3, b"four"), Entry::new(9, 3, b"nine")]).unwrap();
    store.close().unwrap();
    home
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    let output = command(arguments).output().expect("the command runs");
    assert!(output.status.code().is_some(), "{arguments:?}: ended by a signal");
    output
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duramen"));
    command.args(arguments).stdin(Stdio::null());
    command
}

#[track_caller]
pub(crate) fn expect(output: &Output, code: i32) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout.clone()).expect("the output is UTF-8");
    assert_eq!(output.status.code(), Some(code), "printed: {printed}\ntold: {told}");
    printed
}

/// What was told on standard error, in one line.
#[track_caller]
pub(crate) fn complaint(output: &Output, code: i32) -> String {
    expect(output, code);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("duramen: ") && told.lines().count() == 1, "{told}");
    told
}

pub(crate) fn values(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}
