//! `duramen inspect`: the files of a store, its groups, and what opening found. Reads no entry by itself.
#![forbid(unsafe_code)]

use crate::arguments::Inspect;
use crate::failure::{Failure, Status};
use crate::json::{BatchesValue, GroupLine, Hex, LossValue, write_line};
use crate::text::write_group;
use duramen::{Health, Layout, Loss, ReadOnlyLog, ReadOnlyStore, RecoveryReport, SegmentLayout, Store, Torn};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug, Serialize)]
struct Inspection {
    store: Hex<[u8; 16]>,
    first_live: u64,
    highest_created: u64,
    watermark: u64,
    recovery: Recovery,
    segments: Vec<Segment>,
    lost_batches: Vec<LostBatches>,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Recovery {
    clean: bool,
    batches: u64,
    last_batch: u64,
    torn: Option<TornTail>,
    damaged: Vec<BatchesValue>,
}

#[derive(Debug, Serialize)]
struct TornTail {
    file: String,
    offset: u64,
    batch: u64,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Segment {
    number: u64,
    file: String,
    bytes: Option<u64>,
    begun: bool,
}

/// Batches of which nobody knows what they did: every group is in doubt.
#[derive(Debug, Serialize)]
struct LostBatches {
    first: u64,
    next: u64,
}

#[derive(Debug, Serialize)]
struct Group {
    #[serde(flatten)]
    line: GroupLine,
    health: &'static str,
    losses: Vec<LossValue>,
}

pub(crate) fn run(arguments: &Inspect, out: &mut impl Write) -> Result<Status, Failure> {
    let found = Inspection::of(&Store::open_read_only(&arguments.dir)?)?;
    match arguments.json {
        true => write_line(out, &found)?,
        false => found.write_text(&arguments.dir, out)?,
    }
    let status = found.status();
    out.flush().map_err(|error| Failure::Output(error, status))?;
    Ok(status)
}

impl Inspection {
    fn of(store: &ReadOnlyStore) -> duramen::Result<Inspection> {
        let Layout { store: id, first_live, highest_created, watermark, segments, .. } = store.layout();
        let groups = store.groups()?.into_iter().map(|group| Group::of(&store.log(group)));
        Ok(Inspection {
            store: Hex(id),
            first_live,
            highest_created,
            watermark,
            recovery: Recovery::of(store.recovery_report()),
            segments: segments.into_iter().map(Segment::of).collect(),
            lost_batches: store.damage()?.into_iter().filter_map(|damage| LostBatches::of(damage.loss)).collect(),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    fn status(&self) -> Status {
        let is_whole = self.recovery.damaged.is_empty() && self.lost_batches.is_empty();
        match is_whole && self.groups.iter().all(|group| group.losses.is_empty()) {
            true => Status::Sound,
            false => Status::Damaged,
        }
    }

    fn write_text(&self, dir: &Path, out: &mut impl Write) -> io::Result<()> {
        let Inspection { store, first_live, highest_created, watermark, recovery, segments, lost_batches, groups } =
            self;
        writeln!(out, "store {store} in {}", dir.display())?;
        writeln!(
            out,
            "manifest: segments {first_live} to {highest_created}, durable up to batch {watermark} at least"
        )?;
        recovery.write_text(out)?;
        for segment in segments {
            segment.write_text(out)?;
        }
        for LostBatches { first, next } in lost_batches {
            writeln!(out, "batches {first}..{next} are lost, and nobody knows what they did: every group is in doubt")?;
        }
        groups.iter().try_for_each(|group| group.write_text(out))
    }
}

impl LostBatches {
    fn of(loss: Loss) -> Option<LostBatches> {
        match loss {
            Loss::Batches { first, last } => Some(LostBatches { first, next: last + 1 }),
            _ => None,
        }
    }
}

impl Group {
    fn of(log: &ReadOnlyLog) -> duramen::Result<Group> {
        let health = match log.health()? {
            Health::Healthy => "healthy",
            Health::EntriesLost => "entries_lost",
            Health::HardStateLost => "hard_state_lost",
            _ => "unknown",
        };
        let losses = log.damage()?.into_iter().map(LossValue::of).collect();
        Ok(Group { line: GroupLine::of(log)?, health, losses })
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        write_group(out, &self.line)?;
        writeln!(out, "  health: {}", self.health.replace('_', " "))?;
        // All others stand in the place of what is lost.
        let mut entries = self.losses.iter().filter(|loss| matches!(loss, LossValue::Entries { .. }));
        entries.try_for_each(|loss| writeln!(out, "  lost: {loss}"))
    }
}

impl Recovery {
    fn of(report: &RecoveryReport) -> Recovery {
        let torn = report.torn.as_ref().map(|Torn { file, offset, batch, detail, .. }| TornTail {
            file: file.clone(),
            offset: *offset,
            batch: *batch,
            detail: detail.clone(),
        });
        let RecoveryReport { clean, batches, last_batch, .. } = *report;
        let damaged = report.damaged.iter().map(BatchesValue::of).collect();
        Recovery { clean, batches, last_batch, torn, damaged }
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let state = if self.clean { "closed" } else { "in use, or not closed" };
        writeln!(out, "opening: {state}; {} batches, the last one is {}", self.batches, self.last_batch)?;
        if let Some(TornTail { file, offset, batch, detail }) = &self.torn {
            writeln!(
                out,
                "  behind it a write that is under way or was cut off: batch {batch} in {file} at offset {offset}: {detail}"
            )?;
        }
        self.damaged.iter().try_for_each(|batches| writeln!(out, "  damaged: {batches}"))
    }
}

impl Segment {
    fn of(segment: SegmentLayout) -> Segment {
        let SegmentLayout { number, file, bytes, is_begun, .. } = segment;
        Segment { number, file, bytes, begun: is_begun }
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let holds = if self.begun { "batches" } else { "prepared" };
        match self.bytes {
            Some(bytes) => writeln!(out, "{}: {bytes} bytes, {holds}", self.file),
            None => writeln!(out, "{}: never finished", self.file),
        }
    }
}
