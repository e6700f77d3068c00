//! What a user of C gets: `make install` into a fresh folder, programs outside the repository that find it there, the
//! example of the README, and programs that use every function rightly and wrongly.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What every compilation is held to.
const STRICT: &[&str] = &["-Wall", "-Wextra", "-Werror", "-pedantic"];
const C99: &[&str] = &["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-g"];

// ------------------------------------------------------------------------------------------------------- the header

#[test]
fn header_compiles_alone_and_twice_in_c_and_cpp() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "#include <duramen.h>\n#include <duramen.h>\nint main(void) { return DURAMEN_OK; }\n";
    for (compiler, standard, name) in
        [("cc", "c99", "twice.c"), ("cc", "c17", "twice.c"), ("c++", "c++17", "twice.cpp")]
    {
        fs::write(folder.path().join(name), text).expect("a source file is written");
        let mut compile = Command::new(compiler);
        compile.arg(format!("-std={standard}")).args(STRICT).arg("-fsyntax-only").arg("-I").arg(root().join("include"));
        succeed(compile.arg(folder.path().join(name)));
    }
}

#[test]
fn libraries_show_the_functions_of_the_header_and_nothing_else() {
    let header = fs::read_to_string(root().join("include/duramen.h")).expect("the header is there");
    let declared = functions_of(&header);
    assert!(declared.contains("duramen_append") && declared.len() > 30, "{declared:?}");
    for arguments in [["-D", "libduramen.so"], ["-g", "libduramen.a"]] {
        let library = installed().join("lib").join(arguments[1]);
        let listed = succeed(Command::new("nm").arg("--defined-only").arg(arguments[0]).arg(&library));
        let symbols = listed.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned);
        assert_eq!(symbols.collect::<BTreeSet<_>>(), declared, "{}", library.display());
    }
}

/// Names in front of a parenthesis on lines that begin a declaration.
fn functions_of(header: &str) -> BTreeSet<String> {
    let is_declaration = |line: &&str| line.starts_with(char::is_alphabetic) && !line.starts_with("typedef");
    let declarations = header.lines().filter(is_declaration);
    let names = declarations.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with("duramen_")).map(str::to_owned).collect()
}

#[test]
fn shared_library_is_recorded_with_its_minor_version() {
    let soname = concat!("libduramen.so.", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let listed = succeed(Command::new("readelf").arg("-d").arg(installed().join("lib/libduramen.so")));
    assert!(listed.contains(&format!("Library soname: [{soname}]")), "{listed}");
    assert!(installed().join("lib").join(soname).exists(), "{soname} leads nowhere");
}

// ------------------------------------------------------------------------------------------- programs, right and wrong

#[test]
fn misuse_is_answered_and_changes_nothing() {
    run_sanitized("misuse");
}

#[test]
fn entries_come_out_as_they_went_in() {
    run_sanitized("entries");
}

#[test]
fn handles_may_be_freed_in_any_order() {
    run_sanitized("ownership");
}

#[test]
fn damaged_entry_is_told_by_name_and_the_others_are_read() {
    run_sanitized("damage");
}

#[test]
fn threads_share_handles_until_one_closes_the_store() {
    run_sanitized("threads");
}

/// Compiles one of our programs with the sanitizers, which also find what was never freed, and runs it on a new store.
fn run_sanitized(name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, program) = (root().join(format!("ffi/tests/c/{name}.c")), folder.path().join(name));
    let mut compile = Command::new("cc");
    compile.args(C99).args(STRICT).args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    compile.arg(source).args(static_flags()).arg("-o").arg(&program);
    succeed(&mut compile);
    succeed(Command::new(program).arg(folder.path().join("store")));
}

// ------------------------------------------------------------------------------------------- from outside the repository

#[test]
fn readme_example_runs_outside_the_repository() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let (_, rest) = readme.split_once("\n## C\n").expect("README.md has a section on C");
    let (_, rest) = rest.split_once("```c\n").expect("the section on C has an example");
    let (example, _) = rest.split_once("```").expect("the example ends");
    let lines = example.lines().filter(|line| !line.trim().is_empty()).count();
    assert!((1..=12).contains(&lines), "the example has {lines} lines");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = build_outside(&folder, example, &pkg_config(&["--cflags", "--libs"]));
    let printed = succeed(run_installed(&program).current_dir(folder.path()));
    assert_eq!(printed, "set x\nset y\n");
}

/// Appends to a log in the working directory and prints what it holds.
const APPENDS: &str = r#"
#include <duramen.h>
#include <stdio.h>

int main(void) {
    duramen_error error;
    duramen_store *store;
    duramen_log *log;
    uint64_t count;
    if (duramen_store_open("store", NULL, &store, &error) || duramen_store_log(store, 0, &log, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    duramen_entry entry = {1, 1, "x", 1, 0};
    if (duramen_append(log, &entry, 1, DURAMEN_DURABLE, NULL, &error) || duramen_count(log, &count, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("%d entries, library %s\n", (int)count, duramen_version());
    duramen_log_free(log);
    duramen_status closed = duramen_store_close(store, &error);
    duramen_store_free(store);
    return closed;
}
"#;

const APPENDED: &str = concat!("1 entries, library ", env!("CARGO_PKG_VERSION"), "\n");

#[test]
fn pkg_config_leads_to_both_libraries() {
    let shared = pkg_config(&["--cflags", "--libs"]);
    // Nothing but the linker's choice tells the two apart.
    let mut fixed = pkg_config(&["--cflags", "--static", "--libs"]);
    fixed.insert(0, "-static".into());
    for flags in [shared, fixed] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = build_outside(&folder, APPENDS, &flags);
        assert_eq!(succeed(run_installed(&program).current_dir(folder.path())), APPENDED, "{flags:?}");
    }
}

#[test]
fn cmake_finds_both_libraries() {
    if Command::new("cmake").arg("--version").output().is_err() {
        eprintln!("skipped: there is no cmake here");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let version = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let lists = format!(
        "cmake_minimum_required(VERSION 3.13)\nproject(outside C)\nfind_package(duramen {version} REQUIRED)\n\
         add_executable(shared main.c)\ntarget_link_libraries(shared duramen::shared)\n\
         add_executable(static main.c)\ntarget_link_libraries(static duramen::static)\n"
    );
    fs::write(folder.path().join("CMakeLists.txt"), lists).expect("CMakeLists.txt is written");
    fs::write(folder.path().join("main.c"), APPENDS).expect("main.c is written");
    let build = folder.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder.path()).arg("-B").arg(&build);
    succeed(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed().display())));
    succeed(Command::new("cmake").arg("--build").arg(&build));
    for name in ["shared", "static"] {
        let home = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(succeed(run_installed(&build.join(name)).current_dir(home.path())), APPENDED, "{name}");
    }
}

#[test]
fn installation_for_a_packager_names_the_final_place() {
    let stage = tempfile::tempdir().expect("a temporary folder");
    install(&["PREFIX=/usr", "LIBDIR=/usr/lib/x86", &format!("DESTDIR={}", stage.path().display())]);
    let pc = fs::read_to_string(stage.path().join("usr/lib/x86/pkgconfig/duramen.pc")).expect("the file is there");
    assert!(pc.starts_with("prefix=/usr\nlibdir=/usr/lib/x86\nincludedir=${prefix}/include\n"), "{pc}");
    assert!(!pc.contains('@') && !pc.contains(&stage.path().display().to_string()), "{pc}");
    assert!(stage.path().join("usr/include/duramen.h").is_file());
    assert!(stage.path().join("usr/lib/x86/libduramen.so").is_file());
}

/// A program in a folder of its own, compiled from `text`.
fn build_outside(folder: &TempDir, text: &str, flags: &[String]) -> PathBuf {
    let (source, program) = (folder.path().join("main.c"), folder.path().join("main"));
    fs::write(&source, text).expect("a source file is written");
    let output = output_of(Command::new("cc").args(C99).args(STRICT).arg(&source).args(flags).arg("-o").arg(&program));
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs a program against the installed shared library, as the dynamic linker would after `ldconfig`.
fn run_installed(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", installed().join("lib"));
    command
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut ask = Command::new("pkg-config");
    ask.args(arguments).arg("duramen").env("PKG_CONFIG_PATH", installed().join("lib/pkgconfig"));
    succeed(&mut ask).split_whitespace().map(str::to_owned).collect()
}

/// What a program needs that names the static library itself.
fn static_flags() -> Vec<String> {
    let mut flags = pkg_config(&["--cflags"]);
    flags.push(installed().join("lib/libduramen.a").display().to_string());
    flags.extend(pkg_config(&["--static", "--libs-only-l"]).into_iter().filter(|flag| flag != "-lduramen"));
    flags
}

// ------------------------------------------------------------------------------------------------------------- tools

/// The one installation that all tests of this file use; it is removed with the build folder.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
        let _ = fs::remove_dir_all(&prefix);
        install(&[format!("PREFIX={}", prefix.display())]);
        prefix
    })
}

fn install(variables: &[impl AsRef<OsStr>]) {
    succeed(Command::new("make").arg("install").args(variables).current_dir(root()));
}

/// The standard output of a command that succeeds.
fn succeed(command: &mut Command) -> String {
    let output = output_of(command);
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{said}", output.status);
    printed.into_owned()
}

fn output_of(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("ffi lies in the repository").to_owned()
}
