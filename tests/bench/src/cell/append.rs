//! Appending: laps that fill at most a segment each, with the log purged between them.

use super::{Bench, Lap, Meter, Settle, flushes_needed};
use crate::log::{Durability, Log, Role};
use crate::memory::MemoryCost;
use crate::payload::Payload;
use crate::workload::{LARGE_ENTRY_BYTES, Manner};
use anyhow::Result;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The warm-up fills so many segments, purges them, and does so again until the log is steady.
const WARM_SEGMENTS: u64 = 4;
const WARM_ENTRY_BYTES: usize = 4096;
const WARM_BATCH: u64 = 64;
const WARM_TRIES: u64 = 12;
/// A first fill goes on for so many times as long as another lap: it is to reach the second segment.
const FIRST_FILL_TIMES: f64 = 10.0;

pub(super) fn run(mut bench: Bench, entry_bytes: usize, manner: Manner, recycled: bool) -> Result<Meter> {
    let payload = Payload::new(entry_bytes);
    let log = bench.open()?;
    if manner.acknowledged_max().is_none() {
        log.check_buffers()?;
    }
    let mut next = 1;
    if recycled {
        next = warm_up(&mut bench, &*log, manner.groups())?;
    }
    let lap = manner.lap(entry_bytes, bench.setup.segment_bytes);
    let limit = bench.scale.seconds() * if recycled { 1.0 } else { FIRST_FILL_TIMES };
    let last = loop {
        let indexes = run_lap(&mut bench, &*log, next..next + lap, manner, limit, &payload)?;
        next = indexes.end;
        verify_groups(&mut bench, &*log, manner.groups(), &indexes, &payload)?;
        if !recycled || bench.meter.seconds >= bench.scale.seconds() {
            break indexes;
        }
        log.purge(manner.groups(), indexes.end - 1)?;
    };
    bench.meter.acknowledged = flushes_needed(manner, bench.meter.units);
    if let Some(acknowledged) = bench.meter.acknowledged {
        bench.meter.check_flushes(acknowledged)?;
    }
    if bench.kind.role == Role::Raw && entry_bytes >= LARGE_ENTRY_BYTES {
        bench.meter.memory_cost = Some(MemoryCost::measure(entry_bytes)?);
    }
    log.close()?;
    let log = bench.open()?;
    verify_groups(&mut bench, &*log, manner.groups(), &last, &payload)?;
    log.close()?;
    Ok(bench.meter)
}

/// So often in one filling the log is given time for what it does on its own: at full speed it would take new segments.
const WARM_PAUSES: u64 = 64;

/// Fills and purges until what is written next goes to recycled segments. Returns the next index of every group.
fn warm_up(bench: &mut Bench, log: &dyn Log, groups: u64) -> Result<u64> {
    let payload = Payload::new(WARM_ENTRY_BYTES);
    let batches = WARM_SEGMENTS * bench.setup.segment_bytes / (WARM_BATCH * WARM_ENTRY_BYTES as u64);
    let (mut next, mut tries, mut entries) = (1, 0, Vec::new());
    while !log.is_steady() && tries < WARM_TRIES {
        for batch in 0..batches {
            payload.batch(0, next, WARM_BATCH, &mut entries);
            log.append(0, next, &entries, Durability::Buffered)?;
            next += WARM_BATCH;
            if batch % (batches / WARM_PAUSES).max(1) == 0 {
                log.settle();
            }
        }
        log.purge(groups, next - 1)?;
        tries += 1;
    }
    if !log.is_steady() {
        bench.meter.remarks.push("segments were not all recycled after the warm-up".to_owned());
    }
    Ok(next)
}

/// Appends a lap to every group. Returns the indexes that were appended: not all of them where time was up before.
fn run_lap(
    bench: &mut Bench,
    log: &dyn Log,
    mut indexes: Range<u64>,
    manner: Manner,
    limit_seconds: f64,
    payload: &Payload,
) -> Result<Range<u64>> {
    let limit = Duration::from_secs_f64(limit_seconds);
    let settle = if manner.acknowledged_max().is_some() { Settle::Nothing } else { Settle::Sync };
    let (first, count) = (indexes.start, indexes.end - indexes.start);
    bench.meter.lap(log, settle, |singles| {
        let took = match manner {
            Manner::Durable { batch } => append_durable(log, &mut indexes, batch, limit, payload, singles),
            Manner::Buffered { batch } => append_buffered(log, &indexes, batch, payload),
            Manner::Threads { threads, durability } => {
                log.append_from_threads(threads, first, count, payload, durability)
            }
            Manner::InFlight(in_flight) => time(|| log.append_in_flight(first, count, in_flight, payload)),
            Manner::Groups(groups) => {
                time(|| indexes.clone().try_for_each(|index| log.append_to_groups(groups, index, payload)))
            }
        }?;
        let units = (indexes.end - indexes.start) * manner.groups();
        Ok(Lap { took, units, payload_bytes: units * payload.entry_bytes() as u64 })
    })?;
    Ok(indexes)
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

/// Ends early, and shortens `indexes`, when the time is up: a disk may be slow.
fn append_durable(
    log: &dyn Log,
    indexes: &mut Range<u64>,
    batch: u64,
    limit: Duration,
    payload: &Payload,
    singles: &mut Vec<f64>,
) -> Result<Duration> {
    singles.reserve(usize::try_from((indexes.end - indexes.start) / batch)?);
    let mut entries = Vec::new();
    let (started, mut next) = (Instant::now(), indexes.start);
    while next < indexes.end {
        payload.batch(0, next, batch, &mut entries);
        let before = Instant::now();
        log.append(0, next, &entries, Durability::Durable)?;
        let after = Instant::now();
        singles.push((after - before).as_secs_f64());
        next += batch;
        if after - started > limit {
            indexes.end = next;
        }
    }
    Ok(started.elapsed())
}

fn append_buffered(log: &dyn Log, indexes: &Range<u64>, batch: u64, payload: &Payload) -> Result<Duration> {
    let mut entries = Vec::new();
    let (started, mut next) = (Instant::now(), indexes.start);
    while next < indexes.end {
        let count = batch.min(indexes.end - next);
        payload.batch(0, next, count, &mut entries);
        log.append(0, next, &entries, Durability::Buffered)?;
        next += count;
    }
    Ok(started.elapsed())
}

fn verify_groups(bench: &mut Bench, log: &dyn Log, groups: u64, indexes: &Range<u64>, payload: &Payload) -> Result<()> {
    for group in 0..groups {
        bench.verify(log, group, indexes.clone(), payload)?;
    }
    bench.forget_pages_read(log)
}
