//! `include/duramen.h` is what cbindgen makes of `ffi/src` today, and says the same as the crate `duramen`.
//!
//! `make header` runs the first test with `DURAMEN_HEADER=write`, which writes the file instead of comparing it.
#![forbid(unsafe_code)]

use cbindgen::{Builder, Config};
use duramen::Code;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of `ffi/src` that export, in the order of the header.
const SOURCES: &[&str] = &["version", "status", "options", "store", "log", "entries", "hard_state"];

/// Stands inside the guard of the header, where cbindgen's own trailer does not.
const LAYOUTS: &str = "\
// Layouts that never change. This form of an assertion is understood by every compiler of C and C++.
typedef char duramen_error_has_512_bytes[sizeof(duramen_error) == 512 ? 1 : -1];
typedef char duramen_entry_has_40_bytes[sizeof(duramen_entry) == 40 ? 1 : -1];
typedef char duramen_entry_ref_has_40_bytes[sizeof(duramen_entry_ref) == 40 ? 1 : -1];
typedef char duramen_hard_state_has_32_bytes[sizeof(duramen_hard_state) == 32 ? 1 : -1];
";

#[test]
fn header_is_up_to_date() {
    let (path, generated) = (root().join("include/duramen.h"), generate());
    if std::env::var("DURAMEN_HEADER").is_ok_and(|wish| wish == "write") {
        fs::write(&path, generated).expect("include/duramen.h is written");
        return;
    }
    let committed = fs::read_to_string(&path).expect("include/duramen.h is there");
    let pairs = generated.lines().zip(committed.lines());
    let difference = (1..).zip(pairs).find(|(_, (new, old))| new != old);
    assert!(committed == generated, "include/duramen.h is not up to date, run `make header`; first: {difference:?}");
}

fn generate() -> String {
    let mut config = Config::from_file(root().join("ffi/cbindgen.toml")).expect("cbindgen.toml is sound");
    let number = |name: &str, value: &str| format!("#define DURAMEN_VERSION_{name} {value}\n");
    config.after_includes = Some(
        [
            "\n// The version of this header.\n",
            &number("MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
            &number("MINOR", env!("CARGO_PKG_VERSION_MINOR")),
            &number("PATCH", env!("CARGO_PKG_VERSION_PATCH")),
            &format!("#define DURAMEN_VERSION \"{}\"", env!("CARGO_PKG_VERSION")),
        ]
        .concat(),
    );
    let sources = SOURCES.iter().map(|name| root().join(format!("ffi/src/{name}.rs")));
    let builder = sources.fold(Builder::new().with_config(config), |builder, source| builder.with_src(source));
    let mut text = Vec::new();
    builder.generate().expect("cbindgen understands the sources").write(&mut text);
    let text = String::from_utf8(text).expect("a header is UTF-8");
    let (declarations, end) = text.rsplit_once("#endif").expect("the header ends with its guard");
    format!("{declarations}{LAYOUTS}\n#endif{end}")
}

#[test]
fn every_file_that_exports_is_in_the_header() {
    let files = fs::read_dir(root().join("ffi/src")).expect("ffi/src is there");
    for path in files.map(|file| file.expect("ffi/src can be read").path()) {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let exports = text.lines().any(|line| line.starts_with("#[unsafe(no_mangle)]"));
        assert_eq!(exports, SOURCES.contains(&name.as_str()), "{name}.rs exports or not, the list says otherwise");
    }
}

#[test]
fn every_code_has_its_number_in_the_header() {
    let header = fs::read_to_string(root().join("include/duramen.h")).expect("include/duramen.h is there");
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define DURAMEN_"));
    let defined = defined.skip_while(|line| !line.starts_with("OK ")).take_while(|line| !line.starts_with("DURABLE "));
    let defined: Vec<String> = defined.map(str::to_owned).collect();
    let codes = Code::ALL.iter().map(|code| format!("{} {}", code.name().to_uppercase(), *code as i32));
    assert_eq!(defined, std::iter::once("OK 0".to_owned()).chain(codes).collect::<Vec<_>>());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("ffi lies in the repository").to_owned()
}
