"""Snapshots: what a batch says of one, and its file. FORMAT.md, section 11."""

import os
import zlib
from dataclasses import dataclass

from batch import Operation
from fields import BLOCK, FORMAT, Damage, Fields, is_sealed

MAGIC = b"duramSNP"
SIZE = 128
CONFIG_MAX = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """The current snapshot of a group, as its batch names it."""

    group: int
    index: int
    term: int
    number: int
    size: int
    crc: int
    config: bytes


def metadata_of(operation: Operation) -> Snapshot:
    record, body = operation.record, operation.body
    file, offset = operation.place
    fields = Fields(file, memoryview(body), offset)
    number, size, crc, config = number_of(fields), number_of(fields), number_of(fields), number_of(fields)
    if number < 1 or crc >= 2**32 or config > CONFIG_MAX:
        raise Damage(file, offset, f"a snapshot with number {number}, crc {crc}, {config} bytes of configuration")
    taken = Snapshot(record.group, record.first, record.term, number, size, crc, fields.bytes(config))
    fields.end()
    return taken


def number_of(fields: Fields) -> int:
    """A number in the fewest bytes that hold it."""
    start = fields.number(1)
    if start <= 250:
        return start
    size = {251: 2, 252: 4, 253: 8}.get(start)
    if size is None:
        fields.fail(f"no number begins with {start}", 1)
    value = fields.number(size)
    if value <= 250 or size > 2 and value < 1 << 4 * size:
        fields.fail(f"{value} in {size} bytes", size)
    return value


def check_file(directory: str, store: bytes, taken: Snapshot) -> None:
    """Verifies the file: every field of the header, the data, the configuration, and where it ends."""
    path = os.path.join(directory, f"{taken.number:016x}.snap")
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise Damage(path, 0, f"the snapshot of group {taken.group} is not there") from None
    with file:
        header = memoryview(file.read(BLOCK))[:SIZE]
        if not is_sealed(header, MAGIC, SIZE):
            raise Damage(path, 0, "the header is bad")
        check_header(Fields(path, header, 0), store, taken)
        left, crc = taken.size, 0
        while left and (piece := file.read(min(left, 1 << 20))):
            left, crc = left - len(piece), zlib.crc32(piece, crc)
        if left or crc != taken.crc:
            raise Damage(path, BLOCK, f"the crc of the data is wrong, {left} bytes are missing")
        if file.read(CONFIG_MAX + 1) != taken.config:
            raise Damage(path, BLOCK + taken.size, "the configuration is another one, or the file goes on behind it")


def check_header(fields: Fields, store: bytes, taken: Snapshot) -> None:
    fields.view(12)
    fields.expect(4, FORMAT, "the format")
    fields.expect(8, 0, "the feature bits")
    if fields.bytes(16) != store:
        fields.fail("the snapshot of another store", 16)
    fields.expect(8, taken.number, "the number")
    fields.expect(8, taken.group, "the group")
    fields.expect(8, taken.index, "the index")
    fields.expect(8, taken.term, "the term")
    fields.expect(8, taken.size, "the size of the data")
    fields.expect(4, taken.crc, "the crc of the data")
    fields.expect(4, len(taken.config), "the size of the configuration")
    fields.expect(4, zlib.crc32(taken.config), "the crc of the configuration")
    fields.zero(36)
