//! Reading and writing past the page cache.
//!
//! After a failed flush the page cache may show bytes that the disk does not have, and call them clean; recovery must
//! not believe it. And a durable write need not be copied into the page cache first. `O_DIRECT` does both. It takes a second
//! descriptor, which is opened through `/proc/self/fd`: that leads to the same file whatever its name is by now, even when
//! it has none. Where there is no `/proc`, or the file system refuses `O_DIRECT`, nothing is written that way; and to read,
//! the page cache is told to forget the file's clean pages, which is a request and no more, and the file is read as usual.
#![forbid(unsafe_code)]

use super::{Access, AlignedBuffer, DIRECT_ALIGN_BYTES, aligned, sys};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;

/// As much as one call reads; the caller comes again for more.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// One file past the page cache. What that takes is opened when it is first needed.
#[derive(Debug)]
pub(super) struct DirectFile {
    access: Access,
    /// None where the file system, or the sandbox around us, refused.
    direct: OnceLock<Option<fs::File>>,
}

impl DirectFile {
    pub(super) fn new(access: Access) -> Self {
        Self { access, direct: OnceLock::new() }
    }

    /// A file whose file system has refused.
    #[cfg(test)]
    pub(super) fn refused() -> Self {
        Self { access: Access::ReadWrite, direct: OnceLock::from(None) }
    }

    /// Whether `file` can be written past the page cache.
    pub(super) fn takes_writes(&self, file: &fs::File) -> io::Result<bool> {
        Ok(self.access == Access::ReadWrite && self.direct(file)?.is_some())
    }

    pub(super) fn write_at(&self, file: &fs::File, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        aligned::check(offset, blocks)?;
        match self.direct(file)? {
            Some(direct) => direct.write_at(blocks, offset),
            None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    pub(super) fn read_at(&self, file: &fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(direct) = self.direct(file)? {
            match read_aligned(direct, offset, buffer) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                read => return read,
            }
        }
        sys::drop_cached_pages(file.as_fd())?;
        file.read_at(buffer, offset)
    }

    fn direct(&self, file: &fs::File) -> io::Result<Option<&fs::File>> {
        if let Some(direct) = self.direct.get() {
            return Ok(direct.as_ref());
        }
        let opened = open_direct(file, self.access)?;
        Ok(self.direct.get_or_init(|| opened).as_ref())
    }
}

fn open_direct(file: &fs::File, access: Access) -> io::Result<Option<fs::File>> {
    use libc::{EACCES, EINVAL, ENOENT, EOPNOTSUPP, EPERM, EROFS};
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let writes = access == Access::ReadWrite;
    match fs::OpenOptions::new().read(true).write(writes).custom_flags(libc::O_DIRECT).open(path) {
        Err(error) => match error.raw_os_error() {
            Some(EINVAL | EOPNOTSUPP | ENOENT | EACCES | EPERM | EROFS) => Ok(None),
            _ => Err(error),
        },
        Ok(direct) => Ok(takes_blocks(sys::direct_alignments(direct.as_fd())).then_some(direct)),
    }
}

/// Whether whole blocks of ours are whole blocks of the disk. A file system may open a file and refuse every call, or write
/// through the page cache after all; one that does not tell is believed.
fn takes_blocks(alignments: Option<[u32; 2]>) -> bool {
    // Nothing but zero is a multiple of zero.
    let fits = |alignment: u32| (DIRECT_ALIGN_BYTES as u64).is_multiple_of(alignment.into());
    alignments.is_none_or(|alignments| alignments.into_iter().all(fits))
}

/// Reads the aligned blocks around the wanted bytes.
fn read_aligned(direct: &fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let before = usize::try_from(offset % DIRECT_ALIGN_BYTES as u64).expect("it is below a block");
    let wanted = buffer.len().min(READ_BYTES_MAX);
    let mut blocks = AlignedBuffer::new();
    blocks.resize((before + wanted).next_multiple_of(DIRECT_ALIGN_BYTES), 0);
    let read = direct.read_at(&mut blocks, offset - before as u64)?;
    let count = read.saturating_sub(before).min(wanted);
    buffer[..count].copy_from_slice(&blocks[before..before + count]);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_larger_blocks_or_of_none_takes_no_direct_calls() {
        for alignments in [None, Some([4, 512]), Some([512, 4096]), Some([4096, 4096])] {
            assert!(takes_blocks(alignments), "{alignments:?}");
        }
        for alignments in [[0, 0], [4, 8192], [8192, 512], [4, 65_536], [512, 0]] {
            assert!(!takes_blocks(Some(alignments)), "{alignments:?}");
        }
    }

    #[test]
    fn a_file_system_tells_what_it_takes_or_nothing() {
        let file = tempfile::tempfile().unwrap();
        if let Some(alignments) = sys::direct_alignments(file.as_fd()) {
            assert!(
                alignments.iter().all(|alignment| *alignment == 0 || alignment.is_power_of_two()),
                "{alignments:?}"
            );
            println!("{alignments:?}");
        }
    }
}
