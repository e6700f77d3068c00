//! How long after a purge its space is back: until the directory takes less than half of what it took.

use super::read::{FILL_BATCH, fill, reopen_and_verify};
use super::{Bench, Lap, Meter, Settle};
use crate::file::allocated_bytes;
use crate::log::{Role, Unsupported};
use crate::payload::Payload;
use crate::workload::{ENTRY_BYTES, Scale};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where much of the time goes to logs that give nothing back, three seconds tell, too, whether the goal is reached.
fn wait_max(scale: Scale) -> Duration {
    Duration::from_secs(if scale == Scale::Quick { 3 } else { 10 })
}

const POLL: Duration = Duration::from_millis(1);

pub(super) fn run(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    if matches!(bench.kind.role, Role::Raw | Role::Shortest) {
        return Err(Unsupported("it gives nothing back: it keeps its files, to write to them again").into());
    }
    let log = bench.open()?;
    let all = bench.scale.entries();
    let upto = all / 10 * 9;
    fill(&*log, all, FILL_BATCH, &payload)?;
    let (directory, before) = (bench.setup.directory.clone(), allocated_bytes(&bench.setup.directory)?);
    let (mut left, wait_max) = (before, wait_max(bench.scale));
    bench.meter.lap(&*log, Settle::Nothing, |singles| {
        let started = Instant::now();
        log.purge(1, upto)?;
        left = wait_until_below(&directory, before / 2, started + wait_max)?;
        let took = started.elapsed();
        singles.push(took.as_secs_f64());
        Ok(Lap { took, units: 1, payload_bytes: 0 })
    })?;
    if left >= before / 2 {
        let mib = |bytes: u64| bytes >> 20;
        let seconds = wait_max.as_secs();
        let remark = format!("not back: {} of {} MiB were still taken after {seconds} s", mib(left), mib(before));
        bench.meter.remarks.push(remark);
    }
    reopen_and_verify(&mut bench, log, upto + 1..all + 1, &payload)?;
    Ok(bench.meter)
}

/// Waits until then at most. Returns what the directory takes then.
fn wait_until_below(directory: &Path, bytes: u64, until: Instant) -> Result<u64> {
    loop {
        let taken = allocated_bytes(directory)?;
        if taken < bytes || Instant::now() >= until {
            return Ok(taken);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_the_files_are_gone() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("file");
        std::fs::write(&path, vec![1; 1 << 20])?;
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                std::fs::remove_file(&path).expect("it is there");
            });
            let left = wait_until_below(directory.path(), 1 << 19, started + Duration::from_secs(10))?;
            assert!(left < 1 << 19 && started.elapsed() >= Duration::from_millis(30), "{left} bytes");
            Ok(())
        })
    }
}
