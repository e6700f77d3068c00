//! Gives the shared library the name that programs record when they link it. Before 1.0 every minor version may break
//! the interface, so it is part of the name.
#![forbid(unsafe_code)]

fn main() {
    let part = |name: &str| std::env::var(name).expect("cargo tells the version");
    let soname = format!("libduramen.so.{}.{}", part("CARGO_PKG_VERSION_MAJOR"), part("CARGO_PKG_VERSION_MINOR"));
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{soname}");
    println!("cargo::rerun-if-changed=build.rs");
}
