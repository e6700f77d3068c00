//! Reading a snapshot's file: what it says of itself is compared with what the log says of it, then the data is
//! streamed, its crc taken on the way.
#![forbid(unsafe_code)]

use super::PIECE_BYTES;
use crate::error::{Error, Result};
use crate::format::snapshot::{DATA_AT, SnapshotHeader, SnapshotMeta, SnapshotPoint, snapshot_name};
use crate::format::{BLOCK_SIZE, Bad};
use crate::io::{Access, Directory, File};
use crate::number::size;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The data of a snapshot, from its first byte to its last. The last bytes are handed out only when the crc over all of
/// the data is right, so whoever has read to the end has read what was written.
///
/// It reads as much as it is asked for, and holds nothing: whoever takes small bites wraps it in a `BufReader`. An
/// [`io::Error`] of it carries an [`Error`], damage has the kind [`ErrorKind::InvalidData`].
pub(crate) struct SnapshotReader {
    file: Arc<dyn File>,
    header: SnapshotHeader,
    /// How much of the data was read,
    position: u64,
    /// and its crc.
    crc: crc32fast::Hasher,
}

impl SnapshotReader {
    /// Opens the file that a batch names by `meta`, and checks that it is the one: header, size and configuration. A
    /// file that is missing is damage, too.
    pub(crate) fn open(
        directory: &dyn Directory,
        store: [u8; 16],
        point: SnapshotPoint,
        meta: &SnapshotMeta,
    ) -> Result<SnapshotReader> {
        let expected = SnapshotHeader::new(store, point, meta);
        let name = snapshot_name(meta.file);
        let file = match directory.open(&name, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let SnapshotPoint { group, index, term } = point;
                let what = format!("group {group} at index {index} in term {term}");
                return Err(corrupt(&name, 0, format!("the file is missing, it is the snapshot of {what}")));
            }
            opened => opened.map_err(|error| Error::io("open", &name, error))?,
        };
        check_header(&expected, &read_header(&*file, &name)?).map_err(|detail| corrupt(&name, 0, detail))?;
        check_size(&*file, &name, &expected)?;
        check_config(&*file, &name, &expected)?;
        Ok(SnapshotReader { file, header: expected, position: 0, crc: crc32fast::Hasher::new() })
    }

    /// The size of the data in bytes.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.header.bytes
    }

    /// The rest of the data in memory, which grows with what is read.
    pub(crate) fn read_all(mut self) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let (start, more) = (data.len(), size(self.remaining()).min(PIECE_BYTES));
            data.try_reserve(more).map_err(|_| Error::NoMemory { bytes: (start + more) as u64 })?;
            data.resize(start + more, 0);
            let count = self.read_piece(&mut data[start..])?;
            data.truncate(start + count);
            if more == 0 {
                return Ok(data);
            }
        }
    }

    fn remaining(&self) -> u64 {
        self.header.bytes - self.position
    }

    /// Reads at most `buffer.len()` bytes; 0 for a buffer that is not empty means the end. A read that failed changes
    /// nothing and may be made again.
    fn read_piece(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(size(self.remaining()));
        let count = self.read_at_position(&mut buffer[..wanted])?;
        let mut crc = self.crc.clone();
        crc.update(&buffer[..count]);
        let position = self.position + count as u64;
        if position == self.header.bytes {
            self.check_crc(crc.clone().finalize())?;
        }
        (self.crc, self.position) = (crc, position);
        Ok(count)
    }

    fn read_at_position(&self, buffer: &mut [u8]) -> Result<usize> {
        let offset = DATA_AT + self.position;
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.file.read_at(offset, buffer) {
                Ok(0) => {
                    let end = self.header.file_bytes();
                    return Err(corrupt(
                        &self.name(),
                        offset,
                        format!("the file ends here, expected it to end at {end}"),
                    ));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|error| Error::io("read", self.name(), error)),
            }
        }
    }

    fn check_crc(&self, found: u32) -> Result<()> {
        let checked = check("crc", Crc(self.header.crc), Crc(found));
        checked.map_err(|detail| corrupt(&self.name(), DATA_AT, detail))
    }

    fn name(&self) -> String {
        snapshot_name(self.header.file)
    }
}

impl io::Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_piece(buffer).map_err(|error| error.into_io(ErrorKind::InvalidData))
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of {} bytes read", self.name(), self.position, self.header.bytes)
    }
}

fn read_header(file: &dyn File, name: &str) -> Result<SnapshotHeader> {
    let mut block = vec![0; BLOCK_SIZE];
    fill(file, name, 0, &mut block)?;
    SnapshotHeader::decode(&block).map_err(|bad| match bad {
        Bad::Damaged(detail) => corrupt(name, 0, detail),
        Bad::Newer(found) => Error::UnsupportedFormat { file: name.into(), found, supported: "1".into() },
    })
}

/// Says in which field the header differs from what the log says.
fn check_header(expected: &SnapshotHeader, found: &SnapshotHeader) -> Result<(), String> {
    if found.store != expected.store {
        return Err(format!("the snapshot's store is {:02x?}, expected {:02x?}", found.store, expected.store));
    }
    let (log, file) = (expected.point, found.point);
    let numbers = [
        ("number", expected.file, found.file),
        ("group", log.group, file.group),
        ("index", log.index, file.index),
        ("term", log.term, file.term),
        ("size", expected.bytes, found.bytes),
        ("configuration's size", expected.config_bytes.into(), found.config_bytes.into()),
    ];
    for (what, expected, found) in numbers {
        check(what, expected, found)?;
    }
    check("crc", Crc(expected.crc), Crc(found.crc))?;
    check("configuration's crc", Crc(expected.config_crc), Crc(found.config_crc))
}

fn check_size(file: &dyn File, name: &str, header: &SnapshotHeader) -> Result<()> {
    let found = file.len().map_err(|error| Error::io("read the size of", name, error))?;
    check("file's size", header.file_bytes(), found).map_err(|detail| corrupt(name, found, detail))
}

/// The log has the configuration, too; the one in the file is compared with it, so that damage is told while the other
/// is there.
fn check_config(file: &dyn File, name: &str, header: &SnapshotHeader) -> Result<()> {
    let mut config = Vec::new();
    let bytes = u64::from(header.config_bytes);
    config.try_reserve_exact(header.config_size()).map_err(|_| Error::NoMemory { bytes })?;
    config.resize(header.config_size(), 0);
    fill(file, name, header.config_at(), &mut config)?;
    let checked = check("configuration's crc", Crc(header.config_crc), Crc(crc32fast::hash(&config)));
    checked.map_err(|detail| corrupt(name, header.config_at(), detail))
}

/// Fills the buffer from the file. A file that ends before is damage.
fn fill(file: &dyn File, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
    file.read_exact_at(offset, buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            corrupt(name, offset, format!("the file ends before the {} bytes that are needed here", buffer.len()))
        }
        _ => Error::io("read", name, error),
    })
}

/// Printed in hexadecimal.
#[derive(PartialEq)]
struct Crc(u32);

impl fmt::Display for Crc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

fn check<T: PartialEq + fmt::Display>(what: &str, expected: T, found: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("the snapshot's {what} is {found}, expected {expected}")),
    }
}

fn corrupt(name: &str, offset: u64, detail: String) -> Error {
    Error::Corrupt { file: name.into(), offset, batch: None, detail }
}
