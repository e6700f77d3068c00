//! Rot: what happens to a disk while nobody writes, and what a test does to it by hand.
//!
//! All of it takes effect on the disk and in the page cache at once, with nothing pending.
#![forbid(unsafe_code)]

use super::SimulatedDisk;
use super::injections::Injection;
use std::io;
use std::path::Path;

impl SimulatedDisk {
    /// Flips one bit (0 is the lowest) of a file. A file that is missing or shorter is an error.
    pub fn flip_bit(&self, directory: impl AsRef<Path>, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state();
        let id = state.file_at(directory.as_ref(), name)?;
        let mut byte = [0];
        if state.inode(id).cache.read(offset, &mut byte) == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        byte[0] ^= 1_u8.checked_shl(bit.into()).ok_or(io::ErrorKind::InvalidInput)?;
        state.inode_mut(id).damage(offset, &byte);
        state.counters.count(Injection::BitFlip);
        Ok(())
    }

    /// Replaces bytes of a file, which keeps its size. A file that is missing or shorter is an error.
    pub fn overwrite_durable(
        &self,
        directory: impl AsRef<Path>,
        name: &str,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut state = self.state();
        let id = state.file_at(directory.as_ref(), name)?;
        let room = state.inode(id).cache.size().saturating_sub(offset);
        if room < bytes.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.inode_mut(id).damage(offset, bytes);
        state.counters.count(Injection::Overwrite);
        Ok(())
    }

    /// Cuts a file short. A file that is missing or shorter is an error.
    pub fn cut_file(&self, directory: impl AsRef<Path>, name: &str, size: u64) -> io::Result<()> {
        let mut state = self.state();
        let id = state.file_at(directory.as_ref(), name)?;
        if size > state.inode(id).cache.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.inode_mut(id).cut(size);
        state.counters.count(Injection::FileCut);
        Ok(())
    }

    /// Makes a name vanish, and the file where it had no other name.
    pub fn lose_file(&self, directory: impl AsRef<Path>, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.lose(directory.as_ref(), name)?;
        state.counters.count(Injection::FileLost);
        Ok(())
    }

    /// All bytes of a file, as reads see them.
    pub fn contents(&self, directory: impl AsRef<Path>, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let id = state.file_at(directory.as_ref(), name)?;
        Ok(state.inode(id).cache.bytes())
    }

    /// All bytes of a file, as a power cut leaves them when it loses all that is pending.
    pub fn durable_contents(&self, directory: impl AsRef<Path>, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let id = state.file_at(directory.as_ref(), name)?;
        Ok(state.inode(id).durable.bytes())
    }
}
