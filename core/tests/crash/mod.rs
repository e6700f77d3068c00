//! The crash enumeration: workloads on a simulated disk, a power cut before every operation of the disk, and the judgement
//! on what each of them leaves.
//!
//! 1. A [`workload`] chooses writes, syncs and reopenings; a [`run`] carries them out.
//! 2. A [`watch`] notes every moment at which the power may fail, with what was promised by then.
//! 3. The [`enumeration`] makes the disks that can come of each moment; each is put on [`trial`].
//! 4. The [`oracle`] compares with the [`model`] after exactly k batches, one k for all groups, durable ≤ k ≤ accepted.
#![allow(dead_code, reason = "the enumeration and the planted mistakes use one part each")]

pub(crate) mod burst;
pub(crate) mod changes;
pub(crate) mod dice;
pub(crate) mod enumeration;
pub(crate) mod gated;
pub(crate) mod history;
#[path = "../support/hooked.rs"]
pub(crate) mod hooked;
pub(crate) mod leftovers;
pub(crate) mod model;
pub(crate) mod oracle;
pub(crate) mod plan;
pub(crate) mod retired;
pub(crate) mod run;
pub(crate) mod schedules;
pub(crate) mod tally;
pub(crate) mod trial;
pub(crate) mod violation;
pub(crate) mod watch;
pub(crate) mod workload;
