"""Segments: their headers, and where batches and the footer begin. FORMAT.md, section 4."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import batch
import footer
from batch import HEADER, Echo, Header, Link
from fields import BLOCK, FORMAT, Damage, Fields, is_sealed, rounded_up
from footer import Footer
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
    # Empty where nothing tells it.
    salt: bytes
    # As much as the header's capacity says, or as the file has.
    data: memoryview
    damages: list[Damage] = field(default_factory=list)
    # May bytes be missing that once held batches?
    is_short: bool = False

    def header(self, offset: int) -> Header:
        return batch.header_at(self.file, self.data, offset, self.salt, self.number)

    def header_or_none(self, offset: int) -> Header | None:
        try:
            return self.header(offset)
        except Damage:
            return None

    @cached_property
    def link(self) -> Link | None:
        """The link in the first batch; none where that batch is not there, or has none."""
        try:
            return batch.supplement_of(self.header(BATCHES), self.data)[0]
        except Damage:
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

    @cached_property
    def echoes(self) -> list[tuple[Header, Echo]]:
        found = []
        for header in self.headers:
            try:
                echo = batch.supplement_of(header, self.data)[1]
            except Damage:
                continue
            if echo:
                found.append((header, echo))
        return found

    @cached_property
    def footers(self) -> list[Footer]:
        """What looks like one, wherever it lies."""
        found, at = [], BATCHES
        while self.salt and (at := self.data.obj.find(footer.MAGIC, at, len(self.data))) >= 0:
            if at % BLOCK == 0:
                try:
                    found.append(footer.footer_at(self.file, self.data, at, self.salt, self.number))
                except Damage as damage:
                    self.damages.append(damage)
            at += 1
        return [one for one in found if one]


def read_all(directory: str, manifest: Manifest) -> list[Segment]:
    """The segments that the manifest counts, oldest first."""
    numbers = range(manifest.first_live, manifest.highest_created + 1)
    segments = [read(os.path.join(directory, f"{number:016x}.seg"), number, manifest.store) for number in numbers]
    # Where both headers are bad the next segment may tell the salt.
    for at in reversed(range(len(segments) - 1)):
        here, behind = segments[at], segments[at + 1]
        if not here.salt and len(here.data) and behind.link:
            segments[at] = replace(here, salt=behind.link.salt)
    return segments


def read(path: str, number: int, store: bytes) -> Segment:
    try:
        with open(path, "rb") as file:
            data = memoryview(file.read())
    except FileNotFoundError:
        return nothing(Damage(path, 0, "the manifest counts it, and it is not there"), path, number)
    copies, damages = [], []
    for at in (0, BLOCK):
        here = data[at : at + SIZE]
        # A copy whose rewriting was cut short may be one of an earlier life, of another number.
        if is_sealed(here, MAGIC, SIZE) and here[24:48] == store + number.to_bytes(8, "little"):
            try:
                copies.append(segment_of(Fields(path, here, at), number, data))
            except Damage as damage:
                damages.append(damage)
    if copies:
        # That of the first batch counts, else the first one.
        begun = [copy for copy in copies if copy.header_or_none(BATCHES)]
        whole = [copy for copy in copies if not copy.is_short]
        counts = begun[0] if len(begun) == 1 else whole[0] if whole else copies[0]
        if len(copies) == 1 and counts.headers:
            counts.damages.append(Damage(path, 0, "one of the two headers is bad"))
        return counts
    if damages:
        return nothing(damages[0], path, number)
    # No batch lies in it then, or the store is damaged.
    salt = salt_of_first_batch(data, number)
    return Segment(path, number, salt, data, [Damage(path, 0, "both headers are bad")] if salt else [], True)


def nothing(damage: Damage, path: str, number: int) -> Segment:
    return Segment(path, number, b"", memoryview(b""), [damage], True)


def salt_of_first_batch(data: memoryview, number: int) -> bytes:
    here = data[BATCHES : BATCHES + HEADER]
    if is_sealed(here, batch.MAGIC, HEADER, first=8) and here[24:40] == b"".join(
        value.to_bytes(8, "little") for value in (number, BATCHES)
    ):
        return bytes(here[8:24])
    return b""


def segment_of(fields: Fields, number: int, data: memoryview) -> Segment:
    fields.view(12)
    fields.expect(4, FORMAT, "the format")
    fields.expect(8, 0, "the feature bits")
    fields.view(24)
    salt, capacity = fields.bytes(16), fields.number(8)
    if capacity % BLOCK or not BATCHES <= capacity < 2**32:
        fields.fail(f"the capacity is {capacity}", 8)
    fields.expect(4, BLOCK, "the block size")
    fields.zero(20)
    damages = []
    if capacity > len(data):
        damages.append(Damage(fields.file, len(data), f"the file ends here, the header says {capacity} bytes"))
    return Segment(fields.file, number, salt, data[:capacity], damages, bool(damages))
