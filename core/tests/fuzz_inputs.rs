//! Every input that the fuzz targets start from, those that fuzzing led to, and every one that once broke a promise, fed to the
//! same functions.
//!
//! `DURAMEN_SEEDS=write cargo test -p duramen --test fuzz_inputs` writes `core/fuzz/seeds` anew from real structures.

use duramen::fuzzing::{TARGETS, seeds};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(of: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(of).join(target)
}

/// The files of a folder, sorted; a folder that is missing has none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(items) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = items.map(|item| item.expect("a folder can be read to its end").path()).collect();
    files.sort();
    files
}

#[test]
fn no_seed_and_no_regression_breaks_a_promise() {
    if env::var("DURAMEN_SEEDS").is_ok_and(|value| value == "write") {
        write_seeds();
    }
    for (target, run) in TARGETS {
        let seeds = files(&folder("seeds", target));
        assert!(seeds.len() > 2, "{target} has {} seeds: this would show nothing", seeds.len());
        let more = ["found", "regressions"].map(|of| files(&folder(of, target)));
        for file in seeds.into_iter().chain(more.into_iter().flatten()) {
            println!("{}", file.display());
            run(&fs::read(&file).expect("an input can be read"));
        }
    }
}

#[test]
fn the_seeds_of_today_break_no_promise() {
    for (target, name, bytes) in seeds() {
        let (_, run) = TARGETS.iter().find(|(known, _)| *known == target).expect("a seed is one of a target");
        println!("{target} {name}");
        run(&bytes);
    }
}

fn write_seeds() {
    for (target, _) in TARGETS {
        for file in files(&folder("seeds", target)) {
            fs::remove_file(file).expect("a seed can be replaced");
        }
        fs::create_dir_all(folder("seeds", target)).expect("a folder");
    }
    for (target, name, bytes) in seeds() {
        fs::write(folder("seeds", target).join(name), bytes).expect("room for a seed");
    }
}
