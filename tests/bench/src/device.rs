//! What the kernel has counted: writes and flushes of the device under a directory, bytes that this process has sent
//! there, and memory that it has. What cannot be told is none, never a guess.
//!
//! The device's counts are everybody's who uses it; those of the process are its own.

use anyhow::{Context, Result};
use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SECTOR_BYTES: u64 = 512;

/// The device that a directory lies on.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// Its folder in sysfs; none where the file system has no device of its own.
    folder: Option<PathBuf>,
    /// That of the whole disk: the kernel counts no flushes of a partition.
    disk: Option<PathBuf>,
}

/// Counts that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceCounts {
    /// Write requests that were completed.
    pub(crate) writes: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// Flush requests that were completed.
    pub(crate) flushes: Option<u64>,
    /// What this process alone has caused to be written, in bytes; a page that is dirty already counts once.
    pub(crate) process_bytes: Option<u64>,
}

impl Device {
    pub(crate) fn of(directory: &Path) -> Result<Device> {
        let number = fs::metadata(directory).with_context(|| format!("look at {}", directory.display()))?.dev();
        let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let folder = fs::canonicalize(link).ok();
        let disk = folder.as_ref().and_then(|folder| match folder.join("partition").exists() {
            true => folder.parent().map(Path::to_owned),
            false => Some(folder.clone()),
        });
        Ok(Device { folder, disk })
    }

    pub(crate) fn name(&self) -> Option<String> {
        Some(self.folder.as_ref()?.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether a flush reaches the device, so that it can be counted there; none if the kernel does not say.
    pub(crate) fn counts_flushes(&self) -> Option<bool> {
        let cache = fs::read_to_string(self.disk.as_ref()?.join("queue/write_cache")).ok()?;
        let has_flushes = fs::read_to_string(self.disk.as_ref()?.join("stat")).ok().map(|stat| field(&stat, FLUSHES));
        Some(cache.trim() == "write back" && has_flushes.flatten().is_some())
    }

    pub(crate) fn counts(&self) -> DeviceCounts {
        let stat = |folder: &Option<PathBuf>| fs::read_to_string(folder.as_ref()?.join("stat")).ok();
        let (own, disk) = (stat(&self.folder), stat(&self.disk));
        let of = |stat: &Option<String>, place| stat.as_ref().and_then(|stat| field(stat, place));
        DeviceCounts {
            writes: of(&own, WRITES),
            bytes: of(&own, SECTORS_WRITTEN).map(|sectors| sectors * SECTOR_BYTES),
            flushes: self.counts_flushes().unwrap_or(false).then(|| of(&disk, FLUSHES)).flatten(),
            process_bytes: process_bytes(),
        }
    }
}

// Places in `stat`, from 0: Documentation/block/stat.rst.
const WRITES: usize = 4;
const SECTORS_WRITTEN: usize = 6;
const FLUSHES: usize = 15;

fn field(stat: &str, place: usize) -> Option<u64> {
    stat.split_whitespace().nth(place)?.parse().ok()
}

fn process_bytes() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

impl DeviceCounts {
    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &DeviceCounts) -> DeviceCounts {
        let minus = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
        DeviceCounts {
            writes: minus(self.writes, before.writes),
            bytes: minus(self.bytes, before.bytes),
            flushes: minus(self.flushes, before.flushes),
            process_bytes: minus(self.process_bytes, before.process_bytes),
        }
    }

    /// Both together; what one of them does not know is not known.
    pub(crate) fn plus(&self, more: &DeviceCounts) -> DeviceCounts {
        let plus = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        DeviceCounts {
            writes: plus(self.writes, more.writes),
            bytes: plus(self.bytes, more.bytes),
            flushes: plus(self.flushes, more.flushes),
            process_bytes: plus(self.process_bytes, more.process_bytes),
        }
    }

    /// Nothing counted yet.
    pub(crate) fn zero() -> DeviceCounts {
        DeviceCounts { writes: Some(0), bytes: Some(0), flushes: Some(0), process_bytes: Some(0) }
    }
}

/// Memory of this process that is resident, in bytes.
pub(crate) fn resident_bytes() -> Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = field(&statm, 1).context("/proc/self/statm has no second field")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// The load average of the last minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Type and options of the file system that a directory lies on.
pub(crate) fn file_system(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).ok()?.dev();
    let wanted = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let line = mounts.lines().find(|line| line.split_whitespace().nth(2) == Some(&wanted))?;
    let mut fields = line.split_once(" - ")?.1.split_whitespace();
    let (kind, options) = (fields.next()?, fields.nth(1)?);
    Some(format!("{kind} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "  4983838 63287 115328170 3332792 3919500 312764 186057080 870997 0 423696 4337862 345018 33 1 2 77 8";

    #[test]
    fn fields_are_found_where_the_kernel_puts_them() {
        assert_eq!(field(STAT, WRITES), Some(3_919_500));
        assert_eq!(field(STAT, SECTORS_WRITTEN), Some(186_057_080));
        assert_eq!(field(STAT, FLUSHES), Some(77));
    }

    #[test]
    fn an_old_kernel_without_flush_counts_leaves_them_unknown() {
        assert_eq!(field("1 2 3 4 5 6 7 8 9 10 11", FLUSHES), None);
        let known = DeviceCounts { flushes: None, ..DeviceCounts::zero() };
        assert_eq!(DeviceCounts::zero().plus(&known).flushes, None);
        assert_eq!(DeviceCounts::zero().since(&known).flushes, None);
        assert_eq!(DeviceCounts::zero().since(&known).writes, Some(0));
    }
}
