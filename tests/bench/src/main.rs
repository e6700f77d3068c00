//! `duramen-bench`: measures duramen against what the disk can do and against the shortest honest log.

mod aligned;
mod cell;
mod device;
mod file;
mod goals;
mod log;
mod memory;
mod payload;
mod plan;
mod plot;
mod report;
mod rounds;
mod run;
mod statistics;
mod table;
mod workload;

use anyhow::{Context, Result};
use cell::CellArgs;
use clap::{Parser, Subcommand};
use report::{Conditions, Report};
use std::path::PathBuf;
use std::process::ExitCode;
use workload::Scale;

/// Measures duramen against what the disk can do and against the shortest honest log.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    process: Option<Process>,
    /// How often each cell is run; 6 or more give 95 % intervals.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Workloads and logs to run, or how their names begin; the references always run.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the logs are put while they are measured; removed afterwards.
    #[arg(long, default_value = "target/bench/data")]
    dir: PathBuf,
    /// Where results.json, table.md, table.txt and the charts go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Small segments and short runs: shows that everything works, and rough ratios.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Longer runs, and four million entries where a log is opened.
    #[arg(long)]
    full: bool,
    /// Of the order of the cells.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints the names of the workloads and logs, and does nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Subcommand)]
enum Process {
    /// One cell, in this process.
    #[command(hide = true)]
    Cell(CellArgs),
    /// Draws the charts anew from results.json.
    Plot {
        /// Where results.json is, and the charts go.
        #[arg(long, default_value = "target/bench")]
        out: PathBuf,
    },
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.process {
        Some(Process::Cell(cell)) => cell::main(cell).map(|()| ExitCode::SUCCESS),
        Some(Process::Plot { out }) => plot::draw(out).map(|()| ExitCode::SUCCESS),
        None if args.list => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        None => measure(&args),
    }
}

fn list() {
    for workload in workload::WORKLOADS {
        println!("{:<12} {}", workload.name, workload.title);
    }
    println!("logs: {}", log::KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", "));
}

fn measure(args: &Args) -> Result<ExitCode> {
    let scale = match (args.quick, args.full) {
        (true, _) => Scale::Quick,
        (_, true) => Scale::Full,
        _ => Scale::Normal,
    };
    let cells = plan::cells(&args.only)?;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("make {}", args.dir.display()))?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    // A folder of its own, so that nothing is removed that was there before.
    let directory = args.dir.join(format!("cell-{}", std::process::id()));
    let mut conditions = Conditions::of(&args.dir, scale, args.rounds, args.seed)?;
    let samples = run::run(&cells, args.rounds, args.seed, scale, &directory)?;
    conditions.end();
    let report = Report::new(conditions, &cells, samples);
    std::fs::write(args.out.join("results.json"), serde_json::to_vec_pretty(&report)?)?;
    std::fs::write(args.out.join("table.md"), table::markdown(&report))?;
    let text = table::aligned(&report);
    std::fs::write(args.out.join("table.txt"), &text)?;
    print!("{text}");
    plot::draw(&args.out)?;
    Ok(if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
