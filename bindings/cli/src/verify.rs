//! `duramen verify`: reads every batch, every entry and every snapshot, and reports what is not as it was written.
//!
//! Damaged batches are told by their places, and what is lost with them by its name. Where the writer gives back what is being
//! read, all is begun anew with the store as it is then, so that what is reported is true of one state of it.
#![forbid(unsafe_code)]

use crate::arguments::Verify;
use crate::failure::{Failure, Status};
use crate::json::{BatchesValue, LossValue, write_line};
use crate::walk::{Visited, walk};
use duramen::{Error, Loss, ReadOnlyLog, ReadOnlyStore, Store};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Read, Write};

/// So often all is begun anew.
const ATTEMPTS_MAX: usize = 10;

/// What an entry takes on the disk beside its data, in bytes.
const ENTRY_HEADER_BYTES: u64 = 40;

/// What is read of a snapshot in one call, in bytes.
const PIECE_BYTES: usize = 256 << 10;

pub(crate) fn run(arguments: &Verify, out: &mut impl Write) -> Result<Status, Failure> {
    let verified = match Store::open_read_only(&arguments.dir) {
        Ok(mut store) => verify_until_still(&mut store)?,
        Err(Error::Corrupt { file, offset, batch, detail }) => {
            Verified { damage: vec![Damage::Store { file, offset, batch, detail }], ..Verified::default() }
        }
        Err(error) => return Err(error.into()),
    };
    let written = if arguments.json { verified.write_json(out) } else { verified.write_text(out) };
    let status = verified.status();
    written.and_then(|()| out.flush()).map_err(|error| Failure::Output(error, status))?;
    Ok(status)
}

fn verify_until_still(store: &mut ReadOnlyStore) -> duramen::Result<Verified> {
    let mut attempts = 1;
    loop {
        match Verified::of(store) {
            Err(error) if error.is_stale() && attempts < ATTEMPTS_MAX => store.refresh()?,
            verified => return verified,
        }
        attempts += 1;
    }
}

/// Something that is not as it was written.
#[derive(Debug, Serialize)]
#[serde(tag = "damage", rename_all = "snake_case")]
enum Damage {
    /// The store cannot be opened.
    Store { file: String, offset: u64, batch: Option<u64>, detail: String },
    /// The bytes of batches that follow each other.
    Batches(BatchesValue),
    /// Batches of which nobody knows what they did: every group is in doubt.
    LostBatches { first: u64, next: u64 },
    /// Entries that follow each other, in one file and of one term, and where the first one lies: at 0 where nobody knows.
    Entries { group: u64, first: u64, next: u64, term: u64, file: String, offset: u64, detail: String },
    /// The file of a group's current snapshot.
    Snapshot { group: u64, index: u64, term: u64, file: String, offset: u64, detail: String },
    /// Anything else that a group has lost.
    Loss {
        group: Option<u64>,
        #[serde(flatten)]
        loss: LossValue,
    },
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
struct Verified {
    damage: Vec<Damage>,
    entries: u64,
    snapshots: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    sound: bool,
    entries: u64,
    snapshots: u64,
    bytes: u64,
    damages: usize,
}

impl Verified {
    /// Reads everything.
    fn of(store: &ReadOnlyStore) -> duramen::Result<Verified> {
        let mut verified = Verified::default();
        let progress = progress(store)?;
        let told = &store.recovery_report().damaged;
        let found = store.verify_batches(|bytes| progress.inc(bytes))?;
        verified.damage.extend(told.iter().chain(&found).map(|damaged| Damage::Batches(BatchesValue::of(damaged))));
        verified.add_losses(store)?;
        for group in store.groups()? {
            let log = store.log(group);
            verified.read_entries(&log, &progress)?;
            verified.read_snapshot(&log, &progress)?;
        }
        progress.finish_and_clear();
        Ok(verified)
    }

    /// Adds what is lost and cannot be read at all. Entries that are lost have errors of their own, which tell more.
    fn add_losses(&mut self, store: &ReadOnlyStore) -> duramen::Result<()> {
        for duramen::Damage { group, loss, .. } in store.damage()? {
            self.damage.extend(match (group, loss) {
                (_, Loss::Entries { .. }) => None,
                (None, Loss::Batches { first, last }) => Some(Damage::LostBatches { first, next: last + 1 }),
                (group, loss) => Some(Damage::Loss { group, loss: LossValue::of(loss) }),
            });
        }
        Ok(())
    }

    fn read_entries(&mut self, log: &ReadOnlyLog, progress: &ProgressBar) -> duramen::Result<()> {
        walk(log, 0..u64::MAX, |visited| {
            match visited {
                Visited::Entry(entry) => {
                    let bytes = entry.data.len() as u64 + ENTRY_HEADER_BYTES;
                    self.bytes += bytes;
                    progress.inc(bytes);
                }
                Visited::Damaged { index, term, error } => self.add_entry(log.group(), index, term, error)?,
            }
            self.entries += 1;
            Ok(())
        })
    }

    /// Adds a damaged entry to those before it, if it follows them.
    fn add_entry(&mut self, of: u64, index: u64, of_term: u64, error: Error) -> duramen::Result<()> {
        let Error::EntryLost { file: in_file, offset, detail, .. } = error else { return Err(error) };
        match self.damage.last_mut() {
            Some(Damage::Entries { group, next, term, file, .. })
                if (*group, *next, *term) == (of, index, of_term) && *file == in_file =>
            {
                *next += 1;
            }
            _ => {
                let (group, first, next, term, file) = (of, index, index + 1, of_term, in_file);
                self.damage.push(Damage::Entries { group, first, next, term, file, offset, detail });
            }
        }
        Ok(())
    }

    fn read_snapshot(&mut self, log: &ReadOnlyLog, progress: &ProgressBar) -> duramen::Result<()> {
        let Some(meta) = log.snapshot_meta()? else { return Ok(()) };
        self.snapshots += 1;
        match self.read_data(log, progress) {
            Err(Error::Corrupt { file, offset, detail, .. }) => {
                let (group, index, term) = (log.group(), meta.index, meta.term);
                self.damage.push(Damage::Snapshot { group, index, term, file, offset, detail });
                Ok(())
            }
            // It was told among the losses.
            Err(Error::StateLost { .. }) => Ok(()),
            read => read,
        }
    }

    fn read_data(&mut self, log: &ReadOnlyLog, progress: &ProgressBar) -> duramen::Result<()> {
        let Some(mut snapshot) = log.snapshot()? else { return Ok(()) };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match snapshot.read(&mut piece).map_err(error_in)? {
                0 => return Ok(()),
                count => {
                    self.bytes += count as u64;
                    progress.inc(count as u64);
                }
            }
        }
    }

    fn status(&self) -> Status {
        if self.damage.is_empty() { Status::Sound } else { Status::Damaged }
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let Verified { damage, entries, snapshots, bytes } = self;
        damage.iter().try_for_each(|damage| write_line(out, damage))?;
        let (entries, snapshots, bytes) = (*entries, *snapshots, *bytes);
        write_line(out, &Summary { sound: damage.is_empty(), entries, snapshots, bytes, damages: damage.len() })
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let Verified { damage, entries, snapshots, bytes } = self;
        damage.iter().try_for_each(|damage| damage.write_text(out))?;
        let verdict = if damage.is_empty() { "sound" } else { "DAMAGED" };
        writeln!(out, "{verdict}: all batches, {entries} entries and {snapshots} snapshots of {bytes} bytes")
    }
}

impl Damage {
    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Damage::Store { file, offset, batch, detail } => {
                let batch = batch.map_or(String::new(), |batch| format!(", batch {batch}"));
                writeln!(out, "the store cannot be opened: {file} at offset {offset}{batch}: {detail}")
            }
            Damage::Batches(batches) => writeln!(out, "{batches}"),
            Damage::LostBatches { first, next } => writeln!(
                out,
                "batches {first}..{next} are lost, and nobody knows what they did: every group is in doubt"
            ),
            Damage::Entries { group, first, next, term, file, offset, detail } => {
                let place = if *offset == 0 { String::new() } else { format!(" at offset {offset}") };
                writeln!(out, "group {group}: entries {first}..{next} of term {term}: {file}{place}: {detail}")
            }
            Damage::Snapshot { group, index, term, file, offset, detail } => {
                writeln!(out, "group {group}: snapshot {index}@{term}: {file} at offset {offset}: {detail}")
            }
            Damage::Loss { group: Some(group), loss } => writeln!(out, "group {group}: lost: {loss}"),
            Damage::Loss { group: None, loss } => writeln!(out, "lost: {loss}"),
        }
    }
}

/// A bar over all that will be read, on a terminal; else nothing.
fn progress(store: &ReadOnlyStore) -> duramen::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let layout = store.layout();
    let begun = layout.segments.iter().filter(|segment| segment.is_begun);
    let mut bytes = layout.entry_bytes + begun.filter_map(|segment| segment.bytes).sum::<u64>();
    for group in store.groups()? {
        bytes += store.log(group).snapshot_meta()?.map_or(0, |snapshot| snapshot.data_bytes);
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    Ok(ProgressBar::new(bytes).with_style(style.expect("the template is right")))
}

/// The error that a snapshot's reader wrapped.
fn error_in(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Io { op: "read", file: "the snapshot".into(), source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store_with_damage;

    #[test]
    fn damaged_entries_that_follow_each_other_are_one_damage() {
        let (_folder, _, store) = store_with_damage();
        let verified = Verified::of(&store).expect("damage is no failure");
        assert_eq!((verified.entries, verified.status()), (8, Status::Damaged));
        let ranges: Vec<_> = verified.damage.iter().filter_map(range).collect();
        assert_eq!(ranges, [(1, 3..5, 1), (1, 7..8, 1)]);
        let is_batches = |damage: &Damage| matches!(damage, Damage::Batches(batches) if batches.known);
        assert_eq!(verified.damage.iter().map(is_batches).collect::<Vec<_>>(), [true, true, true, false, false]);
        let mut text = Vec::new();
        verified.write_text(&mut text).expect("memory takes it");
        let text = String::from_utf8(text).expect("it is text");
        assert!(text.contains("\ngroup 1: entries 3..5 of term 1: 0000000000000001.seg at offset "), "{text}");
        assert!(text.ends_with("DAMAGED: all batches, 8 entries and 0 snapshots of 235 bytes\n"), "{text}");
        let mut json = Vec::new();
        verified.write_json(&mut json).expect("memory takes it");
        let json = String::from_utf8(json).expect("it is text");
        assert!(json.starts_with("{\"damage\":\"batches\",\"file\":\"0000000000000001.seg\","), "{json}");
        assert!(json.contains("\n{\"damage\":\"entries\",\"group\":1,\"first\":3,\"next\":5,\"term\":1,"), "{json}");
    }

    fn range(damage: &Damage) -> Option<(u64, std::ops::Range<u64>, u64)> {
        match damage {
            Damage::Entries { group, first, next, term, .. } => Some((*group, *first..*next, *term)),
            _ => None,
        }
    }
}
