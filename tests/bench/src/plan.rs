//! Which cells are run, and in which order: every round runs each once, shuffled anew.

use crate::log::{KINDS, Kind, Role};
use crate::workload::{WORKLOADS, Workload};
use anyhow::{Result, bail};

/// One workload on one log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) workload: Workload,
    pub(crate) log: Kind,
}

/// The cells that `only` asks for: names of workloads and logs, or how they begin. The raw limits and the shortest logs are
/// always among the logs, those that differ only where many wait only in such workloads. Without names it is all of them.
pub(crate) fn cells(only: &[String]) -> Result<Vec<Cell>> {
    let is_asked =
        |name: &str, asked: &[&String]| asked.is_empty() || asked.iter().any(|asked| name.starts_with(asked.as_str()));
    let begins_workload = |asked: &String| WORKLOADS.iter().any(|workload| workload.name.starts_with(asked.as_str()));
    let (workloads, logs): (Vec<_>, Vec<_>) = only.iter().partition(|asked| begins_workload(asked));
    for asked in &logs {
        if !KINDS.iter().any(|kind| kind.name.starts_with(asked.as_str())) {
            let names: Vec<_> =
                WORKLOADS.iter().map(|workload| workload.name).chain(KINDS.iter().map(|kind| kind.name)).collect();
            bail!("no workload and no log begins with {asked}; there are {}", names.join(", "));
        }
    }
    let is_reference = |kind: &&Kind| matches!(kind.role, Role::Raw | Role::Shortest);
    let mut cells = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| is_asked(workload.name, &workloads)) {
        let logs = KINDS.iter().filter(|kind| is_reference(kind) || is_asked(kind.name, &logs));
        for log in logs.filter(|kind| !kind.for_many_only || workload.work.has_many_waiting()) {
            cells.push(Cell { workload: *workload, log: *log });
        }
    }
    Ok(cells)
}

/// The places of `count` cells in the order of a round.
pub(crate) fn order(count: usize, seed: u64, round: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    // Neighbouring seeds must not give related orders, so the round goes through the generator, too.
    let mut random = fastrand::Rng::with_seed(seed);
    let seed_of_round = (0..=round).fold(0, |_, _| random.u64(..));
    fastrand::Rng::with_seed(seed_of_round).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<(&'static str, &'static str)> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        cells(&only).expect("known names").iter().map(|cell| (cell.workload.name, cell.log.name)).collect()
    }

    #[test]
    fn every_round_runs_every_cell_once() {
        for round in 0..20 {
            let mut order = order(57, 1, round);
            order.sort_unstable();
            assert_eq!(order, (0..57).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_seed_fixes_the_order_and_rounds_differ() {
        assert_eq!(order(50, 3, 2), order(50, 3, 2));
        assert_ne!(order(50, 3, 2), order(50, 3, 1));
        assert_ne!(order(50, 3, 2), order(50, 4, 2));
    }

    #[test]
    fn every_cell_comes_in_every_place() {
        let mut seen = [[false; 6]; 6];
        for round in 0..200 {
            for (place, cell) in order(6, 9, round).into_iter().enumerate() {
                seen[cell][place] = true;
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen), "{seen:?}");
    }

    #[test]
    fn without_names_everything_is_run() {
        let logs_of = |workload: &Workload| {
            KINDS.iter().filter(|kind| !kind.for_many_only || workload.work.has_many_waiting()).count()
        };
        assert_eq!(names(&[]).len(), WORKLOADS.iter().map(logs_of).sum::<usize>());
    }

    #[test]
    fn a_second_write_in_flight_is_measured_only_where_many_wait() {
        let names = names(&[]);
        assert!(names.contains(&("w4a", "raw-dio2")) && names.contains(&("w4p", "shortest-dio2")));
        assert!(!names.contains(&("w1-256", "raw-dio2")) && !names.contains(&("w5c", "shortest-dio2")));
    }

    #[test]
    fn a_log_is_never_run_without_its_references() {
        let names = names(&["w2", "duramen"]);
        assert!(names.contains(&("w2", "duramen")) && names.contains(&("w2", "raw-dio")));
        assert!(names.iter().all(|(workload, _)| workload.starts_with("w2")));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(cells(&["w9".to_owned()]).is_err());
    }
}
