//! Keeps the library mapped once it was loaded: a thread of it may be closing a store while the VM unloads the module.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
}
