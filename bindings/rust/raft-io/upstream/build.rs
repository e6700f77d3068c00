//! Finds the sources of raft-io that cargo uses, and writes the file that makes its tests modules of this crate.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PACKAGE: &str = "raft-io";
const VERSION: &str = "1.0.0";
/// All that are in `tests`.
const TESTS: [&str; 7] = ["hardening", "kv_consumer", "membership", "recovery", "replication", "safety", "snapshot"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let tests = folder_of_package(&metadata()).join("tests");
    let modules = TESTS.map(|name| module(name, &tests.join(name).with_extension("rs")));
    let module = format!(
        "#[allow(warnings, clippy::all, clippy::big_endian_bytes)]\n\
         mod upstream {{\n{}}}\n",
        modules.concat()
    );
    fs::write(Path::new(&variable("OUT_DIR")).join("upstream.rs"), module).expect("OUT_DIR can be written");
}

fn module(name: &str, path: &Path) -> String {
    assert!(path.is_file(), "{} is not there", path.display());
    println!("cargo::rerun-if-changed={}", path.display());
    format!("#[path = {path:?}]\nmod {name};\n")
}

/// What cargo knows about the packages of this build, as JSON.
fn metadata() -> String {
    // Other platforms' packages may not have been downloaded.
    let output = Command::new(variable("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", &variable("TARGET")])
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The folder of raft-io. A package is an object that begins with its name and version, and the first manifest path behind
/// that is its own.
fn folder_of_package(metadata: &str) -> PathBuf {
    let begin = format!(r#"{{"name":"{PACKAGE}","version":"{VERSION}","#);
    let path = metadata
        .split_once(&begin)
        .and_then(|(_, package)| package.split_once(r#""manifest_path":""#))
        .and_then(|(_, path)| path.split_once('"'));
    let (manifest, _) = path.unwrap_or_else(|| panic!("cargo metadata has no {PACKAGE} {VERSION}"));
    Path::new(manifest).parent().expect("a manifest lies in a folder").to_owned()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
