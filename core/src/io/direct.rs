//! Reading past the page cache.
//!
//! After a failed flush the page cache may show bytes that the disk does not have, and call them clean; recovery must
//! not believe it. `O_DIRECT` asks the disk. It takes a second descriptor, which is opened through `/proc/self/fd`: that
//! leads to the same file whatever its name is by now, even when it has none. Where there is no `/proc`, or the file
//! system refuses `O_DIRECT`, the page cache is told to forget the file's clean pages, which is a request and no more, and
//! the file is read as usual.
#![forbid(unsafe_code)]

use super::sys;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;

/// What offset, length and memory of a direct read must be multiples of on every disk we know.
const ALIGNMENT: usize = 4096;

/// As much as one call reads; the caller comes again for more.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Reads one file past the page cache, opening what that takes when it is first needed.
#[derive(Debug, Default)]
pub(super) struct DirectReader {
    /// None where the file system, or the sandbox around us, refused.
    direct: OnceLock<Option<fs::File>>,
}

impl DirectReader {
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
        let opened = open_direct(file)?;
        Ok(self.direct.get_or_init(|| opened).as_ref())
    }
}

fn open_direct(file: &fs::File) -> io::Result<Option<fs::File>> {
    const REFUSED: [i32; 5] = [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOENT, libc::EACCES, libc::EPERM];
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path) {
        Err(error) if error.raw_os_error().is_some_and(|code| REFUSED.contains(&code)) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Reads the aligned blocks around the wanted bytes.
fn read_aligned(direct: &fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let before = usize::try_from(offset % ALIGNMENT as u64).expect("it is below the alignment");
    let wanted = buffer.len().min(READ_BYTES_MAX);
    let length = (before + wanted).next_multiple_of(ALIGNMENT);
    let mut memory = vec![0; length + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let aligned = &mut memory[start..start + length];
    let read = direct.read_at(aligned, offset - before as u64)?;
    let count = read.saturating_sub(before).min(wanted);
    buffer[..count].copy_from_slice(&aligned[before..before + count]);
    Ok(count)
}
