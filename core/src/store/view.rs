//! A view: one state of a store, as it was found beside whoever writes it. It takes no lock and changes nothing.
//!
//! The writer does not know of it, so while the store is read segments may be given back and their files used again. Two
//! things keep that from being taken for the store:
//!
//! - **What was found is believed only if every segment with batches is still itself afterwards.** A file that is used
//!   again gets a new header first, and batches behind that. So whatever was read before its header was seen unchanged
//!   was the old segment's.
//! - **An error, or damage, is believed only if the store stood still.** Manifest, headers and the names of snapshots are
//!   compared before and after the attempt that met it; where anything differs, the store is looked at again.
//!
//! Everything that was durable when the first call to the disk was made lies in segments that the manifest counted then,
//! and is found in them or missed as damage; so a view shows the first k batches, with everything among them that was
//! durable when it was opened.
#![forbid(unsafe_code)]

use super::open::{find_manifest, list, open_directory};
use super::read::Holes;
use super::recent::Recent;
use super::shared::Readable;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::manifest::Slot;
use crate::format::segment::{SEGMENT_START, SegmentHeader, segment_number};
use crate::format::snapshot::snapshot_number;
use crate::format::supplement::Link;
use crate::io::{Directory, ReadOnlyDirectory};
use crate::options::Options;
use crate::page::{Limit, Page};
use crate::recovery::{Recovered, RecoveryReport, recover};
use crate::segment::manifest::{Found, Manifest};
use crate::segment::{Opened, Segment};
use crate::state::Mark;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How often a store is looked at until it holds still. A writer that gives segments back all the time has a small store,
/// which takes little time to read.
const ATTEMPTS_MAX: u32 = 100;

/// One state of a store.
pub(super) struct View {
    options: Options,
    path: PathBuf,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) slot: Slot,
    pub(super) readable: Readable,
    /// Where the log ends.
    pub(super) end: Link,
    /// The segments behind those with batches: their sizes in bytes, where the header says one.
    pub(super) prepared: Vec<(u64, Option<u64>)>,
    pub(super) report: RecoveryReport,
    /// The segments whose headers were lost when the store stood still.
    headless: BTreeSet<u64>,
    /// How often the store was looked at.
    pub(super) attempts: u32,
}

/// Neither payloads nor salts: what is printed ends in logs.
impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl View {
    /// Looks at the store at `path` until it holds still. Blocks on the disk: every batch is read.
    pub(super) fn open(options: &Options, path: &Path) -> Result<View> {
        options.check()?;
        let options = options.clone().create(false);
        let begun = Instant::now();
        let mut before = None;
        for attempts in 1..=ATTEMPTS_MAX {
            match View::look(&options, path) {
                Ok(view) if view.is_sound() && view.changed()?.is_empty() => return Ok(View { attempts, ..view }),
                found => {
                    let after = Some(Survey::take(&options, path));
                    if before == after {
                        let view = found?;
                        return Ok(View { attempts, headless: view.changed()?, ..view });
                    }
                    before = after;
                }
            }
        }
        Err(Error::Timeout { waited: begun.elapsed() })
    }

    /// The same store as it is now.
    pub(super) fn again(&self) -> Result<View> {
        View::open(&self.options, &self.path)
    }

    fn look(options: &Options, path: &Path) -> Result<View> {
        let directory = look_into(options, path)?;
        let found = find_manifest(options, path, &*directory, &list(path, &*directory)?)?;
        let missing = || Error::NotAStore { path: path.into(), detail: "it is empty".into() };
        let manifest = found.ok_or_else(missing)?;
        let Recovered { state, chain, prepared, report, end, .. } = recover(&*directory, &manifest, options.bugs)?;
        let segments = chain.into_iter().map(|segment| (segment.header.number, segment)).collect();
        let capacity = |segment: Option<Segment>| segment.map(|segment| segment.header.capacity);
        Ok(View {
            options: options.clone(),
            path: path.into(),
            directory,
            slot: manifest.slot,
            readable: Readable {
                state,
                segments,
                written: end.sequence,
                recent: Recent::new(0),
                unsealed: BTreeMap::new(),
                suspects: BTreeMap::new(),
            },
            end,
            prepared: prepared.into_iter().map(|(number, segment)| (number, capacity(segment))).collect(),
            report,
            headless: BTreeSet::new(),
            attempts: 0,
        })
    }

    /// Is nothing damaged, or lost?
    fn is_sound(&self) -> bool {
        self.report.damaged.is_empty() && self.readable.damage().is_empty()
    }

    /// The segments with batches whose files are not theirs any more, or do not say so.
    fn changed(&self) -> Result<BTreeSet<u64>> {
        let mut changed = BTreeSet::new();
        for (number, segment) in &self.readable.segments {
            if !is_still(segment)? {
                changed.insert(*number);
            }
        }
        Ok(changed)
    }

    /// Is the file still that of this segment, as far as it ever said so?
    pub(super) fn is_still(&self, segment: &Segment) -> Result<bool> {
        Ok(self.headless.contains(&segment.header.number) || is_still(segment)?)
    }

    // -- reading

    pub(super) fn get(&self, group: u64, index: u64) -> Result<Entry> {
        let read = self.readable.find(group, index).and_then(|found| found.read());
        read.map_err(|error| self.or_stale(error))
    }

    pub(super) fn read_page(&self, group: u64, range: Range<u64>, limit: Limit, holes: Holes) -> Result<Page> {
        let start = range.start;
        let read = self.readable.plan(group, range, limit, holes).and_then(|plan| plan.read(start, limit));
        read.map_err(|error| self.or_stale(error))
    }

    /// What a failed read means: nothing about the store, where the file that it names is used for something else by now.
    pub(super) fn or_stale(&self, error: Error) -> Error {
        let (Error::Corrupt { file, .. } | Error::EntryLost { file, .. } | Error::Io { file, .. }) = &error else {
            return error;
        };
        let segment = segment_number(file).and_then(|number| self.readable.segments.get(&number));
        match segment.map(|segment| self.is_still(segment)) {
            Some(Ok(false)) => Error::stale(file),
            _ => error,
        }
    }

    /// What it means that the file of a snapshot could not be opened: nothing about the store, where another snapshot has
    /// taken its place.
    pub(super) fn or_replaced(&self, error: Error, group: u64, mark: &Mark) -> Error {
        let (Error::Corrupt { file, .. } | Error::Io { file, .. }) = &error else { return error };
        let is_current =
            |now: View| now.readable.with_group(group, |log| log.snapshot().is_some_and(|now| **now == *mark));
        match self.again().map(is_current) {
            Ok(false) => Error::stale(file),
            _ => error,
        }
    }
}

fn look_into(options: &Options, path: &Path) -> Result<Arc<dyn Directory>> {
    Ok(Arc::new(ReadOnlyDirectory::new(open_directory(options, path)?)))
}

/// Is the file still that of this segment? One whose two headers differ is being given another one, and holds nothing of
/// another segment yet.
fn is_still(segment: &Segment) -> Result<bool> {
    let mut block = vec![0; BLOCK_SIZE];
    for offset in (0..SEGMENT_START).step_by(BLOCK_SIZE) {
        match segment.file.read_exact_at(offset, &mut block) {
            Ok(()) if SegmentHeader::decode(&block).is_ok_and(|header| header == segment.header) => return Ok(true),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(Error::io("read", segment.name(), error));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// What tells whether a store stood still: its manifest, the header of every segment that it counts, and which snapshots
/// there are. What cannot be read stands there as nothing, so damage stands still, too.
#[derive(PartialEq)]
struct Survey {
    slot: Option<Slot>,
    headers: Vec<(u64, Option<SegmentHeader>)>,
    /// Their numbers. One that is named behind the look at the directory would seem to be missing.
    snapshots: Vec<u64>,
}

impl Survey {
    fn take(options: &Options, path: &Path) -> Survey {
        let mut survey = Survey { slot: None, headers: Vec::new(), snapshots: Vec::new() };
        let Ok(directory) = look_into(options, path) else { return survey };
        let Ok(Found::Valid(manifest)) = Manifest::open(&*directory) else { return survey };
        let names = directory.list().unwrap_or_default();
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        let header = |number| match Segment::open(&*directory, number, &manifest.slot.store) {
            Ok(Opened::Whole { segment, .. }) => Some(segment.header),
            _ => None,
        };
        survey.headers = numbers.into_iter().map(|number| (number, header(number))).collect();
        survey.slot = Some(manifest.slot);
        survey.snapshots = names.iter().filter_map(|name| snapshot_number(name)).collect();
        survey.snapshots.sort_unstable();
        survey
    }
}
