//! Numbers as people read them.

/// One line of a table.
pub(crate) fn row(what: &str, count: u64) {
    println!("  {what:<42}{:>9}", grouped(count));
}

/// `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}
