//! A broken promise, and the line that shows it again.

use super::plan::Plan;
use super::workload::Workload;
use duramen::io::Outcome;
use std::fmt;

/// The variable that names the state to look at.
pub(crate) const REPLAY: &str = "DURAMEN_CRASH_REPLAY";

/// A state of the disk: at which moment of a run the power failed, and what that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) moment: u64,
    pub(crate) outcome: Outcome,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.moment, self.outcome)
    }
}

/// One state of one run: after a crash, or after a crash inside the opening that followed a crash.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) plan: Plan,
    /// None where the run itself, without any further crash, is to be looked at.
    pub(crate) crash: Option<Place>,
    /// A second crash, inside the opening after the first one, or inside the first write after that.
    pub(crate) second: Option<Place>,
}

impl Target {
    /// Reads `workload=d seed=1 crash=137:0*4,1 second=5:1,0`.
    pub(crate) fn parse(text: &str) -> Result<Target, String> {
        let field = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let letter = field("workload").ok_or("no workload")?;
        let workload =
            Workload::ALL.into_iter().find(|workload| workload.letter() == letter).ok_or("no such workload")?;
        let seed = field("seed").ok_or("no seed")?.parse().map_err(|error| format!("seed: {error}"))?;
        let place = |name| field(name).map(parse_place).transpose();
        Ok(Target { plan: Plan::new(workload, seed), crash: place("crash")?, second: place("second")? })
    }
}

fn parse_place(text: &str) -> Result<Place, String> {
    let (moment, outcome) = text.split_once(':').ok_or("a place is a moment, a colon and an outcome")?;
    let moment = moment.parse().map_err(|error| format!("moment {moment}: {error}"))?;
    Ok(Place { moment, outcome: outcome.parse().map_err(|error| format!("outcome {outcome}: {error}"))? })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workload={} seed={}", self.plan.workload.letter(), self.plan.seed)?;
        self.crash.iter().try_for_each(|place| write!(f, " crash={place}"))?;
        self.second.iter().try_for_each(|place| write!(f, " second={place}"))
    }
}

/// All is well, or something was broken.
pub(crate) type Verdict<T = ()> = Result<T, Box<Violation>>;

/// What was broken, and where.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) target: Target,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = "cargo test -p duramen --test crash_enumeration replay -- --nocapture";
        write!(f, "{}\n  again: {REPLAY}='{}' {command}", self.what, self.target)
    }
}
