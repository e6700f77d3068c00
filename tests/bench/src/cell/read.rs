//! Reading, opening and cutting a log that was filled before.

use super::{Bench, Lap, Meter, Settle};
use crate::device::resident_bytes;
use crate::file::{drop_cached_pages, warm_cached_pages};
use crate::log::{Durability, Log, look_at_each};
use crate::payload::Payload;
use crate::workload::ENTRY_BYTES;
use anyhow::{Result, ensure};
use std::hint::black_box;
use std::time::Instant;

/// Batches that a log is filled with, where the workload does not say otherwise.
pub(super) const FILL_BATCH: u64 = 100;
/// Entries of one page of a scan.
const SCAN_ENTRIES: u64 = 4096;
/// One of so many newest entries is read; as many are read for one look at the clock.
const RECENT_ENTRIES: u64 = 1000;
/// As many old entries.
const OLD_ENTRIES: u64 = 10_000;
const TRUNCATIONS: u64 = 10;

/// Appends entries from index 1 on, and makes them durable.
pub(super) fn fill(log: &dyn Log, count: u64, batch: u64, payload: &Payload) -> Result<()> {
    append(log, 1, count, batch, payload)?;
    log.sync()
}

fn append(log: &dyn Log, first: u64, count: u64, batch: u64, payload: &Payload) -> Result<()> {
    let (mut next, mut entries) = (first, Vec::new());
    while next < first + count {
        let together = batch.min(first + count - next);
        payload.batch(0, next, together, &mut entries);
        log.append(0, next, &entries, Durability::Buffered)?;
        next += together;
    }
    Ok(())
}

/// Fills a log and closes it.
pub(super) fn prepare(bench: Bench, batch: u64, entries: u64) -> Result<Meter> {
    let log = bench.open()?;
    fill(&*log, entries, batch, &Payload::new(ENTRY_BYTES))?;
    log.close()?;
    Ok(bench.meter)
}

pub(super) fn range(mut bench: Bench, entries: u64) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let end = bench.scale.entries() + 1;
    fill(&*log, end - 1, FILL_BATCH, &payload)?;
    let newest = end - entries..end;
    let first_sum = look_at_each(&*log.read(0, newest.clone())?);
    while bench.meter.seconds < bench.scale.seconds() {
        bench.meter.lap(&*log, Settle::Nothing, |singles| {
            let before = Instant::now();
            let page = log.read(0, newest.clone())?;
            let sum = look_at_each(&*page);
            let took = before.elapsed();
            singles.push(took.as_secs_f64());
            ensure!(page.len() as u64 == entries, "{} entries read of {entries}", page.len());
            ensure!(sum == first_sum, "the entries add up to {sum}, and to {first_sum} before");
            Ok(Lap { took, units: 1, payload_bytes: entries * ENTRY_BYTES as u64 })
        })?;
    }
    bench.verify(&*log, 0, newest, &payload)?;
    log.close()?;
    Ok(bench.meter)
}

pub(super) fn one(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let end = bench.scale.entries() + 1;
    fill(&*log, end - 1, FILL_BATCH, &payload)?;
    let newest = end - RECENT_ENTRIES..end;
    bench.verify(&*log, 0, newest.clone(), &payload)?;
    let mut order: Vec<u64> = newest.collect();
    fastrand::Rng::with_seed(end).shuffle(&mut order);
    while bench.meter.seconds < bench.scale.seconds() {
        bench.meter.lap(&*log, Settle::Nothing, |_| read_each(&*log, &order))?;
    }
    log.close()?;
    Ok(bench.meter)
}

pub(super) fn old(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let end = bench.scale.entries() + 1;
    fill(&*log, end - 1, FILL_BATCH, &payload)?;
    bench.verify(&*log, 0, 1..end, &payload)?;
    warm_cached_pages(&bench.setup.directory)?;
    let mut random = fastrand::Rng::with_seed(end);
    let order: Vec<u64> = (0..OLD_ENTRIES).map(|_| random.u64(1..end)).collect();
    while bench.meter.seconds < bench.scale.seconds() {
        bench.meter.lap(&*log, Settle::Nothing, |_| read_each(&*log, &order))?;
    }
    log.close()?;
    Ok(bench.meter)
}

fn read_each(log: &dyn Log, order: &[u64]) -> Result<Lap> {
    let before = Instant::now();
    for index in order {
        black_box(log.read_one(0, *index)?.len());
    }
    let units = order.len() as u64;
    Ok(Lap { took: before.elapsed(), units, payload_bytes: units * ENTRY_BYTES as u64 })
}

pub(super) fn cold_scan(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let bounds = log.bounds(0)?;
    drop_cached_pages(&bench.setup.directory)?;
    let entries = bounds.end - bounds.start;
    bench.meter.lap(&*log, Settle::Nothing, |_| {
        let (before, mut next) = (Instant::now(), bounds.start);
        while next < bounds.end {
            let upto = bounds.end.min(next + SCAN_ENTRIES);
            let page = log.read(0, next..upto)?;
            black_box(look_at_each(&*page));
            ensure!(page.len() as u64 == upto - next, "{} entries read of {next}..{upto}", page.len());
            next = upto;
        }
        Ok(Lap { took: before.elapsed(), units: entries, payload_bytes: entries * ENTRY_BYTES as u64 })
    })?;
    bench.verify(&*log, 0, bounds, &payload)?;
    log.close()?;
    Ok(bench.meter)
}

pub(super) fn open(mut bench: Bench, entries: u64) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    warm_cached_pages(&bench.setup.directory)?;
    let memory = resident_bytes()?;
    let before = Instant::now();
    let log = bench.open()?;
    bench.meter.seconds = before.elapsed().as_secs_f64();
    let grown = resident_bytes()?.saturating_sub(memory);
    bench.meter.units = 1;
    bench.meter.memory_bytes_per_entry = Some(grown as f64 / entries as f64);
    let bounds = log.bounds(0)?;
    ensure!(bounds == (1..entries + 1), "{entries} entries were appended, {bounds:?} is there");
    bench.verify(&*log, 0, bounds, &payload)?;
    log.close()?;
    Ok(bench.meter)
}

pub(super) fn truncate(mut bench: Bench, entries: u64) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let all = bench.scale.entries();
    let from = all + 1 - entries;
    fill(&*log, from - 1, FILL_BATCH, &payload)?;
    for _ in 0..TRUNCATIONS {
        append(&*log, from, entries, FILL_BATCH, &payload)?;
        log.sync()?;
        cut(&mut bench, &*log, || log.truncate(from))?;
        ensure!(log.bounds(0)?.end == from, "truncated from {from}, {:?} is there", log.bounds(0)?);
    }
    bench.meter.check_flushes(TRUNCATIONS)?;
    bench.meter.acknowledged = Some(TRUNCATIONS);
    reopen_and_verify(&mut bench, log, 1..from, &payload)?;
    Ok(bench.meter)
}

pub(super) fn purge(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let all = bench.scale.entries();
    let upto = all / 10 * 9;
    fill(&*log, all, FILL_BATCH, &payload)?;
    cut(&mut bench, &*log, || log.purge(1, upto))?;
    bench.meter.check_flushes(1)?;
    bench.meter.acknowledged = Some(1);
    reopen_and_verify(&mut bench, log, upto + 1..all + 1, &payload)?;
    Ok(bench.meter)
}

/// Times one call that drops entries.
fn cut(bench: &mut Bench, log: &dyn Log, call: impl FnOnce() -> Result<()>) -> Result<()> {
    bench.meter.lap(log, Settle::Nothing, |singles| {
        let before = Instant::now();
        call()?;
        let took = before.elapsed();
        singles.push(took.as_secs_f64());
        Ok(Lap { took, units: 1, payload_bytes: 0 })
    })
}

/// What was dropped stays so, and the rest is as appended, also for who opens the log again.
pub(super) fn reopen_and_verify(
    bench: &mut Bench,
    log: Box<dyn Log>,
    left: std::ops::Range<u64>,
    payload: &Payload,
) -> Result<()> {
    log.close()?;
    let log = bench.open()?;
    let bounds = log.bounds(0)?;
    ensure!(bounds == left, "{left:?} was left, {bounds:?} is there after opening");
    bench.verify(&*log, 0, left, payload)?;
    log.close()
}
