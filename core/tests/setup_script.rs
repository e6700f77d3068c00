//! tests/setup on machines that lack something: a folder with a few tools is the whole PATH.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the script itself calls.
const TOOLS: &[&str] = &["bash", "dirname", "env", "head", "id", "sed", "sort"];

#[test]
fn old_rust_ends_with_one_line_that_names_both_versions() {
    let machine = Machine::with(&[("cargo", ""), ("rustc", "echo 'rustc 1.80.1 (abc 2024-01-01)'")]);
    let output = machine.setup("all");
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output.stderr);
    assert!(line.contains("Rust 1.80.1 found") && line.contains("1.91 or newer is needed"), "{line}");
    assert!(line.contains("usable"), "{line}");
}

#[test]
fn absent_rust_ends_with_one_line() {
    let output = Machine::with(&[]).setup("demo");
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output.stderr).contains("Rust not found, 1.91 or newer is needed"));
}

#[test]
fn newer_rust_is_accepted_and_missing_packages_are_named_with_their_purpose() {
    for version in ["1.91.0", "1.100.0", "2.0.0", "1.97.0-nightly"] {
        let go = ("go", "echo 'go version go1.99.0 linux/amd64'");
        let machine = Machine::with(&[("cargo", ""), ("rustc", &format!("echo 'rustc {version} (abc)'")), go]);
        let output = machine.setup("all");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{version}: {output:?}");
        assert!(text.contains("skipped") && text.contains("gcc (linking Rust programs)"), "{version}: {text}");
    }
}

#[test]
fn without_root_and_sudo_nothing_is_installed() {
    let rust = ("rustc", "echo 'rustc 1.91.0'");
    let machine = Machine::with(&[("cargo", ""), rust, ("id", "echo 1000"), ("apt-get", "touch \"$0.called\"")]);
    let output = machine.setup("demo");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("skipped, neither root nor sudo"), "{output:?}");
    assert!(!machine.path().join("apt-get.called").exists());
}

#[test]
fn root_installs_what_the_scope_needs_and_nothing_else() {
    let rust = ("rustc", "echo 'rustc 1.91.0'");
    let apt = ("apt-get", "echo \"$@\" > \"$0.called\"");
    let machine = Machine::with(&[("cargo", ""), rust, ("id", "echo 0"), apt]);
    assert!(machine.setup("demo").status.success());
    let called = fs::read_to_string(machine.path().join("apt-get.called")).expect("apt-get was called");
    assert!(called.starts_with("install ") && called.trim_end().ends_with(" gcc"), "{called}");
}

/// A folder that is the whole PATH of a command.
struct Machine(tempfile::TempDir);

impl Machine {
    /// Besides [`TOOLS`], commands given as shell text.
    fn with(commands: &[(&str, &str)]) -> Machine {
        let machine = Machine(tempfile::tempdir().expect("a temporary folder"));
        for (name, text) in commands {
            let path = machine.path().join(name);
            fs::write(&path, format!("#!{}\n{text}\n", find("sh").display())).expect("a command is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a command is made executable");
        }
        for tool in TOOLS.iter().filter(|tool| commands.iter().all(|(name, _)| name != *tool)) {
            symlink(find(tool), machine.path().join(tool)).expect("a tool is linked");
        }
        machine
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn setup(&self, scope: &str) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the repository");
        Command::new(find("bash"))
            .arg(root.join("tests/setup"))
            .arg(scope)
            .env("PATH", self.path())
            .output()
            .expect("the script starts")
    }
}

fn find(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{tool} is on the PATH"))
}

fn one_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}
