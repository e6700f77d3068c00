//! What may be a file's name: it must not lead out of the directory it is used in.
#![forbid(unsafe_code)]

use std::io;

/// As every Linux file system has it.
const NAME_BYTES_MAX: usize = 255;

/// Refuses a name that is not a plain file name.
pub(super) fn check(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a file name")));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    Ok(())
}
