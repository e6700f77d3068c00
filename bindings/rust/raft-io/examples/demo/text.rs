//! The text whose lines are proposed.

use crate::Outcome;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longer lines are proposed in pieces, in bytes.
const LINE_BYTES_MAX: usize = 4096;
/// More of the file is not read, in bytes: the demo ends after a time, not after a text.
const TEXT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    /// At least one.
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Text {
    pub(crate) fn read(path: &Path) -> Outcome<Text> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').flat_map(pieces).map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return Err(format!("{} has no lines to propose", path.display()));
        }
        Ok(Text { path: shortened(path), lines })
    }
}

/// As a person in the current directory would write it.
fn shortened(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    match here.as_deref().map(|here| whole.strip_prefix(here)) {
        Ok(Ok(inside)) => inside.to_owned(),
        _ => whole,
    }
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.chunks(LINE_BYTES_MAX)
}
