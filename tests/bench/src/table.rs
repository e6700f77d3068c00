//! The report as a table: Markdown, and text with aligned columns.

use crate::report::{Conditions, Figures, Group, Ratio, Report, Row};
use crate::statistics::Interval;
use std::fmt::Write;

const COLUMNS: [&str; 11] = [
    "log",
    "time",
    "95 %",
    "a second",
    "x raw",
    "x shortest",
    "p99",
    "flushes: own / device",
    "writes: own / device",
    "bytes: device / process",
    "memory",
];
const NOTHING: &str = "–";
const UNKNOWN: &str = "unknown";

pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::from("# Measurements\n\n");
    for line in introduction(&report.conditions) {
        let _ = writeln!(text, "{line}\n");
    }
    for group in &report.groups {
        let _ = writeln!(text, "## {}: {}, for one {}\n", group.workload, group.title, group.unit);
        let _ = writeln!(text, "| {} |", COLUMNS.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(COLUMNS.len()));
        for row in &group.rows {
            let _ = writeln!(text, "| {} |", cells(row).join(" | "));
        }
        text.push('\n');
        let remarks: String = remarks(group).iter().map(|remark| format!("- {remark}\n")).collect();
        if !remarks.is_empty() {
            let _ = writeln!(text, "{remarks}");
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

pub(crate) fn aligned(report: &Report) -> String {
    let mut text = introduction(&report.conditions).join("\n") + "\n";
    let rows: Vec<[String; COLUMNS.len()]> = report.groups.iter().flat_map(|group| &group.rows).map(cells).collect();
    let header = COLUMNS.map(str::to_owned);
    let width = |column: usize| {
        let all = rows.iter().chain([&header]);
        all.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
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

/// Names to the left, numbers to the right.
fn line(cells: &[String; COLUMNS.len()], widths: &[usize]) -> String {
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
    let Figures { seconds_per_unit, interval, p99_seconds, to_raw, to_shortest, .. } = figures;
    [
        row.log.to_owned(),
        time(*seconds_per_unit),
        interval.map_or(NOTHING.to_owned(), |interval| shown_interval(interval, time)),
        rate(1.0 / seconds_per_unit),
        to_raw.as_ref().map_or(NOTHING.to_owned(), shown_ratio),
        to_shortest.as_ref().map_or(NOTHING.to_owned(), shown_ratio),
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
    use crate::report::tests::report;

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
    fn unknown_counts_are_called_so() {
        assert_eq!(both(Some(1.0), None), "1.00 / unknown");
    }
}
