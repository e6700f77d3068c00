"""Footers: what the batches of a sealed segment say, once more. FORMAT.md, section 7."""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import batch
from batch import ENTRY, LINK, RECORD, WITH_ENTRIES, Entry, Link, Operation, Record
from fields import BLOCK, Damage, Fields, is_sealed, rounded_up

MAGIC = b"duramFTR"
SIZE, PIECE = 160, 16
EVEN = 1 << 31


@dataclass(frozen=True)
class Piece:
    """Entries that lie back to back in one batch."""

    at: int
    bytes: int
    is_even: bool
    count: int
    # Behind the first batch of the segment.
    batch: int


@dataclass(frozen=True)
class Footer:
    file: str
    offset: int
    salt: bytes
    first: int
    last: int
    sums: int
    link: Link
    end: int
    records: list[Record]
    # Of each record of entries.
    pieces: dict[int, list[Piece]]
    # Of each other record.
    bodies: dict[int, object]

    def operations(self, data: memoryview, damages: list[Damage]) -> Iterator[Operation]:
        """With the entries as the segment has them by now."""
        for nth, record in enumerate(self.records):
            place = (self.file, self.offset + SIZE + RECORD * nth)
            if record.kind not in WITH_ENTRIES:
                yield Operation(record, self.bodies[nth], place)
                continue
            entries = [*self.entries(record, self.pieces[nth], data)]
            if lost := next((entry for entry in entries if entry.data is None), None):
                damages.append(Damage(*place, f"entry {lost.index} of group {record.group} is not where it must be"))
            yield Operation(record, entries, place)

    def entries(self, record: Record, pieces: list[Piece], data: memoryview) -> Iterator[Entry]:
        index = record.first
        for piece in pieces:
            here, at = data[piece.at : piece.at + piece.bytes], 0
            for nth in range(piece.count):
                if piece.is_even:
                    at = piece.bytes // piece.count * nth
                entry = size = None
                if at is not None:
                    entry, size = batch.entry_at(here[at:], record.group, index, record.term, self.salt[:4])
                    at = None if size is None else at + size
                yield entry or Entry(index, record.term, None, None)
                index += 1

    def check(self, batches: list[tuple[int, list[Operation]]]) -> None:
        """It must say what the batches said, group by group, and of each entry where it lies."""
        said, places, bodies = defaultdict(list), defaultdict(list), defaultdict(list)
        for sequence, operations in batches:
            for operation in operations:
                record = operation.record
                said[record.group].append(record)
                if record.kind in WITH_ENTRIES:
                    at = operation.body_at
                    for entry in operation.body:
                        size = ENTRY + len(entry.data)
                        places[record.group].append((at, size, sequence - self.first))
                        at += size
                else:
                    bodies[record.group].append(operation.body)
        own_places, own_bodies = defaultdict(list), defaultdict(list)
        for nth, record in enumerate(self.records):
            if record.kind in WITH_ENTRIES:
                own_places[record.group] += self.pieces[nth]
            else:
                own_bodies[record.group].append(self.bodies[nth])
        if batch.by_group(self.records) != {group: batch.merged_run(records) for group, records in said.items()}:
            raise Damage(self.file, self.offset, "the footer has other records than the batches")
        if own_bodies != bodies:
            raise Damage(self.file, self.offset, "the footer has other bodies than the batches")
        for group, pieces in own_places.items():
            entries = iter(places[group])
            for piece in pieces:
                here = [next(entries) for _ in range(piece.count)]
                behind = [at + size for at, size, _ in here]
                follow = here[0][0] == piece.at and behind[:-1] == [at for at, _, _ in here[1:]]
                is_even = len({size for _, size, _ in here}) == 1
                if not follow or behind[-1] != piece.at + piece.bytes or {of for *_, of in here} != {piece.batch}:
                    raise Damage(self.file, self.offset, f"a piece at {piece.at} of {piece.bytes} bytes; there is {here}")
                if piece.is_even and not is_even:
                    raise Damage(self.file, self.offset, f"a piece at {piece.at} is called even; there is {here}")


def footer_at(file: str, data: memoryview, offset: int, salt: bytes, segment: int) -> Footer | None:
    """The footer that begins here; none where none is, or where its checksums are wrong."""
    here = data[offset : offset + SIZE]
    if not is_sealed(here, MAGIC, SIZE, first=12):
        return None
    fields = Fields(file, here, offset)
    fields.view(12)
    crc, own_salt, own_segment, own_offset = fields.number(4), fields.bytes(16), fields.number(8), fields.number(8)
    if (own_salt, own_segment, own_offset) != (salt, segment, offset):
        return None
    first, last, sums = fields.number(8), fields.number(8), fields.number(8)
    link = batch.link_of(fields.part(LINK))
    records, pieces, bodies, size, end = (fields.number(size) for size in (4, 4, 4, 4, 8))
    fields.zero(16)
    if size != SIZE + RECORD * records + PIECE * pieces + bodies:
        fields.fail(f"{size} bytes in all, of {records} records, {pieces} pieces, {bodies} bytes of bodies", 32)
    rest = data[offset + SIZE : offset + size]
    if len(rest) != size - SIZE or zlib.crc32(rest) != crc:
        return None
    if rounded_up(end, BLOCK) != offset or first != link.sequence + 1 or last < first or link.segment != segment - 1:
        fields.fail(f"batches {first} to {last}, behind {link.sequence}, end at {end}", SIZE)
    fields = Fields(file, rest, offset + SIZE)
    found = [batch.record_of(fields.part(RECORD)) for _ in range(records)]
    return Footer(
        file, offset, salt, first, last, sums, link, end, found,
        pieces_of(fields.part(PIECE * pieces), found, end, last - first), bodies_of(fields, found),
    )  # fmt: skip


def pieces_of(fields: Fields, records: list[Record], end: int, batches: int) -> dict[int, list[Piece]]:
    pieces = {}
    for nth, record in enumerate(records):
        if record.kind not in WITH_ENTRIES:
            continue
        if record.sum:
            fields.fail("a record of entries has a sum")
        here = pieces[nth] = []
        while sum(piece.count for piece in here) < record.count:
            at, size, count, behind = (fields.number(4) for _ in range(4))
            is_even, size = bool(size & EVEN), size & ~EVEN
            if not (count and 2 * BLOCK < at and at + size <= end and behind <= batches and size >= ENTRY * count):
                fields.fail(f"a piece at {at} of {size} bytes, {count} entries, batch {behind}", PIECE)
            if is_even and size % count or count == 1 and not is_even:
                fields.fail(f"a piece of {count} entries in {size} bytes, even: {is_even}", PIECE)
            here.append(Piece(at, size, is_even, count, behind))
        if sum(piece.count for piece in here) != record.count or sum(piece.bytes for piece in here) != record.bytes:
            fields.fail(f"a record of {record.count} entries, {record.bytes} bytes, has other pieces")
    fields.end()
    return pieces


def bodies_of(fields: Fields, records: list[Record]) -> dict[int, object]:
    bodies = {}
    for nth, record in enumerate(records):
        if record.kind not in WITH_ENTRIES:
            bodies[nth] = batch.body_of(record, fields.part(record.bytes), b"")
    fields.end()
    return bodies
