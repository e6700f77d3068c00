//! The report as tables, the goals first: Markdown, and text with aligned columns.

use crate::goals::{Against, Compared, Verdict, not_judged};
use crate::report::{Conditions, Figures, Group, Report, Row};
use crate::rounds::Ratio;
use crate::statistics::Interval;
use std::fmt::Write;

const COLUMNS: [&str; 12] = [
    "log",
    "time",
    "95 %",
    "a second",
    "x raw",
    "x shortest",
    "x best peer",
    "p99",
    "flushes: own / device",
    "writes: own / device",
    "bytes: device / process",
    "memory",
];
const GOAL_COLUMNS: [&str; 8] =
    ["goal", "log", "time", "compared", "95 %", "bound", "met", "raw writes of the same blocks"];
const NOTHING: &str = "–";
const UNKNOWN: &str = "unknown";

pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::from("# Measurements\n\n");
    for line in introduction(&report.conditions) {
        let _ = writeln!(text, "{line}\n");
    }
    if !report.verdicts.is_empty() {
        text.push_str("## Goals\n\n");
        let rows: Vec<_> = report.verdicts.iter().map(verdict_cells).collect();
        markdown_table(&mut text, &GOAL_COLUMNS, &rows, &notes_on_goals(&report.verdicts));
    }
    for group in &report.groups {
        let _ = writeln!(text, "## {}: {}, for one {}\n", group.workload, group.title, group.unit);
        let rows: Vec<_> = group.rows.iter().map(cells).collect();
        markdown_table(&mut text, &COLUMNS, &rows, &remarks(group));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn markdown_table<const N: usize>(text: &mut String, header: &[&str; N], rows: &[[String; N]], remarks: &[String]) {
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
    let remarks: String = remarks.iter().map(|remark| format!("- {remark}\n")).collect();
    if !remarks.is_empty() {
        let _ = writeln!(text, "{remarks}");
    }
}

pub(crate) fn aligned(report: &Report) -> String {
    let mut text = introduction(&report.conditions).join("\n") + "\n";
    if !report.verdicts.is_empty() {
        text.push_str("\nGoals\n");
        let header = GOAL_COLUMNS.map(str::to_owned);
        let rows: Vec<_> = report.verdicts.iter().map(verdict_cells).collect();
        let widths = widths(&header, &rows);
        text.push_str(&line(&header, &widths));
        rows.iter().for_each(|row| text.push_str(&line(row, &widths)));
        for note in notes_on_goals(&report.verdicts) {
            let _ = writeln!(text, "  ! {note}");
        }
    }
    let rows: Vec<_> = report.groups.iter().flat_map(|group| &group.rows).map(cells).collect();
    let header = COLUMNS.map(str::to_owned);
    let widths = widths(&header, &rows);
    for group in &report.groups {
        let _ = writeln!(text, "\n{}: {}, for one {}", group.workload, group.title, group.unit);
        text.push_str(&line(&header, &widths));
        for row in &group.rows {
            text.push_str(&line(&cells(row), &widths));
        }
        for remark in remarks(group) {
            let _ = writeln!(text, "  ! {remark}");
        }
    }
    text
}

fn widths<const N: usize>(header: &[String; N], rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let all = rows.iter().chain([header]);
        all.map(|row| row[column].chars().count()).max().unwrap_or(0)
    })
}

/// Names to the left, numbers to the right.
fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::from("  ");
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let _ = match place {
            0 => write!(line, "{cell:<width$}"),
            _ => write!(line, "  {cell:>width$}"),
        };
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn introduction(conditions: &Conditions) -> Vec<String> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let load = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| format!("{value:.1}"));
    let flushes = match conditions.device_counts_flushes {
        Some(true) => "",
        Some(false) => "; the device's flushes are not counted",
        None => "; whether the device's flushes are counted is unknown",
    };
    let interval = match conditions.rounds {
        ..6 => "(low-high) is the range of the rounds: fewer than 6 give no interval.",
        _ => "[low, high] is the interval of 95 %.",
    };
    vec![
        format!(
            "Scale {}, {} rounds, seed {}, segments of {} MiB, {:.0} s in all; load {} before and {} after on {} processors.",
            conditions.scale,
            conditions.rounds,
            conditions.seed,
            conditions.segment_bytes >> 20,
            conditions.seconds,
            load(conditions.load_before),
            load(conditions.load_after),
            conditions.processors.map_or(UNKNOWN.to_owned(), |count| count.to_string()),
        ),
        format!(
            "Device {}, {}{flushes}. The device's counts are of all who use it meanwhile.",
            known(&conditions.device),
            known(&conditions.file_system),
        ),
        format!("Times are medians of the rounds, lower is better; {interval}"),
    ]
}

fn verdict_cells(verdict: &Verdict) -> [String; GOAL_COLUMNS.len()] {
    let Verdict { goal, log, seconds_per_unit, figure, raw, .. } = verdict;
    let nothing = || NOTHING.to_owned();
    let missed = figure.as_ref().is_some_and(|figure| !figure.met);
    [
        goal.text.to_owned(),
        (*log).to_owned(),
        seconds_per_unit.map_or_else(nothing, time),
        figure.as_ref().map_or_else(nothing, |figure| shown_figure(goal.against, figure)),
        figure
            .as_ref()
            .and_then(|figure| figure.interval)
            .map_or_else(nothing, |interval| shown_interval(interval, |value| shown_value(goal.against, value))),
        shown_value(goal.against, goal.bound),
        figure.as_ref().map_or("not measured".to_owned(), |figure| shown_met(figure, verdict.raw_varied)),
        raw.as_ref().filter(|_| missed).map_or_else(nothing, |raw| {
            let said = if raw.met { "meet it" } else { "miss it, too" };
            format!("{said}: {}", shown_value(goal.against, raw.value))
        }),
    ]
}

fn shown_value(against: Against, value: f64) -> String {
    match against {
        Against::Raw | Against::RawAndMemory | Against::Shortest | Against::Peer | Against::IndexedPeer => {
            format!("{value:.2}")
        }
        Against::Seconds => time(value),
        Against::BytesPerEntry => format!("{value:.1} B"),
    }
}

fn shown_figure(against: Against, figure: &Compared) -> String {
    let value = shown_value(against, figure.value);
    match (against, figure.reference) {
        (Against::RawAndMemory, Some(reference)) => format!("{value} x ({reference} + copy + checksum)"),
        (_, Some(reference)) => format!("{value} x {reference}"),
        (_, None) => value,
    }
}

fn shown_met(figure: &Compared, raw_varied: Option<f64>) -> String {
    let met = if figure.met { "yes" } else { "no" };
    match raw_varied {
        Some(spread) => format!("{met}, but the raw limit varied {spread:.1} x"),
        None if figure.open => format!("{met}, but not for sure"),
        None => met.to_owned(),
    }
}

fn notes_on_goals(verdicts: &[Verdict]) -> Vec<String> {
    let with_cost = verdicts.iter().filter_map(|verdict| Some((verdict.goal.workload, verdict.memory_cost?)));
    let costs = with_cost.map(|(workload, cost)| {
        format!(
            "{workload}: a copy takes {} and a checksum {} in warm memory, {} and {} in cold memory ({} and {} together). The \
             bound counts warm memory, because the entries that are appended are warm: they come from the same bytes again \
             and again",
            time(cost.copy_warm),
            time(cost.checksum_warm),
            time(cost.copy_cold),
            time(cost.checksum_cold),
            time(cost.warm()),
            time(cost.cold()),
        )
    });
    costs.chain(not_judged().map(|goal| format!("not judged: {goal}"))).collect()
}

fn remarks(group: &Group) -> Vec<String> {
    let varied = group.raw_varied.map(|spread| {
        format!("the raw limit itself varied {spread:.1} x between rounds: no figure of this workload can be trusted")
    });
    let of_rows = group.rows.iter().flat_map(|row| row.remarks.iter().map(move |said| format!("{}: {said}", row.log)));
    varied.into_iter().chain(of_rows).collect()
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let Some(figures) = &row.figures else {
        let mut cells = COLUMNS.map(|_| NOTHING.to_owned());
        cells[0] = row.log.to_owned();
        return cells;
    };
    let Figures { seconds_per_unit, interval, p99_seconds, to_raw, to_shortest, to_peer, .. } = figures;
    [
        row.log.to_owned(),
        time(*seconds_per_unit),
        interval.map_or(NOTHING.to_owned(), |interval| shown_interval(interval, time)),
        rate(1.0 / seconds_per_unit),
        to_raw.as_ref().map_or(NOTHING.to_owned(), shown_ratio),
        to_shortest.as_ref().map_or(NOTHING.to_owned(), shown_ratio),
        to_peer.as_ref().map_or(NOTHING.to_owned(), shown_ratio_to),
        p99_seconds.map_or(NOTHING.to_owned(), time),
        both(figures.flushes_per_unit, figures.device_flushes_per_unit),
        both(figures.writes_per_unit, figures.device_writes_per_unit),
        match figures.process_bytes_per_payload_byte.or(figures.device_bytes_per_payload_byte) {
            Some(_) => both(figures.device_bytes_per_payload_byte, figures.process_bytes_per_payload_byte),
            None => NOTHING.to_owned(),
        },
        figures.memory_bytes_per_entry.map_or(NOTHING.to_owned(), |bytes| format!("{bytes:.1} B")),
    ]
}

fn both(own: Option<f64>, device: Option<f64>) -> String {
    let known = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), number);
    format!("{} / {}", known(own), known(device))
}

fn shown_ratio(ratio: &Ratio) -> String {
    let interval = ratio.interval.map(|interval| shown_interval(interval, |value| format!("{value:.2}")));
    format!("{:.2} {}", ratio.ratio, interval.unwrap_or_default()).trim_end().to_owned()
}

/// With the name of what it is a ratio to.
fn shown_ratio_to(ratio: &Ratio) -> String {
    format!("{} {}", shown_ratio(ratio), ratio.reference)
}

fn shown_interval(interval: Interval, show: impl Fn(f64) -> String) -> String {
    match interval {
        Interval::Confident { low, high } => format!("[{}, {}]", show(low), show(high)),
        Interval::Range { low, high } => format!("({}-{})", show(low), show(high)),
    }
}

fn time(seconds: f64) -> String {
    let (factor, unit) = match seconds {
        ..1e-6 => (1e9, "ns"),
        1e-6..1e-3 => (1e6, "µs"),
        1e-3..1.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    format!("{} {unit}", number(seconds * factor))
}

fn rate(per_second: f64) -> String {
    let (factor, unit) = match per_second {
        1e6.. => (1e-6, " M"),
        1e3..1e6 => (1e-3, " k"),
        _ => (1.0, ""),
    };
    format!("{}{unit}", number(per_second * factor))
}

/// About three digits.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        0.1..10.0 => format!("{value:.2}"),
        0.001..0.1 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{measured_as, report, report_of};

    #[test]
    fn numbers_have_about_three_digits_and_a_unit() {
        assert_eq!(time(42.3e-6), "42.3 µs");
        assert_eq!(time(0.000_000_2), "200 ns");
        assert_eq!(time(1.5), "1.50 s");
        assert_eq!(rate(1_820_000.0), "1.82 M");
        assert_eq!(rate(25_500.0), "25.5 k");
        assert_eq!(number(0.0156), "0.0156");
        assert_eq!(number(0.0001), "1.0e-4");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn a_range_cannot_be_taken_for_an_interval() {
        assert_eq!(shown_interval(Interval::Confident { low: 1.0, high: 2.0 }, number), "[1.00, 2.00]");
        assert_eq!(shown_interval(Interval::Range { low: 1.0, high: 2.0 }, number), "(1.00-2.00)");
    }

    #[test]
    fn a_disk_that_varies_is_said_in_both_tables() {
        let report = report(&[1.0, 3.0, 1.0], Vec::new());
        assert!(markdown(&report).contains("varied 3.0 x"));
        assert!(aligned(&report).contains("varied 3.0 x"));
    }

    #[test]
    fn a_log_without_figures_keeps_its_row() {
        let report = report(&[1.0; 3], Vec::new());
        assert!(
            aligned(&report).lines().any(|line| line.trim_start().starts_with("duramen") && line.contains(NOTHING))
        );
        assert_eq!(markdown(&report).lines().filter(|line| line.starts_with("| duramen |")).count(), 1);
    }

    #[test]
    fn goals_come_first_and_say_what_the_raw_writes_reached() {
        let through_the_cache = |seconds| vec![measured_as(seconds, |measured| measured.direct = false)];
        let raw = vec![measured_as(1.0, |_| ())];
        let logs = vec![("raw-dio", raw), ("raw-buf", through_the_cache(1.5)), ("duramen", through_the_cache(1.6))];
        let report = report_of("w1-256", logs);
        for text in [markdown(&report), aligned(&report)] {
            let (goals, workloads) = text.split_once("one writer, 256 B").expect("the workload has a title");
            assert!(goals.contains("1.60 x raw-dio") && goals.contains("miss it, too: 1.50"), "{goals}");
            assert!(!workloads.contains("miss it"));
        }
    }

    #[test]
    fn a_goal_is_not_met_for_sure_on_a_disk_that_varies() {
        let report = report(&[1.0, 3.0, 1.0], vec![measured_as(1.0, |_| ())]);
        assert!(markdown(&report).contains("| yes, but the raw limit varied 3.0 x |"));
    }

    #[test]
    fn a_goal_without_a_figure_keeps_its_row() {
        let report = report(&[1.0; 3], Vec::new());
        assert!(
            markdown(&report)
                .lines()
                .any(|line| line.starts_with("| one durable append") && line.contains("not measured"))
        );
    }

    #[test]
    fn unknown_counts_are_called_so() {
        assert_eq!(both(Some(1.0), None), "1.00 / unknown");
    }
}
