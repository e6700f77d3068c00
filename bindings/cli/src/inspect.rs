//! `duramen inspect`: the files of a store, its groups, and what opening found. Reads no entry by itself.
#![forbid(unsafe_code)]

use crate::arguments::Inspect;
use crate::failure::{Failure, Status};
use crate::json::{GroupLine, Hex, write_line};
use crate::text::write_group;
use duramen::{Layout, ReadOnlyStore, RecoveryReport, SegmentLayout, Store, Torn};
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
    groups: Vec<GroupLine>,
}

#[derive(Debug, Serialize)]
struct Recovery {
    clean: bool,
    batches: u64,
    last_batch: u64,
    torn: Option<TornTail>,
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

pub(crate) fn run(arguments: &Inspect, out: &mut impl Write) -> Result<Status, Failure> {
    let found = Inspection::of(&Store::open_read_only(&arguments.dir)?)?;
    match arguments.json {
        true => write_line(out, &found)?,
        false => found.write_text(&arguments.dir, out)?,
    }
    out.flush()?;
    Ok(Status::Sound)
}

impl Inspection {
    fn of(store: &ReadOnlyStore) -> duramen::Result<Inspection> {
        let Layout { store: id, first_live, highest_created, watermark, segments, .. } = store.layout();
        let groups = store.groups()?.into_iter().map(|group| GroupLine::of(&store.log(group)));
        Ok(Inspection {
            store: Hex(id),
            first_live,
            highest_created,
            watermark,
            recovery: Recovery::of(store.recovery_report()),
            segments: segments.into_iter().map(Segment::of).collect(),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    fn write_text(&self, dir: &Path, out: &mut impl Write) -> io::Result<()> {
        let Inspection { store, first_live, highest_created, watermark, recovery, segments, groups } = self;
        writeln!(out, "store {store} in {}", dir.display())?;
        writeln!(
            out,
            "manifest: segments {first_live} to {highest_created}, durable up to batch {watermark} at least"
        )?;
        recovery.write_text(out)?;
        for segment in segments {
            segment.write_text(out)?;
        }
        groups.iter().try_for_each(|group| write_group(out, group))
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
        Recovery { clean, batches, last_batch, torn }
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let state = if self.clean { "closed" } else { "in use, or not closed" };
        writeln!(out, "opening: {state}; {} batches, the last one is {}", self.batches, self.last_batch)?;
        match &self.torn {
            Some(TornTail { file, offset, batch, detail }) => {
                writeln!(
                    out,
                    "  behind it a write that is under way or was cut off: batch {batch} in {file} at offset {offset}: {detail}"
                )
            }
            None => Ok(()),
        }
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
