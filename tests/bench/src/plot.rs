//! Bar charts of a run: for each workload how many times as long as the shortest honest log every log took, on a scale where
//! equal lengths are equal ratios.

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;
use std::path::Path;

/// Each becomes a file with the workloads whose names begin so.
const CHARTS: [(&str, &str, &[&str]); 5] = [
    ("durable", "Durable appends of one writer", &["w1", "w2"]),
    ("concurrency", "Many appends that wait at a time", &["w4", "groups"]),
    ("buffered", "Buffered appends", &["w5"]),
    ("reads", "Reading", &["w6"]),
    ("opening", "Opening and cutting", &["w7", "w8"]),
];

const WIDTH: u32 = 900;
const HEADER: u32 = 70;
const TITLE: i32 = 30;
const ROW: i32 = 20;
const GAP: i32 = 16;
/// Where names end, bars begin, and the longest bar ends; what a bar stands for is written behind it.
const NAMES_END: i32 = 180;
const BARS_BEGIN: i32 = 190;
const BARS_END: i32 = 800;
const FONT: &str = "sans-serif";

const SHORTEST: RGBColor = RGBColor(0x59, 0x8f, 0x8f);
const MEASURED: RGBColor = RGBColor(0xc0, 0x4f, 0x15);
const OTHERS: RGBColor = RGBColor(0xa0, 0xa8, 0xb4);

/// What of the results is drawn.
#[derive(Debug, Deserialize)]
struct Results {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    workload: String,
    title: String,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    log: String,
    figures: Option<Figures>,
}

#[derive(Debug, Deserialize)]
struct Figures {
    to_shortest: Option<Ratio>,
}

#[derive(Debug, Deserialize)]
struct Ratio {
    ratio: f64,
}

impl Group {
    /// Logs and how many times as long they took, those that were measured.
    fn bars(&self) -> Vec<(&str, f64)> {
        let ratio = |row: &Row| Some(row.figures.as_ref()?.to_shortest.as_ref()?.ratio);
        self.rows.iter().filter_map(|row| Some((row.log.as_str(), ratio(row)?))).collect()
    }
}

/// Draws from results.json, beside it.
pub(crate) fn draw(directory: &Path) -> Result<()> {
    let path = directory.join("results.json");
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let results: Results = serde_json::from_slice(&bytes)?;
    for (name, title, workloads) in CHARTS {
        let is_drawn = |group: &&Group| {
            workloads.iter().any(|begin| group.workload.starts_with(begin)) && !group.bars().is_empty()
        };
        let groups: Vec<&Group> = results.groups.iter().filter(is_drawn).collect();
        if !groups.is_empty() {
            let svg = chart(title, &groups)?;
            std::fs::write(directory.join(format!("{name}.svg")), svg)?;
        }
    }
    Ok(())
}

fn chart(title: &str, groups: &[&Group]) -> Result<String> {
    let panel = |group: &Group| TITLE + ROW * group.bars().len() as i32 + GAP;
    let height = HEADER + u32::try_from(groups.iter().map(|group| panel(group)).sum::<i32>())?;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        text(&area, title, (20, 24), 22, HPos::Left, BLACK)?;
        let legend = "times as long as the shortest honest log; logarithmic, shorter is faster";
        text(&area, legend, (20, 48), 13, HPos::Left, BLACK)?;
        let mut top = HEADER as i32;
        for group in groups {
            draw_panel(&area, group, top)?;
            top += panel(group);
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn text(area: &Area<'_>, said: &str, at: (i32, i32), size: u32, side: HPos, color: RGBColor) -> Result<()> {
    let style = (FONT, size).into_text_style(area).color(&color).pos(Pos::new(side, VPos::Center));
    Ok(area.draw(&Text::new(said, at, style))?)
}

fn draw_panel(area: &Area<'_>, group: &Group, top: i32) -> Result<()> {
    let said = format!("{}: {}", group.workload, group.title);
    text(area, &said, (20, top + TITLE / 2), 15, HPos::Left, BLACK)?;
    let bars = group.bars();
    let scale = Scale::of(bars.iter().map(|(_, ratio)| *ratio));
    let bottom = top + TITLE + ROW * bars.len() as i32;
    for (place, (log, ratio)) in (0..).zip(&bars) {
        let middle = top + TITLE + ROW * place + ROW / 2;
        let end = scale.place(*ratio);
        text(area, log, (NAMES_END, middle), 13, HPos::Right, BLACK)?;
        let corners = [(BARS_BEGIN, middle - ROW / 2 + 3), (end, middle + ROW / 2 - 3)];
        area.draw(&Rectangle::new(corners, color(log).filled()))?;
        text(area, &number(*ratio), (end + 6, middle), 13, HPos::Left, BLACK)?;
    }
    let one = scale.place(1.0);
    Ok(area.draw(&PathElement::new([(one, top + TITLE), (one, bottom)], BLACK.mix(0.5)))?)
}

fn color(log: &str) -> RGBColor {
    match log {
        "duramen" => MEASURED,
        _ if log.starts_with("shortest") => SHORTEST,
        _ => OTHERS,
    }
}

fn number(ratio: f64) -> String {
    match ratio {
        100.0.. => format!("{ratio:.0}"),
        10.0.. => format!("{ratio:.1}"),
        0.1.. => format!("{ratio:.2}"),
        _ => format!("{ratio:.3}"),
    }
}

/// From ratios to places, so that the lowest has a bar that can be seen.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(ratios: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = ratios.fold((1.0, 1.0), |(low, high): (f64, f64), ratio| (low.min(ratio), high.max(ratio)));
        Scale { low: low / 1.5, high: high * 1.1 }
    }

    fn place(&self, ratio: f64) -> i32 {
        let part = (ratio / self.low).ln() / (self.high / self.low).ln();
        BARS_BEGIN + (part * f64::from(BARS_END - BARS_BEGIN)) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(ratio: f64) -> String {
        format!(
            r#"{{"groups": [{{"workload": "w2", "title": "many", "rows": [
                {{"log": "shortest-dio", "figures": {{"to_shortest": {{"ratio": 1.0}}}}}},
                {{"log": "duramen", "figures": {{"to_shortest": {{"ratio": {ratio}}}}}}},
                {{"log": "failed", "figures": null}}]}}]}}"#
        )
    }

    #[test]
    fn a_chart_has_a_bar_for_each_log_that_was_measured() -> Result<()> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("results.json"), results(12.34))?;
        draw(directory.path())?;
        let svg = std::fs::read_to_string(directory.path().join("durable.svg"))?;
        assert!(svg.contains("duramen") && svg.contains("12.3") && !svg.contains("failed"));
        assert!(!directory.path().join("reads.svg").exists(), "there is nothing to draw");
        Ok(())
    }

    #[test]
    fn equal_ratios_are_equal_lengths_within_the_chart() {
        let scale = Scale::of([0.25, 1.0, 4.0].into_iter());
        let places = [0.25, 1.0, 4.0].map(|ratio| scale.place(ratio));
        assert!(places[0] > BARS_BEGIN && places[2] < BARS_END);
        assert!((places[1] - places[0] - (places[2] - places[1])).abs() <= 1, "{places:?}");
    }
}
