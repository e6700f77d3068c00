//! A directory that is only looked at, beside whoever writes it. Nothing done through it changes anything: files are
//! opened for reading, a flush has nothing to flush, and every other change is refused.
//!
//! What another process has written and not flushed yet is in the page cache, so that is where it reads, also where a
//! caller asks for what is on the disk. After a failed flush of the writer the page cache may show bytes that the disk does
//! not have.
#![forbid(unsafe_code)]

use super::{Access, Directory, File, Lock};
use std::io;
use std::sync::Arc;

/// An open directory in which nothing can be changed.
#[derive(Debug)]
pub(crate) struct ReadOnlyDirectory(Arc<dyn Directory>);

impl ReadOnlyDirectory {
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Self {
        Self(directory)
    }
}

impl Directory for ReadOnlyDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        self.0.identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ReadOnlyFile(self.0.open(name, Access::Read)?)))
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Lock> {
        refused()
    }
}

/// An open file in which nothing can be changed.
#[derive(Debug)]
struct ReadOnlyFile(Arc<dyn File>);

impl File for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        refused()
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn write_direct_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        refused()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn prewrite(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the store is open for reading only"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Disk, RealDisk};
    use std::fs;

    #[test]
    fn nothing_can_be_changed_and_everything_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"as it was").unwrap();
        let directory = ReadOnlyDirectory::new(RealDisk.open_directory(folder.path(), false).unwrap());
        let file = directory.open("file", Access::ReadWrite).unwrap();
        let changes = [
            directory.create("other").map(drop),
            directory.remove("file"),
            directory.rename("file", "other"),
            directory.lock("LOCK").map(drop),
            file.write_at(0, b"new").map(drop),
            file.write_direct_at(0, &[]).map(drop),
            file.allocate(100),
            file.prewrite(100),
        ];
        for change in changes {
            assert_eq!(change.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert!(!file.takes_direct_writes().unwrap());
        file.sync_data().unwrap();
        directory.sync().unwrap();
        let mut bytes = [0; 9];
        file.read_durable_exact_at(0, &mut bytes).unwrap();
        assert_eq!((&bytes, file.len().unwrap()), (b"as it was", 9));
        assert_eq!(directory.list().unwrap(), ["file"]);
    }
}
