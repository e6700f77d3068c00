//! Text for people: bytes, sizes, and the state of a group on a few lines.
#![forbid(unsafe_code)]

use crate::json::{BatchesValue, GroupLine, LossValue, Told};
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
    write_told(out, "boundary", &group.boundary, |out, boundary| match boundary {
        Some(boundary) => {
            let (index, term, blob) = (boundary.index, boundary.term, Quoted(&boundary.blob.0));
            writeln!(out, "  boundary {index}@{term} {blob}")
        }
        None => Ok(()),
    })?;
    write_told(out, "hard state", &group.hard_state, |out, state| match state {
        Some(state) => {
            let (vote, commit) = (OrNone(state.vote), OrNone(state.commit));
            writeln!(out, "  hard state: term {}, vote {vote}, commit {commit}", state.term)
        }
        None => Ok(()),
    })?;
    if let Some(commit) = group.commit {
        writeln!(out, "  commit {commit}")?;
    }
    write_told(out, "metadata", &group.meta, |out, meta| {
        let mut pairs = meta.iter();
        pairs.try_for_each(|(key, value)| writeln!(out, "  meta {} = {}", Quoted(key.as_bytes()), Quoted(&value.0)))
    })?;
    write_told(out, "snapshot", &group.snapshot, |out, snapshot| match snapshot {
        Some(snapshot) => {
            let (index, term, config) = (snapshot.index, snapshot.term, Quoted(&snapshot.config.0));
            writeln!(out, "  snapshot {index}@{term}, {} bytes, configuration {config}", snapshot.bytes)
        }
        None => Ok(()),
    })?;
    match group.log {
        Some(_) => writeln!(out, "  {}", LossValue::Log),
        None => Ok(()),
    }
}

fn write_told<T, W: Write>(
    out: &mut W,
    what: &str,
    told: &Told<T>,
    write: impl FnOnce(&mut W, &T) -> io::Result<()>,
) -> io::Result<()> {
    match told {
        Told::Known(value) => write(out, value),
        Told::Lost { error } => writeln!(out, "  {what}: {error}"),
    }
}

impl fmt::Display for LossValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossValue::Entries { first, next, term } => write!(f, "entries {first}..{next} of term {term}"),
            LossValue::HardState => f.write_str("hard state"),
            LossValue::Metadata => f.write_str("metadata"),
            LossValue::BoundaryBlob => f.write_str("blob of the boundary"),
            LossValue::Log => f.write_str("log in doubt: entries may have come, gone or been replaced"),
            LossValue::Snapshot => f.write_str("snapshot"),
            LossValue::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for BatchesValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BatchesValue { file, offset, first, next, known, detail } = self;
        let known = if *known { "known" } else { "unknown" };
        write!(f, "{file} at offset {offset}: batches {first}..{next}: {detail}; what they did is {known}")
    }
}
