"""Segments: their headers, and where batches begin. FORMAT.md, section 4."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import batch
from batch import Echo, Header, Link
from fields import BLOCK, FORMAT, Damage, Fields, Unsound, is_sealed
from manifest import Manifest

MAGIC = b"duramSEG"
SIZE = 96
BATCHES = 2 * BLOCK
UNIT = 64
SALT_AT = 8


@dataclass(frozen=True)
class Segment:
    file: str
    number: int
    # Empty where both headers are bad.
    salt: bytes
    # As much as the header's capacity says.
    data: memoryview

    def header(self, offset: int) -> Header:
        return batch.header_at(self.file, self.data, offset, self.salt, self.number)

    @cached_property
    def link(self) -> Link | None:
        """The link in the first batch; none where that batch is not there, or has none."""
        try:
            return batch.supplement_of(self.header(BATCHES), self.data)[0]
        except Unsound:
            return None

    @cached_property
    def headers(self) -> list[Header]:
        """Every header of this life of the segment, wherever it lies."""
        return [header for at in self.marks() if (header := self.header_or_none(at))]

    def marks(self) -> Iterator[int]:
        """Where a header may begin, because the salt stands where it would have it."""
        at = BATCHES
        while self.salt and (at := self.data.obj.find(self.salt, at, len(self.data))) >= 0:
            if (at - SALT_AT) % UNIT == 0:
                yield at - SALT_AT
            at += 1

    def header_or_none(self, offset: int) -> Header | None:
        try:
            return self.header(offset)
        except Unsound:
            return None

    def echoes(self) -> Iterator[Echo]:
        for header in self.headers:
            try:
                echo = batch.supplement_of(header, self.data)[1]
            except Unsound:
                continue
            if echo:
                yield echo


def read_all(directory: str, manifest: Manifest) -> list[Segment]:
    """The segments that the manifest counts, oldest first."""
    numbers = range(manifest.first_live, manifest.highest_created + 1)
    return [read(os.path.join(directory, f"{number:016x}.seg"), number, manifest.store) for number in numbers]


def read(path: str, number: int, store: bytes) -> Segment:
    try:
        with open(path, "rb") as file:
            data = memoryview(file.read())
    except FileNotFoundError:
        raise Damage(path, 0, "the manifest counts it, and it is not there") from None
    for at in (0, BLOCK):
        here = data[at : at + SIZE]
        # A copy whose rewriting was cut short may be one of an earlier life, of another number.
        if is_sealed(here, MAGIC, SIZE) and here[24:48] == store + number.to_bytes(8, "little"):
            return segment_of(Fields(path, here, at), number, data)
    # No batch lies in it then, or the store is damaged.
    return Segment(path, number, b"", memoryview(b""))


def segment_of(fields: Fields, number: int, data: memoryview) -> Segment:
    fields.view(12)
    fields.expect(4, FORMAT, "the format")
    fields.expect(8, 0, "the feature bits")
    fields.view(24)
    salt, capacity = fields.bytes(16), fields.number(8)
    if capacity % BLOCK or not BATCHES <= capacity < 2**32 or capacity > len(data):
        fields.fail(f"the capacity is {capacity}, the file has {len(data)} bytes", 8)
    fields.expect(4, BLOCK, "the block size")
    fields.zero(20)
    return Segment(fields.file, number, salt, data[:capacity])
