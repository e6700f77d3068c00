//! Writing a snapshot's file, and removing it again unless a batch comes to name it.
#![forbid(unsafe_code)]

use super::PIECE_BYTES;
use crate::error::{Error, Result};
use crate::format::BLOCK_BYTES;
use crate::format::snapshot::{CONFIG_BYTES_MAX, DATA_AT, SnapshotHeader, SnapshotMeta, SnapshotPoint, snapshot_name};
use crate::io::{Directory, File, generation};
use std::fmt;
use std::sync::Arc;

/// A snapshot whose data is streamed. Its file is removed when a call fails, and when this is dropped.
pub(crate) struct SnapshotWriter {
    /// The file, or why there is none any more.
    state: Result<Streaming>,
}

/// A file that is being written. Dropping it removes the file.
struct Streaming {
    // Closed before it is removed, so that its space is free at once.
    file: Arc<dyn File>,
    name: UnnamedFile,
    store: [u8; 16],
    number: u64,
    /// What was taken and not yet written,
    piece: Vec<u8>,
    /// and where it goes.
    piece_at: u64,
    /// How much data was taken,
    bytes: u64,
    /// and its crc.
    crc: crc32fast::Hasher,
}

/// A snapshot that is whole and durable, and that no batch names yet. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct UnnamedSnapshot {
    pub(crate) point: SnapshotPoint,
    pub(crate) meta: SnapshotMeta,
    name: UnnamedFile,
}

impl UnnamedSnapshot {
    /// From here on the log answers for the file. To be called before the batch that names it can reach the disk.
    pub(crate) fn named(&mut self) -> &SnapshotMeta {
        self.name.is_named = true;
        &self.meta
    }
}

impl SnapshotWriter {
    /// Creates the file. Its number must be one that no file of the directory has.
    pub(crate) fn create(directory: &Arc<dyn Directory>, number: u64, store: [u8; 16]) -> Result<SnapshotWriter> {
        let name = snapshot_name(number);
        let mut piece = Vec::new();
        piece.try_reserve_exact(PIECE_BYTES).map_err(|_| Error::NoMemory { bytes: PIECE_BYTES as u64 })?;
        let file = directory.create(&name).map_err(|error| Error::io("create", &name, error))?;
        let name = UnnamedFile { directory: Arc::clone(directory), name, is_named: false, generation: generation() };
        let crc = crc32fast::Hasher::new();
        let streaming = Streaming { file, name, store, number, piece, piece_at: DATA_AT, bytes: 0, crc };
        Ok(SnapshotWriter { state: Ok(streaming) })
    }

    /// Takes the next bytes of the data; they reach the disk in large pieces. After an error every further call gives
    /// the same error.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<()> {
        let streaming = self.state.as_mut().map_err(|failure| failure.clone())?;
        streaming.take_data(data).inspect_err(|failure| self.state = Err(failure.clone()))
    }

    /// How much data was taken so far.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.state.as_ref().map_or(0, |streaming| streaming.bytes)
    }

    /// Makes the file whole and durable: what was streamed is the state at `point`, with this configuration.
    pub(crate) fn finish(self, point: SnapshotPoint, config: &[u8]) -> Result<UnnamedSnapshot> {
        self.state?.finish(point, config)
    }
}

impl Streaming {
    fn take_data(&mut self, data: &[u8]) -> Result<()> {
        self.take(data)?;
        self.crc.update(data);
        self.bytes += data.len() as u64;
        Ok(())
    }

    fn finish(mut self, point: SnapshotPoint, config: &[u8]) -> Result<UnnamedSnapshot> {
        check(point, config)?;
        let (bytes, crc) = (self.bytes, self.crc.clone().finalize());
        let meta = SnapshotMeta { file: self.number, bytes, crc, config: config.to_vec() };
        self.take(config)?;
        self.write_piece()?;
        self.write_header(&SnapshotHeader::new(self.store, point, &meta))?;
        self.file.sync_data().map_err(|error| self.failed("flush", error))?;
        let flushed = self.name.directory.sync();
        flushed.map_err(|error| self.failed("flush the directory for", error))?;
        Ok(UnnamedSnapshot { point, meta, name: self.name })
    }

    /// Takes bytes into the piece, and writes it whenever it is full.
    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.piece.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(now);
            if self.piece.len() == PIECE_BYTES {
                self.write_piece()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn write_piece(&mut self) -> Result<()> {
        let written = self.file.write_all_at(self.piece_at, &self.piece);
        written.map_err(|error| self.failed("write", error))?;
        self.piece_at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn write_header(&self, header: &SnapshotHeader) -> Result<()> {
        const { assert!(DATA_AT == BLOCK_BYTES, "the header's block ends where the data begins") };
        let written = self.file.write_all_at(0, &header.encode());
        written.map_err(|error| self.failed("write the header of", error))
    }

    fn failed(&self, op: &'static str, error: std::io::Error) -> Error {
        Error::io(op, &self.name.name, error)
    }
}

fn check(point: SnapshotPoint, config: &[u8]) -> Result<()> {
    if point.index == u64::MAX {
        return Err(Error::invalid(format!("index {} is never used", point.index)));
    }
    if config.len() > CONFIG_BYTES_MAX {
        let (size, limit) = (config.len() as u64, CONFIG_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "the configuration of a snapshot in bytes", size, limit });
    }
    Ok(())
}

/// The name of a file that no batch names: dropping this removes it, as far as the disk lets it. What stays behind is
/// the same as after a crash.
struct UnnamedFile {
    directory: Arc<dyn Directory>,
    name: String,
    is_named: bool,
    /// Of processes: a forked child leaves its parent's file alone.
    generation: u64,
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        if !self.is_named && self.generation == generation() {
            let _ = self.directory.remove(&self.name);
        }
    }
}

/// Without the data: what is printed ends in logs.
impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Ok(streaming) => write!(f, "{:?} with {} bytes so far", streaming.name, streaming.bytes),
            Err(failure) => write!(f, "no snapshot: {failure}"),
        }
    }
}

impl fmt::Debug for UnnamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
