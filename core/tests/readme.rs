//! What README.md must show: the two commands, an example of at most ten lines, and what works today. The example
//! itself is compiled and run as a documentation test of the crate.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn readme_opens_with_what_it_is_and_the_two_commands() {
    let readme = read("README.md");
    let opening = before(&readme, "\n## ");
    assert!(opening.starts_with("# duramen\n\nduramen is "), "README.md does not open with what duramen is");
    let commands = first_block(opening, "sh").expect("README.md shows commands before its first section");
    for command in ["make demo", "make test"] {
        assert!(commands.lines().any(|line| line.starts_with(command)), "README.md does not show `{command}`");
    }
}

#[test]
fn readme_has_a_rust_example_of_at_most_ten_lines() {
    let readme = read("README.md");
    let example = first_block(section(&readme, "Rust"), "rust").expect("README.md has a Rust example");
    let count = lines_to_read(example);
    assert!((1..=10).contains(&count), "the Rust example has {count} lines:\n{example}");
    assert!(example.contains("duramen::"), "the Rust example does not use duramen:\n{example}");
}

#[test]
fn readme_says_what_works_today_and_what_does_not() {
    let readme = read("README.md");
    let section = section(&readme, "What works today");
    let rows = table_rows(section);
    let cells: Vec<&str> = rows.iter().flat_map(|row| row[1..].iter().map(|cell| cell.trim())).collect();
    assert!(rows.iter().all(|row| row.len() == 6), "a row does not tell of five languages: {rows:?}");
    assert!(cells.iter().all(|cell| ["yes", "not yet", "–"].contains(cell)), "a cell says neither: {rows:?}");
    assert!(cells.contains(&"yes") && cells.contains(&"not yet"), "the table does not tell the two apart: {rows:?}");
    assert!(section.contains("Not yet, in any language"), "the section does not say what no language has");
}

#[test]
fn readme_names_only_make_targets_that_exist() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    let targets = make_targets(&readme);
    assert!(!targets.is_empty(), "README.md names no make target");
    for target in targets {
        let rule = format!("{target}:");
        assert!(makefile.lines().any(|line| line.starts_with(&rule)), "README.md names `make {target}`");
    }
}

fn read(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the repository").into();
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn before<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or(text, |(before, _)| before)
}

/// The text between a heading of the second level and the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) =
        text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("README.md has no section `{heading}`"));
    before(rest, "\n## ")
}

/// The first block of code in `language`.
fn first_block<'a>(text: &'a str, language: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("```{language}\n"))?;
    Some(before(rest, "```"))
}

/// Lines that a reader sees: neither empty nor hidden by rustdoc's `# `.
fn lines_to_read(example: &str) -> usize {
    example.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("# ")).count()
}

/// The cells of each row of the tables in `text`, without the heading of a table and its rule.
fn table_rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The targets of `make target` in code.
fn make_targets(text: &str) -> Vec<&str> {
    let calls = text.split(['`', '\n']).filter_map(|code| code.strip_prefix("make "));
    calls.filter_map(|call| call.split_whitespace().next()).collect()
}

#[test]
fn readers_of_the_readme_see_what_is_there() {
    let text = "# x\n\n## Rust\n\n```rust\n# hidden\nfn a() {}\n\nfn b() {}\n```\n\n## Next\n| a | b |\n|---|---|\n| c | yes |\n";
    let example = first_block(section(text, "Rust"), "rust").unwrap();
    assert_eq!(lines_to_read(example), 2);
    assert_eq!(first_block(section(text, "Next"), "rust"), None);
    assert_eq!(table_rows(section(text, "Next")), [["c", "yes"]]);
    assert_eq!(make_targets("`make demo` and\nmake test # x\nto make nothing"), ["demo", "test"]);
}
