"""Batches: header, directory, supplement, bodies. FORMAT.md, sections 5 and 6."""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fields import INDEX_MAX, Damage, Fields, Unsound, is_sealed

MAGIC = b"dBat"
HEADER, RECORD, LINK, ECHO, ENTRY, HARD_STATE = 96, 48, 48, 80, 40, 32
HAS_LINK, HAS_ECHO = 1, 2

APPEND, TRUNCATE, HARD_STATE_SET, REPLACE, PUT, REMOVE, PURGE, RESET, DROP = range(1, 10)
META_SET, META_DELETED, COMMIT, SNAPSHOT, LOST, NEXT, LOST_STATE, ACCEPT, LOST_BATCHES = range(10, 19)

# What each kind has besides its group: fields that it uses, and the body.
FIELDS = {
    APPEND: ("first count term", "entries"),
    TRUNCATE: ("first", None),
    HARD_STATE_SET: ("", "hard state"),
    REPLACE: ("first count term", "entries"),
    PUT: ("first count term", "entries"),
    REMOVE: ("first term", None),
    PURGE: ("first term", "blob"),
    RESET: ("first count", None),
    DROP: ("", None),
    META_SET: ("", "key and value"),
    META_DELETED: ("", "key"),
    COMMIT: ("first", None),
    SNAPSHOT: ("first term count", "metadata"),
    LOST: ("first count term", None),
    NEXT: ("first", None),
    LOST_STATE: ("first", None),
    ACCEPT: ("first", None),
    LOST_BATCHES: ("first term", None),
}
WITH_ENTRIES = {APPEND, REPLACE, PUT}


@dataclass(frozen=True)
class Header:
    """The header of a batch, whose crc is right."""

    file: str
    crc: int
    salt: bytes
    segment: int
    offset: int
    sequence: int
    watermark: int
    chain: int
    body_bytes: int
    directory_crc: int
    records: int
    supplement_crc: int
    supplement_bytes: int
    flags: int

    @property
    def sums(self) -> int:
        return self.directory_crc << 32 | self.crc

    @property
    def supplement_at(self) -> int:
        return self.offset + HEADER + RECORD * self.records

    @property
    def end(self) -> int:
        return self.supplement_at + self.supplement_bytes + self.body_bytes


@dataclass(frozen=True)
class Link:
    """Where the segment before ends."""

    segment: int
    salt: bytes
    end: int
    sequence: int
    sums: int


@dataclass(frozen=True)
class Record:
    """One operation of a directory or an echo."""

    group: int
    first: int
    term: int
    bytes: int
    count: int
    sum: int
    kind: int


@dataclass(frozen=True)
class Echo:
    """What an earlier flush covered."""

    first: int
    last: int
    begun: int
    link: Link | None
    records: list[Record] | None


@dataclass(frozen=True)
class Entry:
    """One entry; of one that is lost nothing but index and term is known."""

    index: int
    term: int
    kind: int | None
    data: bytes | None


@dataclass(frozen=True)
class HardState:
    term: int
    vote: int | None
    commit: int | None


@dataclass(frozen=True)
class Operation:
    """A record and what its body holds; none where that is lost."""

    record: Record
    body: object
    # Where the record lies, and, in a batch, its body.
    place: tuple[str, int]
    body_at: int = 0


def header_at(file: str, data: memoryview, offset: int, salt: bytes, segment: int) -> Header:
    """The header at this offset of the segment with this salt and number, whose bytes are `data`."""
    here = data[offset : offset + HEADER]
    if not is_sealed(here, MAGIC, HEADER, first=8):
        raise Unsound(file, offset, "no batch begins here, or its header is bad")
    fields = Fields(file, here, offset)
    fields.view(4)
    crc, own_salt, own_segment, own_offset = (fields.number(4), fields.bytes(16), fields.number(8), fields.number(8))
    if (own_salt, own_segment, own_offset) != (salt, segment, offset):
        raise Unsound(file, offset, "the header of a batch that was written to another place, or in another life")
    sequence, watermark, chain, body_bytes = (fields.number(8) for _ in range(4))
    directory_crc, records, supplement_crc, supplement_bytes = (fields.number(4) for _ in range(4))
    flags = fields.number(2)
    if flags & ~(HAS_LINK | HAS_ECHO):
        fields.fail(f"the flags are {flags}", 2)
    fields.expect(1, 0, "the transform")
    fields.zero(5)
    header = Header(
        file, crc, salt, segment, offset, sequence, watermark, chain,
        body_bytes, directory_crc, records, supplement_crc, supplement_bytes, flags,
    )  # fmt: skip
    if header.end > len(data):
        fields.fail(f"the batch ends at {header.end}, the segment at {len(data)}", HEADER)
    if not watermark < sequence:
        fields.fail(f"the watermark of batch {sequence} is {watermark}", 48)
    return header


def supplement_of(header: Header, data: memoryview) -> tuple[Link | None, Echo | None]:
    at = header.supplement_at
    supplement = data[at : at + header.supplement_bytes]
    if zlib.crc32(supplement) != header.supplement_crc:
        raise Unsound(header.file, at, "the crc of the supplement is wrong")
    fields = Fields(header.file, supplement, at)
    link = link_of(fields.part(LINK)) if header.flags & HAS_LINK else None
    echo = echo_of(fields, header) if header.flags & HAS_ECHO else None
    fields.end()
    return link, echo


def link_of(fields: Fields) -> Link:
    link = Link(fields.number(8), fields.bytes(16), fields.number(8), fields.number(8), fields.number(8))
    if link.segment == 0 and any((*link.salt, link.end, link.sums)):
        fields.fail("the link of the first segment is not zero", LINK)
    return link


def echo_of(fields: Fields, header: Header) -> Echo:
    first, last, count, missing, begun = (fields.number(size) for size in (8, 8, 4, 4, 8))
    if not 1 <= first <= last < header.sequence:
        fields.fail(f"batch {header.sequence} repeats {first} to {last}", 32)
    if missing > 1 or missing and count:
        fields.fail(f"{count} records, and the mark of missing ones is {missing}", 16)
    link = None
    if begun:
        link = link_of(fields.part(LINK))
    else:
        fields.zero(LINK)
    records = [record_of(fields.part(RECORD)) for _ in range(count)]
    for record in records:
        if record.kind in WITH_ENTRIES and (record.bytes or record.sum):
            fields.fail("entries in an echo have bytes or a sum", fields.left())
    return Echo(first, last, begun, link, None if missing else records)


def record_of(fields: Fields) -> Record:
    group, first, term, size, count, sum, kind = (fields.number(size) for size in (8, 8, 8, 8, 4, 4, 1))
    fields.zero(7)
    record = Record(group, first, term, size, count, sum, kind)
    if kind not in FIELDS:
        fields.fail(f"kind {kind}", 8)
    used, body = FIELDS[kind]
    if any(getattr(record, name) for name in ("first", "term", "count") if name not in used.split()):
        fields.fail(f"a field that kind {kind} does not use is not zero", RECORD)
    if body is None and (size or sum):
        fields.fail(f"kind {kind} has a body of {size} bytes with sum {sum}", RECORD)
    check_numbers(fields, record, body)
    return record


def check_numbers(fields: Fields, record: Record, body: str | None) -> None:
    first, term, count, kind = record.first, record.term, record.count, record.kind
    has_count = body == "entries" or kind == LOST
    highest = first + count - 1 if has_count else max(first, term) if kind in (REMOVE, LOST_BATCHES) else first
    # A truncation may name any index; a snapshot's lies in a file, and has an index behind it.
    if kind != TRUNCATE and highest > INDEX_MAX:
        fields.fail(f"index {highest} is never used", RECORD)
    if has_count and count == 0:
        fields.fail("no entries", RECORD)
    if kind == LOST_STATE and not 1 <= first <= 5 or kind == ACCEPT and not 1 <= first <= 7:
        fields.fail(f"kind {kind} names {first}", RECORD)
    if kind == LOST_BATCHES and (not 1 <= first <= term or record.group):
        fields.fail(f"batches {first} to {term} are lost, of group {record.group}", RECORD)
    if kind == REMOVE and term < first:
        fields.fail(f"entries {first} to {term} go", RECORD)
    if kind == RESET and (count > 1 or count == 0 and first):
        fields.fail(f"a reset with count {count} and first {first}", RECORD)
    if kind == SNAPSHOT and count > 2:
        fields.fail(f"a snapshot with outcome {count}", RECORD)


def operations_of(header: Header, data: memoryview, damages: list[Damage] | None = None) -> list[Operation]:
    """Directory and bodies, each byte of them checked. Bodies that are damaged are an error, unless these are collected."""
    at = header.offset + HEADER
    directory = data[at : header.supplement_at]
    if zlib.crc32(directory) != header.directory_crc:
        raise Unsound(header.file, at, "the crc of the directory is wrong")
    records = Fields(header.file, directory, at)
    body_at = header.supplement_at + header.supplement_bytes
    bodies = Fields(header.file, data[body_at : header.end], body_at)
    operations = []
    for nth in range(header.records):
        record = record_of(records.part(RECORD))
        here = bodies.part(record.bytes)
        try:
            body = body_of(record, here, header.salt[:4])
        except Damage as damage:
            if damages is None:
                raise
            damages.append(damage)
            body = remains_of(record, here.again(), header.salt[:4])
        operations.append(Operation(record, body, (header.file, at + RECORD * nth), here.offset))
    bodies.end()
    return operations


def remains_of(record: Record, fields: Fields, stamp: bytes) -> object:
    """What is left of a damaged body: the entries that are whole, and of any other nothing."""
    if record.kind not in WITH_ENTRIES:
        return None
    entries, is_known = [], True
    for index in range(record.first, record.first + record.count):
        entry, size = entry_at(fields.data[fields.at :], record.group, index, record.term, stamp) if is_known else (None, None)
        is_known = size is not None
        fields.at += size or 0
        entries.append(entry or Entry(index, record.term, None, None))
    return entries


def entry_at(data: memoryview, group: int, index: int, term: int, stamp: bytes) -> tuple[Entry | None, int | None]:
    """The entry, if it is whole, and its size, if it is this one at all."""
    if len(data) < ENTRY:
        return None, None
    crc, own_stamp, own_group, own_index, own_term, size, kind = struct.unpack_from("<I4sQQQIB", data)
    if (own_group, own_index, own_term) != (group, index, term) or ENTRY + size > len(data):
        return None, None
    size += ENTRY
    if crc != zlib.crc32(data[4 + 4 : size]) or own_stamp != stamp or any(data[37:40]):
        return None, size
    return Entry(index, term, kind, bytes(data[ENTRY:size])), size


def body_of(record: Record, fields: Fields, stamp: bytes) -> object:
    match FIELDS[record.kind][1]:
        case "entries":
            return entries_of(record, fields, stamp)
        case None:
            return None
        case kind:
            if zlib.crc32(fields.data) != record.sum:
                raise Unsound(fields.file, fields.offset, f"the crc of the {kind} is wrong")
    match kind:
        case "hard state":
            return hard_state_of(fields)
        case "key and value":
            key = key_of(fields)
            return key, fields.bytes(fields.left())
        case "key":
            key = key_of(fields)
            fields.end()
            return key
        case _:
            return fields.bytes(fields.left())


def entries_of(record: Record, fields: Fields, stamp: bytes) -> list[Entry]:
    entries, crcs = [], []
    for index in range(record.first, record.first + record.count):
        here = fields.offset + fields.at
        crc, rest = fields.number(4), fields.data[fields.at :]
        size = int.from_bytes(rest[28:32], "little")
        if crc != zlib.crc32(rest[4 : ENTRY - 4 + size]) or len(rest) < ENTRY - 4 + size:
            raise Unsound(fields.file, here, f"the crc of entry {index} is wrong")
        if fields.bytes(4) != stamp:
            raise Unsound(fields.file, here + 4, f"the stamp of entry {index} is wrong")
        fields.expect(8, record.group, "the group of an entry")
        fields.expect(8, index, "the index of an entry")
        fields.expect(8, record.term, "the term of an entry")
        fields.expect(4, size, "the size of an entry")
        kind = fields.number(1)
        fields.zero(3)
        entries.append(Entry(index, record.term, kind, fields.bytes(size)))
        crcs.append(crc)
    fields.end()
    if zlib.crc32(struct.pack(f"<{len(crcs)}I", *crcs)) != record.sum:
        raise Unsound(fields.file, fields.offset, f"the sum of entries {record.first} to {index} is wrong")
    return entries


def hard_state_of(fields: Fields) -> HardState:
    term, vote, commit, present = (fields.number(size) for size in (8, 8, 8, 1))
    fields.zero(7)
    fields.end()
    if present > 3 or vote and not present & 1 or commit and not present & 2:
        fields.fail("what is absent is not zero, or an unknown bit is set", HARD_STATE)
    return HardState(term, vote if present & 1 else None, commit if present & 2 else None)


def key_of(fields: Fields) -> str:
    if not (size := fields.number(1)):
        fields.fail("an empty key", 1)
    try:
        return fields.bytes(size).decode()
    except UnicodeDecodeError as error:
        raise Damage(fields.file, fields.offset + 1, f"the key is not UTF-8: {error}") from None


# Which records an echo and a footer join: of a kind, and of the one behind it.
MERGED = {(APPEND, APPEND), (REPLACE, APPEND), (PUT, PUT)}


def merged_run(records: Iterable[Record]) -> list[Record]:
    """The records of one group as a footer has them."""
    run = []
    for record in records:
        if record.kind in WITH_ENTRIES:
            record = replace(record, sum=0)
        before = run[-1] if run else None
        if before and (before.kind, record.kind) in MERGED and follows(record, before):
            run[-1] = replace(before, count=before.count + record.count, bytes=before.bytes + record.bytes)
        else:
            run.append(record)
    return run


def by_group(records: Iterable[Record]) -> dict[int, list[Record]]:
    """The records of each group, in their order."""
    groups = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    return groups


def follows(record: Record, before: Record) -> bool:
    return (record.term, record.first) == (before.term, before.first + before.count)


def without_sizes(record: Record) -> Record:
    """As it stands in an echo."""
    return replace(record, bytes=0, sum=0) if record.kind in WITH_ENTRIES else record
