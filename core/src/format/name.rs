//! The names of numbered files: segments, snapshots, and the files of the pool.
#![forbid(unsafe_code)]

/// The number in 16 hexadecimal digits, then the extension with its dot.
pub(crate) fn numbered_name(number: u64, extension: &str) -> String {
    format!("{number:016x}{extension}")
}

/// The number in such a name; none for any other name. Numbers begin at 1 and leave out the last.
pub(crate) fn number_in_name(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (numbered_name(number, extension) == name && (1..u64::MAX).contains(&number)).then_some(number)
}
