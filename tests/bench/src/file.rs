//! Files as the measured logs use them: written past the page cache or through it, prewritten, and forgotten by the cache.

use crate::aligned::{AlignedBuffer, BLOCK_BYTES};
use crate::log::Unsupported;
use anyhow::{Context, Result};
use rustix::fs::{Advice, OFlags, fadvise};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How bytes get to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path2Disk {
    /// `O_DIRECT`.
    Direct,
    /// The page cache.
    Cached,
}

const CHUNK_BYTES: usize = 1 << 20;

/// One file with a descriptor for writing and one for reading through the page cache.
#[derive(Debug)]
pub(crate) struct DataFile {
    writer: File,
    reader: File,
    path2disk: Path2Disk,
}

impl DataFile {
    /// Opens the file, creating it if it is missing.
    pub(crate) fn open(path: &Path, path2disk: Path2Disk) -> Result<DataFile> {
        let reader = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let reader = reader.with_context(|| format!("open {}", path.display()))?;
        let writer = match path2disk {
            Path2Disk::Direct => open_direct(path)?,
            Path2Disk::Cached => reader.try_clone()?,
        };
        Ok(DataFile { writer, reader, path2disk })
    }

    pub(crate) fn len(&self) -> Result<u64> {
        Ok(self.reader.metadata()?.len())
    }

    /// Writes every byte up to `bytes` once, so that overwriting changes no metadata of the file system. Durable.
    pub(crate) fn prewrite(&self, bytes: u64) -> Result<()> {
        let zeros = AlignedBuffer::zeroed(CHUNK_BYTES);
        let mut at = 0;
        while at < bytes {
            let count = CHUNK_BYTES.min(usize::try_from(bytes - at)?);
            self.writer.write_all_at(&zeros.bytes()[..count], at)?;
            at += count as u64;
        }
        self.writer.sync_all()?;
        Ok(())
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        Ok(self.writer.write_all_at(bytes, offset)?)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.writer.sync_data()?)
    }

    /// Reads through the page cache.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        Ok(self.reader.read_exact_at(buffer, offset)?)
    }

    /// Reads as the file is written: past the page cache, or through it. Gives the blocks around the wanted bytes.
    pub(crate) fn read_blocks(&self, offset: u64, bytes: usize) -> Result<AlignedBuffer> {
        let start = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let blocks = usize::try_from(offset - start)? + bytes;
        let mut buffer = AlignedBuffer::zeroed(blocks.next_multiple_of(BLOCK_BYTES));
        match self.path2disk {
            Path2Disk::Direct => self.writer.read_exact_at(buffer.bytes_mut(), start)?,
            Path2Disk::Cached => self.reader.read_exact_at(buffer.bytes_mut(), start)?,
        }
        Ok(buffer)
    }
}

fn open_direct(path: &Path) -> Result<File> {
    let flags = i32::try_from(OFlags::DIRECT.bits())?;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    opened.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
            Unsupported("the file system refuses O_DIRECT").into()
        }
        _ => anyhow::Error::new(error).context(format!("open {} with O_DIRECT", path.display())),
    })
}

/// Asks the page cache to forget the files under a directory; what is dirty is flushed first, for only clean pages go.
pub(crate) fn drop_cached_pages(directory: &Path) -> Result<()> {
    Ok(for_each_file(directory, &mut |path| {
        let file = File::open(path)?;
        file.sync_data()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    })?)
}

/// Reads the files under a directory once, so that the page cache has them.
pub(crate) fn warm_cached_pages(directory: &Path) -> Result<()> {
    Ok(for_each_file(directory, &mut |path| {
        io::copy(&mut File::open(path)?, &mut io::sink())?;
        Ok(())
    })?)
}

/// What the files under a directory take on the disk, in bytes.
pub(crate) fn allocated_bytes(directory: &Path) -> Result<u64> {
    const UNIT_BYTES: u64 = 512;
    let mut bytes = 0;
    for_each_file(directory, &mut |path| {
        bytes += std::fs::metadata(path)?.blocks() * UNIT_BYTES;
        Ok(())
    })?;
    Ok(bytes)
}

/// Acts on all files under a directory. One that goes away meanwhile is left out: logs release files on their own.
fn for_each_file(directory: &Path, act: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let acted = entry.file_type().and_then(|kind| match (kind.is_dir(), kind.is_file()) {
            (true, _) => for_each_file(&entry.path(), act),
            (_, true) => act(&entry.path()),
            _ => Ok(()),
        });
        match acted {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            acted => acted?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_their_blocks_also_in_folders() -> Result<()> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join("store"))?;
        for name in ["a", "store/b"] {
            DataFile::open(&directory.path().join(name), Path2Disk::Cached)?.prewrite(1 << 20)?;
        }
        let sparse = File::create(directory.path().join("sparse"))?;
        sparse.set_len(1 << 30)?;
        let bytes = allocated_bytes(directory.path())?;
        assert!((2 << 20..3 << 20).contains(&bytes), "{bytes} bytes");
        Ok(())
    }

    #[test]
    fn a_file_that_goes_away_meanwhile_is_left_out() -> Result<()> {
        let directory = tempfile::tempdir()?;
        for name in ["a", "b", "c"] {
            std::fs::write(directory.path().join(name), name)?;
        }
        let mut seen = 0;
        for_each_file(directory.path(), &mut |path| {
            seen += 1;
            if seen == 1 {
                std::fs::remove_file(path)?;
            }
            std::fs::metadata(path)?;
            Ok(())
        })?;
        assert_eq!(seen, 3);
        Ok(())
    }
}
