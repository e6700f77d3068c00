//! Asking for the terms of recent entries while another thread appends durably the whole time.

use super::{Bench, Lap, Meter, Settle};
use crate::log::{Durability, Log};
use crate::payload::Payload;
use crate::workload::{ENTRY_BYTES, Manner};
use anyhow::{Result, ensure};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

const BATCH: u64 = 100;
/// The appender fills so many segments before the clock runs, so that it writes to recycled ones by then.
const WARM_SEGMENTS: u64 = 6;
/// So many segments of entries are kept: nobody may ask for an entry that is just purged.
const KEPT_SEGMENTS: u64 = 2;
/// One of so many newest entries is asked for; as many calls for one look at the clock.
const RECENT_ENTRIES: u64 = 1000;
const LAP: Duration = Duration::from_millis(20);
const POLL: Duration = Duration::from_millis(1);

pub(super) fn run(mut bench: Bench) -> Result<Meter> {
    let payload = Payload::new(ENTRY_BYTES);
    let log = bench.open()?;
    let appender = Appender {
        log: &*log,
        payload: &payload,
        segment_entries: Manner::Durable { batch: BATCH }.lap(ENTRY_BYTES, bench.setup.segment_bytes),
        next: AtomicU64::new(1),
        stop: AtomicBool::new(false),
    };
    appender.append()?;
    // A log that keeps no terms says so here.
    log.term(0, 1)?;
    let seconds = bench.scale.seconds();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| appender.append_until_stopped());
        let asked = appender.wait_until_warm(&thread).and_then(|()| ask(&mut bench.meter, &appender, seconds));
        appender.stop.store(true, Ordering::Relaxed);
        thread.join().expect("a thread that appends does not panic")?;
        asked
    })?;
    let recent = appender.recent();
    bench.verify(&*log, 0, recent, &payload)?;
    log.close()?;
    Ok(bench.meter)
}

fn ask(meter: &mut Meter, appender: &Appender<'_>, seconds: f64) -> Result<()> {
    let mut order: Vec<u64> = (0..RECENT_ENTRIES).collect();
    fastrand::Rng::with_seed(RECENT_ENTRIES).shuffle(&mut order);
    while meter.seconds < seconds {
        meter.lap(appender.log, Settle::Nothing, |_| {
            let (started, mut units, mut terms) = (Instant::now(), 0, 0);
            let took = loop {
                let first = appender.recent().start;
                for place in &order {
                    terms += appender.log.term(0, first + place)?;
                }
                units += RECENT_ENTRIES;
                let took = started.elapsed();
                if took >= LAP {
                    break took;
                }
            };
            // Every entry is appended in term 1.
            ensure!(terms == units, "the terms of {units} entries add up to {terms}");
            Ok(Lap { took, units, payload_bytes: 0 })
        })?;
    }
    Ok(())
}

/// A thread that appends batches, one durable after the other, and purges what is old.
struct Appender<'a> {
    log: &'a dyn Log,
    payload: &'a Payload,
    segment_entries: u64,
    /// Everything before it is durable.
    next: AtomicU64,
    stop: AtomicBool,
}

impl Appender<'_> {
    fn append(&self) -> Result<()> {
        let (first, mut entries) = (self.next.load(Ordering::Relaxed), Vec::new());
        let next = first + BATCH;
        self.payload.batch(0, first, BATCH, &mut entries);
        self.log.append(0, first, &entries, Durability::Durable)?;
        self.next.store(next, Ordering::Release);
        let kept = KEPT_SEGMENTS * self.segment_entries;
        match next > kept && (next - 1).is_multiple_of(self.segment_entries) {
            true => self.log.purge(1, next - 1 - kept),
            false => Ok(()),
        }
    }

    fn append_until_stopped(&self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.append()?;
        }
        Ok(())
    }

    /// Ends early if the thread that appends does.
    fn wait_until_warm(&self, thread: &ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
        while self.next.load(Ordering::Acquire) < WARM_SEGMENTS * self.segment_entries {
            ensure!(!thread.is_finished(), "the thread that appends ended");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn recent(&self) -> Range<u64> {
        let next = self.next.load(Ordering::Acquire);
        next.saturating_sub(RECENT_ENTRIES).max(1)..next
    }
}
