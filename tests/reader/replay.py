"""Which batches count, in their order. FORMAT.md, section 10."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

import batch
from batch import APPEND, PUT, REPLACE, Echo, Header, Link, Operation, Record
from fields import BLOCK, Damage, Unsound, rounded_up
from manifest import Manifest
from segment import BATCHES, UNIT, Segment

# Which records an echo joins: of a kind, and of the one behind it.
MERGED = {(APPEND, APPEND), (REPLACE, APPEND), (PUT, PUT)}


def links_of(segments: list[Segment]) -> list[Link]:
    """The links of the segments that are begun: from their own first batch, or from an echo."""
    told = {echo.begun: echo.link for segment in segments for echo in segment.echoes() if echo.begun}
    links = [segment.link or told.get(segment.number) for segment in segments]
    while links and not links[-1]:
        links.pop()
    for segment, link in zip(segments, links):
        if not link:
            raise Damage(segment.file, BATCHES, "it is not begun, and a later one is")
        if told.get(segment.number, link) != link:
            raise Damage(segment.file, BATCHES, "an echo tells another link than the first batch")
        if link.segment != segment.number - 1:
            raise Damage(segment.file, BATCHES, f"the link names segment {link.segment}")
    return links


def merged(records: Iterable[Record]) -> dict[int, list[Record]]:
    """The records of each group as an echo has them."""
    groups = defaultdict(list)
    for record in records:
        group, record = groups[record.group], replace(record, bytes=0, sum=0)
        before = group[-1] if group else None
        if before and (before.kind, record.kind) in MERGED and follows(record, before):
            group[-1] = replace(before, count=before.count + record.count)
        else:
            group.append(record)
    return groups


def follows(record: Record, before: Record) -> bool:
    return (record.term, record.first) == (before.term, before.first + before.count)


class Lost(Damage):
    """Batches that were durable are not there."""

    def __init__(self, what: str) -> None:
        Exception.__init__(self, what)


class Replay:
    """A walk over the batches that count."""

    def __init__(self, manifest: Manifest, segments: list[Segment]) -> None:
        self.manifest, self.segments, self.links = manifest, segments, links_of(segments)
        # The last batch that counts, and where the next one may begin.
        self.sequence = self.links[0].sequence if self.links else 0
        self.sums = self.links[0].sums if self.links else 0
        self.segment, self.end = 0, 0
        # Why the batch behind it does not count.
        self.missing: Unsound | None = None
        # The records of the batches that count, by sequence number.
        self.records: dict[int, list[Record]] = {}
        # What was met, and how often.
        self.met = Counter(segments=len(segments), begun=len(self.links), clean=int(manifest.clean))

    def operations(self) -> Iterator[Operation]:
        following = [*zip(self.segments[1:], self.links[1:]), (None, None)]
        for segment, (next_segment, next_link) in zip(self.segments, following):
            yield from self.walk(segment, next_link)
            if next_link:
                self.check_link(segment, next_segment, next_link)
        self.check_watermarks()
        self.check_end()

    def walk(self, segment: Segment, next_link: Link | None) -> Iterator[Operation]:
        """The batches of one segment, up to the next one's link."""
        at = BATCHES
        while not next_link or self.sequence < next_link.sequence:
            try:
                header, operations = self.batch(segment, at)
            except Unsound as missing:
                if next_link:
                    raise
                self.missing = missing
                self.met["torn"] += any(header.offset >= at for header in segment.headers)
                return
            self.sequence, self.sums = header.sequence, header.sums
            self.segment, self.end = segment.number, rounded_up(header.end, UNIT)
            at = self.end
            yield from operations

    def batch(self, segment: Segment, at: int) -> tuple[Header, list[Operation]]:
        """The next batch, at this place or at the next block."""
        try:
            return self.batch_at(segment, at)
        except Unsound as missing:
            if (block := rounded_up(at, BLOCK)) == at:
                raise
            try:
                return self.batch_at(segment, block)
            except Unsound:
                raise missing from None

    def batch_at(self, segment: Segment, at: int) -> tuple[Header, list[Operation]]:
        header = segment.header(at)
        if (header.sequence, header.chain) != (self.sequence + 1, self.sums):
            raise Unsound(segment.file, at, f"batch {header.sequence} does not follow batch {self.sequence}")
        link, echo = batch.supplement_of(header, segment.data)
        operations = batch.operations_of(header, segment.data)
        if bool(link) != (at == BATCHES):
            raise Damage(segment.file, at, "the first batch of a segment has a link, and no other")
        self.met["batches"] += 1
        if echo:
            self.check_echo(echo, segment.file, at)
        self.records[header.sequence] = [operation.record for operation in operations]
        self.met["batches behind another in its block"] += at % BLOCK != 0
        self.met.update(f"records of kind {operation.record.kind}" for operation in operations)
        return header, operations

    def check_echo(self, echo: Echo, file: str, at: int) -> None:
        """What it repeats is what the batches said, as far as these are there."""
        self.met["echoes"] += 1
        repeated = range(echo.first, echo.last + 1)
        if echo.records is None:
            self.met["echoes without records"] += 1
        elif all(sequence in self.records for sequence in repeated):
            self.met["echoes compared"] += 1
            said = merged(record for sequence in repeated for record in self.records[sequence])
            if merged(echo.records) != said or sum(map(len, said.values())) != len(echo.records):
                raise Damage(file, at, f"the echo of batches {echo.first} to {echo.last} has other records than they")

    def check_link(self, segment: Segment, next_segment: Segment, link: Link) -> None:
        found = (segment.salt, self.end, self.sequence, self.sums)
        told = (link.salt, link.end, link.sequence, link.sums)
        if found != told:
            raise Damage(next_segment.file, BATCHES, f"the link says {told}, the segment before has {found}")

    def check_watermarks(self) -> None:
        """What was durable once must be there."""
        if self.manifest.watermark > self.sequence:
            self.fail(self.manifest.watermark)
        for segment in self.segments:
            for header in segment.headers:
                if header.watermark > self.sequence:
                    self.fail(header.watermark)

    def fail(self, watermark: int) -> None:
        where = self.missing or f"{self.segments[0].file}, offset {BATCHES}: no segment is begun"
        raise Lost(f"{where}; it lacks batch {self.sequence + 1}, and batch {watermark} was durable")

    def check_end(self) -> None:
        """Where the log was closed it ends, unless the slot that told of what came then is gone."""
        manifest = self.manifest
        if manifest.clean and manifest.watermark == self.sequence:
            if (manifest.end_segment, manifest.end) != (self.segment, self.end):
                where = f"segment {manifest.end_segment}, {manifest.end}"
                raise Damage("MANIFEST", 0, f"the end is {where}; the log ends in segment {self.segment}, {self.end}")
