//! A segment: one preallocated file of batches, with a header of its own.
//!
//! Preparing a segment, in order: (1) a file is created under a name of its own, (2) it gets its room, (3) both header
//! copies are written with a fresh salt, (4) the file is flushed, (5) it gets its name, (6) the directory is flushed. Only
//! then may the manifest count it, and only then may a batch be written to it.
#![forbid(unsafe_code)]

pub(crate) mod footer;
pub(crate) mod manifest;
pub(crate) mod read;
pub(crate) mod scan;

use crate::error::{Error, Result};
use crate::format::segment::{SEGMENT_START, SegmentHeader, segment_name};
use crate::format::{BLOCK_BYTES, BLOCK_SIZE, Bad, Salt};
use crate::io::{Access, Directory, File};
use crate::planted::{Bug, Bugs};
use scan::Scanner;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The name of a segment that is being made.
pub(crate) const NEW_SEGMENT_NAME: &str = "segment.new";

/// Of its header.
const COPIES: u64 = SEGMENT_START / BLOCK_BYTES;

/// How a file gets its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// It is taken, which is quick. A durable write there costs a change of the file system's metadata.
    Allocated,
    /// Every byte is written, once and ahead of time.
    Prewritten,
}

impl Growth {
    /// Makes a file at least so many bytes long. One that failed is as long as it was.
    pub(crate) fn grow(self, file: &dyn File, size: u64) -> io::Result<()> {
        match self {
            Growth::Allocated => file.allocate(size),
            Growth::Prewritten => file.prewrite(size),
        }
    }
}

/// One open segment file whose header was valid.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn File>,
    /// The copy of the header that is written first when it changes: one that is bad, so that the other one stays.
    first_copy: u64,
}

impl Segment {
    /// Makes the file of a segment, in the steps above, from a released one of the same size if there is one. It replaces a
    /// file of the same name, which is in doubt or was never finished; its name therefore always leads to one of the two.
    pub(crate) fn create(
        directory: &dyn Directory,
        header: SegmentHeader,
        recycled: Option<(String, Arc<dyn File>)>,
        growth: Growth,
        sync_directory: bool,
    ) -> Result<Segment> {
        let name = segment_name(header.number);
        let removed = directory.remove_if_there(NEW_SEGMENT_NAME);
        removed.map_err(|error| Error::io("remove", NEW_SEGMENT_NAME, error))?;
        let file = match recycled {
            Some((old_name, file)) => directory.rename(&old_name, NEW_SEGMENT_NAME).map(|()| file),
            None => directory.create(NEW_SEGMENT_NAME),
        };
        let file = file.map_err(|error| Error::io("create", &name, error))?;
        let segment = Segment { header, file, first_copy: 0 };
        growth.grow(&*segment.file, header.capacity).map_err(|error| Error::io("allocate", &name, error))?;
        segment.write_header()?;
        directory.rename(NEW_SEGMENT_NAME, &name).map_err(|error| Error::io("name", &name, error))?;
        if sync_directory {
            directory.sync().map_err(|error| Error::io("flush the directory for", &name, error))?;
        }
        Ok(segment)
    }

    /// Opens a segment by its number.
    pub(crate) fn open(directory: &dyn Directory, number: u64, store: &[u8; 16]) -> Result<Opened> {
        let name = segment_name(number);
        let file = directory.open(&name, Access::ReadWrite).map_err(|error| Error::io("open", &name, error))?;
        let bytes = file.len().map_err(|error| Error::io("read the size of", &name, error))?;
        let (mut headers, mut first_copy, mut why) = (Vec::new(), 0, String::new());
        for copy in 0..COPIES {
            match read_header(&*file, &name, copy * BLOCK_BYTES)? {
                Ok(header) if header.number == number && header.store == *store => headers.push(header),
                Ok(header) => {
                    (first_copy, why) =
                        (copy, format!("it is that of segment {} of this or another store", header.number));
                }
                Err(Bad::Damaged(detail)) => (first_copy, why) = (copy, detail),
                Err(Bad::Newer(found)) => {
                    return Err(Error::UnsupportedFormat { file: name, found, supported: "1".into() });
                }
            }
        }
        let Some(first) = headers.first().copied() else {
            let header = SegmentHeader { store: *store, number, salt: Salt::default(), capacity: bytes };
            return Ok(Opened::Headless(Segment { header, file, first_copy }, why));
        };
        // A crash leaves two that differ only where no batch counts. So where one of them has batches the other is stale.
        let segments = headers.iter().map(|header| Segment { header: *header, file: Arc::clone(&file), first_copy });
        let mut chosen = Segment { header: first, file: Arc::clone(&file), first_copy };
        if headers.iter().any(|header| *header != first) {
            for segment in segments {
                if Scanner::new(&segment, true)?.sighting(SEGMENT_START)?.is_some() {
                    chosen = segment;
                    break;
                }
            }
        }
        let is_cut = bytes < SEGMENT_START
            || (headers.len() as u64 == COPIES && headers.iter().all(|header| bytes < header.capacity));
        Ok(Opened::Whole { segment: chosen, is_cut })
    }

    /// The stores that the copies of a segment's header name, whichever they are.
    pub(crate) fn stores_named(directory: &dyn Directory, number: u64) -> Result<Vec<[u8; 16]>> {
        let name = segment_name(number);
        let file = directory.open(&name, Access::Read).map_err(|error| Error::io("open", &name, error))?;
        let mut stores = Vec::new();
        for copy in 0..COPIES {
            let header = read_header(&*file, &name, copy * BLOCK_BYTES)?.ok();
            stores.extend(header.filter(|header| header.number == number).map(|header| header.store));
        }
        Ok(stores)
    }

    /// The same segment, for a file whose header is lost.
    pub(crate) fn with_salt(self, salt: Salt) -> Segment {
        Segment { header: SegmentHeader { salt, ..self.header }, ..self }
    }

    /// The segment's file name.
    pub(crate) fn name(&self) -> String {
        segment_name(self.header.number)
    }

    /// Gives an unused segment a fresh salt and, if it is too small, a larger file; flushed when this returns. After an
    /// error the file's header is in doubt and the file is to be thrown away, unless it could not grow, which leaves it as
    /// it was.
    pub(crate) fn renew(&mut self, salt: Salt, capacity: u64, growth: Growth, bugs: Bugs) -> Result<(), Renewal> {
        let header = SegmentHeader { salt, capacity: capacity.max(self.header.capacity), ..self.header };
        // A crash while the file grew may have left the larger header and not the larger size.
        let not_grown = |op, error| Renewal::NotGrown(Error::io(op, self.name(), error));
        if self.file.len().map_err(|error| not_grown("measure", error))? < header.capacity {
            growth.grow(&*self.file, header.capacity).map_err(|error| not_grown("allocate", error))?;
        }
        let renewed = Segment { header, file: Arc::clone(&self.file), first_copy: self.first_copy };
        // One copy after the other, so that no crash spoils both: where both are bad it is damage.
        let first_copy = if bugs.has(Bug::HeaderCopiesInOrder) { 0 } else { self.first_copy };
        for copy in (0..COPIES).map(|step| (first_copy + step) % COPIES) {
            renewed.write_copy(copy).and_then(|()| renewed.flush()).map_err(Renewal::InDoubt)?;
        }
        *self = Segment { first_copy: 0, ..renewed };
        Ok(())
    }

    /// Writes both copies of the header and flushes the file.
    fn write_header(&self) -> Result<()> {
        (0..COPIES).try_for_each(|copy| self.write_copy(copy))?;
        self.flush()
    }

    fn write_copy(&self, copy: u64) -> Result<()> {
        let written = self.file.write_all_at(copy * BLOCK_BYTES, &self.header.encode());
        written.map_err(|error| Error::io("write the header of", self.name(), error))
    }

    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("flush", self.name(), error))
    }
}

/// What stands under the name of a segment.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Is the file shorter than both copies of its header say? No crash does that.
    Whole { segment: Segment, is_cut: bool },
    /// Both copies of the header are bad, for this reason. The salt is not known.
    Headless(Segment, String),
}

/// Why a segment could not be renewed.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// The file could not grow; its header is as it was.
    NotGrown(Error),
    /// The header was being rewritten.
    InDoubt(Error),
}

impl Renewal {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Renewal::NotGrown(error) | Renewal::InDoubt(error) => error,
        }
    }
}

/// One header copy, past the page cache. A file too short to have one is damaged, not an error.
fn read_header(file: &dyn File, name: &str, offset: u64) -> Result<Result<SegmentHeader, Bad>> {
    let mut block = vec![0; BLOCK_SIZE];
    match file.read_durable_exact_at(offset, &mut block) {
        Ok(()) => Ok(SegmentHeader::decode(&block)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Ok(Err(Bad::Damaged("the file is too short for a segment header".into())))
        }
        Err(error) => Err(Error::io("read", name, error)),
    }
}
