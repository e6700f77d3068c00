//! The stores of `tests/fixtures`, which every release reads: `dump --json` prints what lies beside them.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Of what a hard state, a boundary, metadata or a snapshot is that is lost this command has no line.
const NOT_PRINTED: &[&str] = &["losses"];

#[test]
fn dump_prints_what_lies_beside_each() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v1");
    let mut count = 0;
    for from in fs::read_dir(fixtures).unwrap().map(|fixture| fixture.unwrap().path()) {
        if NOT_PRINTED.iter().any(|name| from.ends_with(name)) {
            continue;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for file in fs::read_dir(&from).unwrap().map(Result::unwrap).filter(|file| file.file_name() != "dump.jsonl") {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let command = Command::new(env!("CARGO_BIN_EXE_duramen")).args(["dump", "--json"]).arg(folder.path()).output();
        let output = command.unwrap();
        assert!(output.status.success(), "{}: {output:?}", from.display());
        let dump = fs::read_to_string(from.join("dump.jsonl")).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), dump, "{}", from.display());
        count += 1;
    }
    assert_eq!(count, 5);
}
