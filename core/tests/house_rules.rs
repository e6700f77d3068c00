//! Rules of the house that no compiler checks, read from the source tree:
//!
//! - who may import whom inside the crate, and that only `io` calls the operating system
//! - unsafe code is forbidden in every file but `io/sys.rs`, and in ffi stands in `guard.rs` only
//! - every file says at its top what it owns
//! - no tracked file names a place on somebody's machine, or work that was put off
//! - there is one version number
//! - links between the documents lead somewhere
//!
//! Each rule is a function from text to findings, so that the tests at the end can show it a bad text and see it fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Plain values that every module may use, and that use nothing but each other.
const PLAIN: &[&str] = &["error", "entry", "position", "planted", "number"];

/// Who may import whom: a module of the crate, and what it may name besides [`PLAIN`] and itself. A module that is not
/// there yet is no error; a module that is missing here is one.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("entry", &[]),
    ("position", &[]),
    ("planted", &[]),
    ("number", &[]),
    // Knows files, not logs.
    ("io", &[]),
    // Names the disk to use.
    ("options", &["io"]),
    // Knows bytes, not files.
    ("format", &["options"]),
    // Know positions and values, not bytes.
    ("index", &["options"]),
    ("state", &["options", "index"]),
    // From bytes to values, without files.
    ("places", &["format", "index"]),
    ("replay", &["options", "format", "places", "index", "state"]),
    // Entries in the bytes that they were read in, or in the memory from which they went to the disk.
    ("page", &["format", "io"]),
    ("segment", &["options", "format", "io"]),
    ("commit", &["options", "segment", "format", "io"]),
    ("recovery", &["options", "segment", "format", "replay", "places", "index", "state", "io"]),
    ("snapshot", &["options", "segment", "format", "replay", "index", "state", "io"]),
    ("maintain", &["options", "segment", "format", "replay", "index", "state", "io"]),
    ("backup", &["options", "segment", "format", "replay", "index", "state", "io"]),
    ("inspect", &["options", "segment", "format", "replay", "index", "state", "io"]),
    ("registry", &["options", "io"]),
    // The door of the fuzz targets, which open whole stores.
    ("fuzzing", &[EVERYTHING]),
    ("store", &[EVERYTHING]),
    ("log", &[EVERYTHING]),
    ("lib", &[EVERYTHING]),
];

const EVERYTHING: &str = "*";

/// The only file that may contain unsafe code. Its parents deny instead of forbidding, because what a parent forbids
/// no child may allow.
const UNSAFE_FILE: &str = "io/sys.rs";
const PARENTS_OF_UNSAFE: &[&str] = &["lib.rs", "io/mod.rs"];

/// The only file of ffi with unsafe code. The others cannot forbid it, because an exported function carries an attribute
/// that counts as unsafe; see `ffi/src/lib.rs`.
const UNSAFE_FILE_OF_FFI: &str = "guard.rs";

/// Every place that states the version, with how to find it there. `Cargo.toml` files are found by themselves.
const VERSIONS: &[(&str, FindVersion)] = &[
    ("CHANGELOG.md", newest_version_of_changelog),
    ("include/duramen.h", version_of_header),
    ("bindings/go/doc.go", version_of_go),
    ("bindings/elixir/mix.exs", version_of_mix_project),
];

/// Places that must take the version from the `Cargo.toml` beside them, and state none.
const VERSIONS_TAKEN: &[&str] = &["bindings/python/pyproject.toml"];

type FindVersion = fn(&str) -> Option<String>;

// ------------------------------------------------------------------------------------------------------- the tests

#[test]
fn modules_import_only_what_the_table_allows() {
    no_findings(source_files().iter().flat_map(|(path, text)| forbidden_imports(path, text)));
}

#[test]
fn only_io_calls_the_operating_system() {
    no_findings(source_files().iter().flat_map(|(path, text)| system_calls(path, text)));
}

#[test]
fn unsafe_code_is_forbidden_in_every_file_but_one() {
    no_findings(source_files().iter().filter_map(|(path, text)| missing_unsafe_lint(path, text)));
}

#[test]
fn unsafe_code_of_ffi_stands_in_one_file() {
    let files = rust_files("ffi/src");
    assert!(files.iter().any(|(path, _)| path == UNSAFE_FILE_OF_FFI), "ffi/src has no {UNSAFE_FILE_OF_FFI}");
    no_findings(files.iter().flat_map(|(path, text)| unsafe_outside_guard(path, text)));
    no_findings(files.iter().filter_map(|(path, text)| missing_opening_comment(path, text)));
}

#[test]
fn every_file_opens_with_what_it_owns() {
    no_findings(source_files().iter().filter_map(|(path, text)| missing_opening_comment(path, text)));
}

#[test]
fn no_file_names_a_machine_or_work_put_off() {
    let files = text_files();
    assert!(files.len() > 10, "only {} text files found: the rule would hold for nothing", files.len());
    no_findings(files.iter().flat_map(|(path, text)| forbidden_words(path, text)));
}

#[test]
fn one_version_everywhere() {
    let workspace = read("Cargo.toml");
    let version = section(&workspace, "workspace.package")
        .find_map(|line| value_of(line, "version"))
        .expect("Cargo.toml has a version under [workspace.package]");
    let manifests = files_of_repository().into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let in_manifests = manifests.flat_map(|path| other_versions(&path, &read(&path), &version));
    let elsewhere = VERSIONS.iter().filter_map(|(path, find)| match find(&read(path)) {
        Some(found) if found == version => None,
        Some(found) => Some(format!("{path}: has version {found}, the workspace has {version}")),
        None => Some(format!("{path}: names no version, the workspace has {version}")),
    });
    let taken = VERSIONS_TAKEN.iter().filter_map(|path| version_not_taken(path, &read(path)));
    no_findings(in_manifests.chain(elsewhere).chain(taken));
}

#[test]
fn links_between_documents_lead_to_files() {
    let documents = files_of_repository()
        .into_iter()
        .filter(|path| path.ends_with(".md") && matches!(path.rsplit_once('/'), None | Some(("core", _))));
    let mut findings = Vec::new();
    for path in documents {
        let folder = root().join(&path).parent().expect("a file lies in a folder").to_owned();
        for target in relative_links(&read(&path)) {
            if !folder.join(&target).exists() {
                findings.push(format!("{path}: links to {target}, which does not exist"));
            }
        }
    }
    no_findings(findings);
}

fn no_findings(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

// ------------------------------------------------------------------------------------------------------- the rules

/// What the file `path` (relative to `core/src`) imports and may not.
fn forbidden_imports(path: &str, text: &str) -> Vec<String> {
    let own = module_of(path);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == own) else {
        return vec![format!("{path}: module {own} is not in the table MAY_IMPORT of this test; add a row")];
    };
    if allowed.contains(&EVERYTHING) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, name) in names_of_crate_root(path, &without_tests(tokens(text))) {
        let name = name.as_str();
        if name == own || PLAIN.contains(&name) || allowed.contains(&name) {
            continue;
        }
        findings.push(if MAY_IMPORT.iter().any(|(module, _)| *module == name) {
            format!("{path}:{line}: {own} may not import {name}")
        } else {
            format!("{path}:{line}: {own} names crate::{name}, which is no module; name it where it is defined")
        });
    }
    findings
}

/// Where a file outside `io` names the parts of `std` that touch the disk, or `libc`.
fn system_calls(path: &str, text: &str) -> Vec<String> {
    if module_of(path) == "io" {
        return Vec::new();
    }
    let tokens = without_tests(tokens(text));
    let mut findings = Vec::new();
    for at in 0..tokens.len() {
        let found = match tokens[at].text.as_str() {
            "libc" => vec![(tokens[at].line, "libc".to_owned())],
            "std" if is_step(&tokens, at, "std") => names_at(&tokens, at + 3),
            _ => continue,
        };
        for (line, name) in found.into_iter().filter(|(_, name)| ["libc", "fs", "os"].contains(&name.as_str())) {
            findings.push(format!("{path}:{line}: names {name}; only io calls the operating system"));
        }
    }
    findings
}

/// What is missing where unsafe code would be accepted and should not be.
fn missing_unsafe_lint(path: &str, text: &str) -> Option<String> {
    if path == UNSAFE_FILE {
        return None;
    }
    let tokens = tokens(text);
    let has = |level: &str| {
        let attribute = ["#", "!", "[", level, "(", "unsafe_code", ")", "]"];
        tokens.windows(attribute.len()).any(|window| window.iter().map(|token| &token.text).eq(attribute))
    };
    let level = if PARENTS_OF_UNSAFE.contains(&path) { "deny" } else { "forbid" };
    (!has(level)).then(|| format!("{path}: does not contain #![{level}(unsafe_code)]"))
}

/// Where a file of ffi uses the word `unsafe` for more than the attribute of an exported function.
fn unsafe_outside_guard(path: &str, text: &str) -> Vec<String> {
    if path == UNSAFE_FILE_OF_FFI {
        return Vec::new();
    }
    let tokens = tokens(text);
    let is_attribute = |at: usize| {
        let around = tokens[at.saturating_sub(2)..].iter().take(7).map(|token| token.text.as_str());
        around.eq(["#", "[", "unsafe", "(", "no_mangle", ")", "]"])
    };
    let found = tokens.iter().enumerate().filter(|(at, token)| token.text == "unsafe" && !is_attribute(*at));
    found.map(|(_, token)| format!("{path}:{}: unsafe code outside {UNSAFE_FILE_OF_FFI}", token.line)).collect()
}

fn missing_opening_comment(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//! ")).then(|| format!("{path}: does not open with a //! comment that says what it owns"))
}

/// Words that no tracked file may contain. They are put together here, so that this file does not contain them.
fn forbidden_words(path: &str, text: &str) -> Vec<String> {
    let folders = ["work", "root"].map(|folder| format!("/{folder}/"));
    let put_off = [["TO", "DO"], ["FIX", "ME"]].map(|halves| halves.concat());
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let folder = folders.iter().find(|folder| line.contains(folder.as_str()));
        let word = put_off.iter().find(|word| line.split(|c: char| !is_word(c)).any(|found| found == word.as_str()));
        findings.extend(folder.or(word).map(|found| format!("{path}:{number}: contains {found}")));
    }
    findings
}

/// Versions in a `Cargo.toml` that are not `version`: the package's own, and those asked of crates of this repository.
fn other_versions(path: &str, manifest: &str, version: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let is_package = section(manifest, "package").next().is_some();
    let inherits = section(manifest, "package").any(|line| line.replace(' ', "") == "version.workspace=true");
    let own = section(manifest, "package").find_map(|line| value_of(line, "version"));
    if is_package && !inherits && own.as_deref() != Some(version) {
        let own = own.unwrap_or_else(|| "none".into());
        findings.push(format!("{path}: has version {own}, the workspace has {version}"));
    }
    for line in manifest.lines().filter(|line| line.contains("path = \"")) {
        let asked = line.split_once("version = \"").and_then(|(_, rest)| rest.split_once('"'));
        if let Some((asked, _)) = asked
            && asked.trim_start_matches('=') != version
        {
            findings.push(format!("{path}: asks for version {asked} of a crate of this repository: {line}"));
        }
    }
    findings
}

/// Where a `pyproject.toml` does not leave the version to the build tool, which reads it from `Cargo.toml`.
fn version_not_taken(path: &str, project: &str) -> Option<String> {
    let own = section(project, "project").find_map(|line| value_of(line, "version"));
    let is_dynamic = section(project, "project").any(|line| line.replace(' ', "") == "dynamic=[\"version\"]");
    match own {
        Some(own) => Some(format!("{path}: has version {own}, it must take that of Cargo.toml")),
        None if !is_dynamic => Some(format!("{path}: does not take the version of Cargo.toml")),
        None => None,
    }
}

/// The version in the first heading that has one: `## [Unreleased] - 0.1.0`, `## [0.1.0] - 2026-12-01`.
fn newest_version_of_changelog(text: &str) -> Option<String> {
    let headings = text.lines().filter(|line| line.starts_with("## "));
    headings
        .flat_map(|heading| heading.split(|c: char| !c.is_ascii_digit() && c != '.'))
        .find(|word| word.split('.').count() == 3 && word.split('.').all(|part| !part.is_empty()))
        .map(str::to_owned)
}

/// The version that the C header's macros state.
fn version_of_header(text: &str) -> Option<String> {
    let number = |name: &str| {
        let define = format!("#define DURAMEN_VERSION_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&define))
    };
    Some([number("MAJOR")?, number("MINOR")?, number("PATCH")?].join("."))
}

/// The version that the Go package's constant states.
fn version_of_go(text: &str) -> Option<String> {
    text.lines().find_map(|line| value_of(line, "const Version"))
}

/// `0.1.0` for the line `@version "0.1.0"`.
fn version_of_mix_project(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("@version "))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Targets of Markdown links that are neither addresses nor places in the same document, without their `#place`.
fn relative_links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

// ----------------------------------------------------------------------------------------------- reading Rust text

#[derive(Debug, Clone, PartialEq)]
struct Token {
    line: usize,
    text: String,
}

/// Words and single signs of a Rust text, without comments, literals and spaces.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_token(&chars, at);
        let token = &chars[at..end];
        let is_literal_or_comment = token.len() > 1 && !token.iter().all(|c| is_word(*c));
        if !is_literal_or_comment && !token[0].is_whitespace() {
            tokens.push(Token { line, text: token.iter().collect() });
        }
        line += token.iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

/// Where the word, sign, comment or literal that starts at `at` ends.
fn end_of_token(chars: &[char], at: usize) -> usize {
    let next = |ahead: usize| chars.get(at + ahead).copied().unwrap_or('\0');
    match (chars[at], next(1), next(2)) {
        ('/', '/', _) => find(chars, at, &['\n']),
        ('/', '*', _) => end_of_block_comment(chars, at),
        ('"', ..) => end_of_string(chars, at),
        ('b' | 'c', '"', _) => end_of_string(chars, at + 1),
        ('r', '"' | '#', _) => end_of_raw_string(chars, at + 1),
        ('b' | 'c', 'r', '"' | '#') => end_of_raw_string(chars, at + 2),
        ('b', '\'', '\\') => find(chars, at + 4, &['\'']),
        ('b', '\'', _) => find(chars, at + 3, &['\'']),
        ('\'', '\\', _) => find(chars, at + 3, &['\'']),
        ('\'', _, '\'') => at + 3,
        (c, ..) if is_word(c) => end_of_word(chars, at),
        _ => at + 1,
    }
}

fn end_of_word(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take_while(|c| is_word(**c)).count()
}

fn end_of_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `hashes` is where the signs between `r` and the quote begin. A raw identifier ends before them.
fn end_of_raw_string(chars: &[char], hashes: usize) -> usize {
    let count = chars[hashes..].iter().take_while(|c| **c == '#').count();
    if chars.get(hashes + count) != Some(&'"') {
        return hashes;
    }
    let mut closing = vec!['"'];
    closing.resize(1 + count, '#');
    find(chars, hashes + count + 1, &closing)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// Behind the first `wanted` at `from` or later.
fn find(chars: &[char], from: usize, wanted: &[char]) -> usize {
    let from = from.min(chars.len());
    let found = chars[from..].windows(wanted.len()).position(|window| window == wanted);
    found.map_or(chars.len(), |offset| from + offset + wanted.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens without items that are compiled for tests only: these may look wherever they like.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let for_tests = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(for_tests.len()).map(|token| &token.text).eq(for_tests) {
            at = end_of_item(&tokens, at + for_tests.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the `;` or the closing brace of the item that starts at `at`.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), "}" | ";") {
            return at + offset + 1;
        }
    }
    tokens.len()
}

/// Every name that the file takes from the crate's root, with its line: behind `crate::`, behind enough `super::`, and
/// each one of a group in braces.
fn names_of_crate_root(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut names = Vec::new();
    // For each `mod name {` around this place, the depth of braces outside it.
    let mut inline_modules = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "mod" if text(at + 2) == "{" => inline_modules.push(depth),
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline_modules.pop_if(|outside| *outside == depth);
            }
            _ => {}
        }
        let mut steps_up = 0;
        while is_step(tokens, at + 3 * steps_up, "super") {
            steps_up += 1;
        }
        if is_step(tokens, at, "crate") {
            at += 3;
            names.extend(names_at(tokens, at));
        } else if steps_up > 0 {
            at += 3 * steps_up;
            if steps_up >= depth_of(path) + inline_modules.len() {
                names.extend(names_at(tokens, at));
            }
        } else {
            at += 1;
        }
    }
    names
}

/// Whether `name::` stands at `at`.
fn is_step(tokens: &[Token], at: usize, name: &str) -> bool {
    tokens[at.min(tokens.len())..].iter().take(3).map(|token| token.text.as_str()).eq([name, ":", ":"])
}

/// The first name of the path at `at`, or of each path of the group in braces there.
fn names_at(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut starts_path = true;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => starts_path = true,
            _ if depth == 1 && starts_path => {
                names.push((token.line, token.text.clone()));
                starts_path = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The module of the crate's root to which a file belongs: `store` for `store/write.rs`, `log` for `log.rs`.
fn module_of(path: &str) -> &str {
    path.split('/').next().expect("split gives at least one part").trim_end_matches(".rs")
}

/// How many `super` lead from a file to the crate's root: 0 for `lib.rs`, 1 for `log.rs` and `io/mod.rs`, 2 for
/// `io/sys.rs`.
fn depth_of(path: &str) -> usize {
    if path == "lib.rs" {
        return 0;
    }
    path.trim_end_matches("/mod.rs").split('/').count()
}

// ----------------------------------------------------------------------------------------------- reading the tree

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the repository").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files of core/src, with paths relative to it.
fn source_files() -> Vec<(String, String)> {
    rust_files("core/src")
}

/// The Rust files of a folder with a crate's sources, with paths relative to it.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(&root().join(folder), "", &mut files);
    files.retain(|path| path.ends_with(".rs"));
    files.sort();
    assert!(files.contains(&"lib.rs".to_owned()), "{folder} has no lib.rs: the rules would hold for nothing");
    files.into_iter().map(|path| (path.clone(), read(&format!("{folder}/{path}")))).collect()
}

/// What git tracks or would track, relative to the repository; without git, what lies there and was not built.
fn files_of_repository() -> BTreeSet<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = Vec::new();
    match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
            files.extend(names.split_terminator('\0').map(str::to_owned));
        }
        _ => walk(&root(), "", &mut files),
    }
    // A file may be removed and still be in git's list.
    files.into_iter().filter(|path| root().join(path).is_file()).collect()
}

fn text_files() -> Vec<(String, String)> {
    let files = files_of_repository().into_iter();
    let texts = files.filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(&path)).ok()?)));
    texts.filter(|(_, text)| !text.contains('\0')).collect()
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for item in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let item = item.expect("a folder can be read to its end");
        let name = item.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{prefix}{name}");
        if !item.path().is_dir() {
            files.push(path);
        } else if !["target", ".git", "corpus", "artifacts", "_build"].contains(&name.as_str()) {
            walk(&item.path(), &format!("{path}/"), files);
        }
    }
}

/// The lines of `[name]` in a TOML text.
fn section<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let heading = format!("[{name}]");
    text.lines().skip_while(move |line| line.trim() != heading).skip(1).take_while(|line| !line.starts_with('['))
}

/// `1.0` for the line `key = "1.0"`.
fn value_of(line: &str, key: &str) -> Option<String> {
    let (found, value) = line.split_once('=')?;
    (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
}

// ---------------------------------------------------------------------------------------- each rule can also fail

#[test]
fn import_rule_finds_every_way_to_name_a_module() {
    let bad = [
        ("format/batch.rs", "use crate::io::File;", "format may not import io"),
        ("format/batch.rs", "use crate::{error::Error, io::{Disk, File}};", "format may not import io"),
        (
            "format/batch.rs",
            "pub(crate) use crate::{\n    entry::Entry,\n    store,\n};",
            "format may not import store",
        ),
        ("format/batch.rs", "fn f() { crate::log::open() }", "format may not import log"),
        ("format/batch.rs", "use super::super::segment::Header;", "format may not import segment"),
        ("format/mod.rs", "use super::segment::Header;", "format may not import segment"),
        ("format/mod.rs", "mod inner { use super::super::index; }", "format may not import index"),
        ("io/mod.rs", "macro_rules! m { () => { $crate::state::State } }", "io may not import state"),
        ("commit.rs", "use crate::index::Index;", "commit may not import index"),
        ("registry.rs", "use crate::store::Store;", "registry may not import store"),
        ("error.rs", "use crate::format::Header;", "error may not import format"),
        ("recovery/plan.rs", "use crate::Store;", "crate::Store, which is no module"),
        ("recovery/plan.rs", "use crate::*;", "crate::*, which is no module"),
        ("manager.rs", "", "module manager is not in the table"),
    ];
    for (path, text, expected) in bad {
        let findings = forbidden_imports(path, text);
        assert!(findings.len() == 1 && findings[0].contains(expected), "{path}: {text}: {findings:?}");
    }
}

#[test]
fn import_rule_accepts_what_is_allowed() {
    let good = [
        ("segment/write.rs", "use crate::{error::{Error, Result}, format::batch, io::File, segment::Header};"),
        ("segment/write.rs", "use super::Header; use self::inner::Thing; fn f() { super::super::io::open() }"),
        ("segment/mod.rs", "mod inner { use super::Header; }\nuse super::format;"),
        ("format/batch.rs", "//! See [`crate::store::Store`].\n/* crate::log /* nested */ crate::log */ fn f() {}"),
        ("format/batch.rs", "const A: &str = \"crate::log \\\" crate::log\"; const B: &str = r#\"crate::log \" \"#;"),
        ("format/batch.rs", "const A: char = '\"'; const B: u8 = b'\\''; fn f<'a>(x: &'a str) {} // crate::log"),
        ("format/batch.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() { {} } }\nuse crate::entry;"),
        ("format/batch.rs", "pub(in crate::format) fn f() {}"),
        ("store/open.rs", "use crate::{log::Log, recovery, commit, index};"),
        ("lib.rs", "pub use crate::store::Store;"),
    ];
    for (path, text) in good {
        assert_eq!(forbidden_imports(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn import_rule_sees_what_follows_a_literal() {
    let literals =
        ["'\"'", "b'\\''", "'\\u{1F600}'", "\"\\\\\"", "r\"\\\"", "br##\"\"#\"##", "b\"\\\"\"", "b'x'", "'\\''"];
    for literal in literals.into_iter().chain(["r#type", "f::<'a>('x')"]) {
        let text = format!("const A: X = {literal};\nuse crate::log;");
        let findings = forbidden_imports("format/batch.rs", &text);
        assert!(findings.len() == 1 && findings[0].contains(":2:"), "{text}: {findings:?}");
    }
}

#[test]
fn import_table_names_modules_that_have_a_row() {
    let known: Vec<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    for (module, allowed) in MAY_IMPORT {
        for name in allowed.iter().filter(|name| **name != EVERYTHING) {
            assert!(known.contains(name), "{module} may import {name}, which has no row");
            assert!(!["store", "log", "lib"].contains(name), "{module} may import {name}, which nobody may");
        }
    }
}

#[test]
fn system_call_rule_finds_std_and_libc_outside_io() {
    let bad = ["use std::fs::File;", "use std::{io, os::fd::AsRawFd};", "use libc;", "fn f() { libc::getpid() }"];
    for text in bad {
        assert_eq!(system_calls("store/open.rs", text).len(), 1, "{text}");
        assert_eq!(system_calls("io/sys.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(
        system_calls("store/open.rs", "use std::{io, path::Path}; fn fs(os: u8) {} // std::fs"),
        Vec::<String>::new()
    );
}

#[test]
fn unsafe_rule_finds_a_file_without_the_lint() {
    assert!(missing_unsafe_lint("log.rs", "//! A log.\n").is_some());
    assert!(missing_unsafe_lint("log.rs", "//! #![forbid(unsafe_code)]\n").is_some());
    assert!(missing_unsafe_lint("lib.rs", "#![allow(unsafe_code)]").is_some());
    assert!(missing_unsafe_lint("log.rs", "//! A log.\n#![forbid(unsafe_code)]\n").is_none());
    assert!(missing_unsafe_lint("lib.rs", "#![deny(unsafe_code)]").is_none());
    assert!(missing_unsafe_lint(UNSAFE_FILE, "").is_none());
}

#[test]
fn unsafe_rule_of_ffi_knows_the_attribute() {
    let good = "// unsafe\n#[unsafe(no_mangle)]\npub extern \"C\" fn f() { let _ = \"unsafe\"; }";
    assert_eq!(unsafe_outside_guard("log.rs", good), Vec::<String>::new());
    for bad in ["fn f() { unsafe { g() } }", "unsafe fn f() {}", "#[unsafe(naked)] fn f() {}", "unsafe"] {
        assert_eq!(unsafe_outside_guard("log.rs", bad).len(), 1, "{bad}");
        assert_eq!(unsafe_outside_guard(UNSAFE_FILE_OF_FFI, bad), Vec::<String>::new());
    }
}

#[test]
fn opening_rule_finds_a_file_without_a_comment() {
    assert!(missing_opening_comment("log.rs", "use std::io;\n").is_some());
    assert!(missing_opening_comment("log.rs", "// A log.\n").is_some());
    assert!(missing_opening_comment("log.rs", "//! A log.\n").is_none());
}

#[test]
fn word_rule_finds_machine_paths_and_work_put_off() {
    let bad = [["cd /wo", "rk/x"], ["open /ro", "ot/.cargo"], ["// TO", "DO: later"], ["# FIX", "ME"]];
    for halves in bad {
        let text = format!("first line\n{}", halves.concat());
        let findings = forbidden_words("a.md", &text);
        assert!(findings.len() == 1 && findings[0].starts_with("a.md:2:"), "{text}: {findings:?}");
    }
    assert_eq!(forbidden_words("a.md", "the framework/root of it\ntodo!() METHODOS"), Vec::<String>::new());
}

#[test]
fn version_rule_finds_another_number() {
    let bad = [
        "[package]\nname = \"a\"\nversion = \"0.2.0\"\n",
        "[package]\nname = \"a\"\n\n[dependencies]\nversion = \"0.1.0\"\n",
        "[workspace.dependencies]\nduramen = { path = \"core\", version = \"0.2.0\" }\n",
    ];
    for manifest in bad {
        assert_eq!(other_versions("Cargo.toml", manifest, "0.1.0").len(), 1, "{manifest}");
    }
    let good = "[package]\nversion.workspace = true\n[dependencies]\na = { path = \"..\" }\nb = \"2.0.0\"\n";
    assert_eq!(other_versions("Cargo.toml", good, "0.1.0"), Vec::<String>::new());

    assert_eq!(version_of_go("// const Version\nconst Version = \"0.3.0\"\n").as_deref(), Some("0.3.0"));
    assert_eq!(version_of_go("const VersionOf = \"0.3.0\"\n"), None);
    for project in ["[project]\nversion = \"0.1.0\"\n", "[project]\n\n[tool.x]\ndynamic = [\"version\"]\n"] {
        assert!(version_not_taken("pyproject.toml", project).is_some(), "{project}");
    }
    assert_eq!(version_not_taken("pyproject.toml", "[project]\ndynamic = [\"version\"]\n"), None);

    assert_eq!(version_of_mix_project("  @version \"0.3.0\"\n").as_deref(), Some("0.3.0"));
    assert_eq!(version_of_mix_project("version: @version\n"), None);
    assert_eq!(newest_version_of_changelog("# 9.9.9\n## [Unreleased]\n"), None);
    assert_eq!(newest_version_of_changelog("## [Unreleased]\n## [0.3.0] - 2026-12-01\n").as_deref(), Some("0.3.0"));
}

#[test]
fn link_rule_finds_relative_targets_only() {
    let text =
        "[a](core/FORMAT.md#batch), [b](https://x.example/y), [c](#here)\n```\n[d](no.md)\n```\n![e](e.png \"E\")";
    assert_eq!(relative_links(text), ["core/FORMAT.md", "e.png"]);
}
