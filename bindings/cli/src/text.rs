//! Text for people: bytes, sizes, and the state of a group on a few lines.
#![forbid(unsafe_code)]

use crate::json::GroupLine;
use std::fmt;
use std::io::{self, Write};

/// Bytes in quotes: printable ASCII as it is, `\xHH` for all others.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                0x20..=0x7e => write!(f, "{}", char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A number that may be absent.
struct OrNone(Option<u64>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// All of a group but its entries.
pub(crate) fn write_group(out: &mut impl Write, group: &GroupLine) -> io::Result<()> {
    match group.first.zip(group.next) {
        Some((first, next)) => writeln!(out, "group {}: {} entries, {first}..{next}", group.group, group.entries)?,
        None => writeln!(out, "group {}: no entries", group.group)?,
    }
    if let Some(boundary) = &group.boundary {
        let (index, term, blob) = (boundary.index, boundary.term, Quoted(&boundary.blob.0));
        writeln!(out, "  boundary {index}@{term} {blob}")?;
    }
    if let Some(state) = &group.hard_state {
        let (vote, commit) = (OrNone(state.vote), OrNone(state.commit));
        writeln!(out, "  hard state: term {}, vote {vote}, commit {commit}", state.term)?;
    }
    if let Some(commit) = group.commit {
        writeln!(out, "  commit {commit}")?;
    }
    for (key, value) in &group.meta {
        writeln!(out, "  meta {} = {}", Quoted(key.as_bytes()), Quoted(&value.0))?;
    }
    if let Some(snapshot) = &group.snapshot {
        let (index, term, bytes, config) = (snapshot.index, snapshot.term, snapshot.bytes, Quoted(&snapshot.config.0));
        writeln!(out, "  snapshot {index}@{term}, {bytes} bytes, configuration {config}")?;
    }
    Ok(())
}
