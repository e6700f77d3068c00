//! Messages between nodes, on a stream: the length in four bytes, then what raft-io's framing makes of the message.

use duramen_raft_io::{Message, framing};
use std::io::{self, Read, Write};

/// A longer frame is nonsense, in bytes: a message has at most 64 entries, or a snapshot.
const FRAME_BYTES_MAX: u32 = 64 << 20;

pub(crate) fn write(stream: &mut impl Write, message: &Message) -> io::Result<()> {
    let body = framing::encode(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_le_bytes(), body.as_slice()].concat())
}

pub(crate) fn read(stream: &mut impl Read) -> io::Result<Message> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    framing::decode(&body).map_err(io::Error::other)
}
