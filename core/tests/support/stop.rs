//! Stops the process or the machine: at once, or before a disk operation of the call that is under way.

use crate::script::Crash;
use duramen::io::{CrashPoints, SimulatedDisk};
use std::sync::{Arc, Mutex, PoisonError};

/// Waits for a disk operation to stop the process or the machine before.
pub(crate) struct Watch {
    crash: Crash,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    left: u64,
    stopped: Option<Stopped>,
}

enum Stopped {
    Process(SimulatedDisk),
    Machine(Box<CrashPoints>),
}

impl Watch {
    pub(crate) fn begin(disk: &SimulatedDisk, crash: Crash) -> Watch {
        let seen = Arc::new(Mutex::new(Seen { left: crash.nth, stopped: None }));
        let shared = Arc::clone(&seen);
        disk.on_operation(Some(Box::new(move |_, disk| {
            let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
            seen.left = seen.left.saturating_sub(1);
            if seen.left == 0 && seen.stopped.is_none() {
                seen.stopped = Some(Stopped::now(disk, crash));
            }
        })));
        Watch { crash, seen }
    }

    /// The disk after the crash, and whether it came inside the call.
    pub(crate) fn end(self, disk: &SimulatedDisk) -> (SimulatedDisk, bool) {
        disk.on_operation(None);
        let stopped = self.seen.lock().unwrap_or_else(PoisonError::into_inner).stopped.take();
        let was_inside = stopped.is_some();
        (stopped.unwrap_or_else(|| Stopped::now(disk, self.crash)).disk(self.crash), was_inside)
    }
}

impl Stopped {
    fn now(disk: &SimulatedDisk, crash: Crash) -> Stopped {
        match crash.power {
            true => Stopped::Machine(Box::new(disk.crash_points())),
            false => Stopped::Process(disk.kill()),
        }
    }

    fn disk(self, crash: Crash) -> SimulatedDisk {
        match self {
            Stopped::Process(disk) => disk,
            Stopped::Machine(points) => {
                let outcomes: Vec<_> = points.outcomes(12, crash.chance).collect();
                let chosen = crash.chance % outcomes.len() as u64;
                points.disk_after(&outcomes[usize::try_from(chosen).expect("it is an index")])
            }
        }
    }
}

/// The disk after a crash at this moment.
pub(crate) fn after_crash(disk: &SimulatedDisk, crash: Crash) -> SimulatedDisk {
    Stopped::now(disk, crash).disk(crash)
}
