"""Which batches count, in their order, and what is lost. FORMAT.md, section 10."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import batch
from batch import APPEND, LOST_BATCHES, REPLACE, WITH_ENTRIES, Echo, Entry, Header, Link, Operation, Record
from fields import BLOCK, Damage, Unsound, rounded_up
from footer import Footer
from manifest import Manifest
from segment import BATCHES, UNIT, Segment


# Instead of a body: the batches are found damaged here, and not told by a record.
DAMAGED = "damaged"


@dataclass
class Stretch:
    """Batches that follow each other: what they did; nothing where they are lost."""

    first: int
    last: int
    operations: list[Operation] | None


class Replay:
    """A walk over the batches that count."""

    def __init__(self, manifest: Manifest, segments: list[Segment]) -> None:
        self.manifest, self.segments = manifest, segments
        self.damages: list[Damage] = [damage for segment in segments for damage in segment.damages]
        self.links = self.links_of()
        # The last batch that counts, and where the next one may begin.
        self.sequence, self.sums = 0, 0
        self.segment, self.end = 0, 0
        self.walked: list[Stretch] = []
        # The last one that is there.
        self.counted = 0
        # What was met, and how often.
        self.met = Counter(segments=len(segments), begun=len(self.links), clean=int(manifest.clean))

    def links_of(self) -> list[Link | None]:
        """The links of the segments that are begun: from their own first batch, or from an echo, or from the footer."""
        told = {echo.begun: echo.link for segment in self.segments for _, echo in segment.echoes if echo.begun}
        links = []
        for segment in self.segments:
            footers = [footer.link for footer in segment.footers]
            link = segment.link or told.get(segment.number) or (footers[0] if footers else None)
            if link and (told.get(segment.number, link) != link):
                self.damages.append(Damage(segment.file, BATCHES, "an echo tells another link than the first batch"))
            # What is lost before a link that names no segment was in files that are gone.
            is_first = link and link.segment == 0 and link.sequence > 0
            if link and link.segment != segment.number - 1 and not is_first:
                self.damages.append(Damage(segment.file, BATCHES, f"the link names segment {link.segment}"))
            links.append(link)
        # Or a durable batch behind the first one is there.
        durable = self.watermark()
        while links and not links[-1]:
            if any(header.sequence <= durable for header in self.segments[len(links) - 1].headers):
                break
            links.pop()
        for segment, link in zip(self.segments, links):
            if not link:
                self.damages.append(Damage(segment.file, BATCHES, "it is not begun, and a later one is"))
        return links

    def operations(self) -> Iterator[Operation]:
        for at, segment in enumerate(self.segments[: len(self.links)]):
            link = self.links[at]
            next_link = self.links[at + 1] if at + 1 < len(self.links) else None
            is_last = at + 1 == len(self.links)
            if link and link.sequence > self.sequence:
                # Nothing before it is known, unless no segment was before it.
                if at > 0 or link.segment == 0:
                    self.lose(self.sequence + 1, link.sequence, Damage(segment.file, BATCHES, "batches are missing"))
                self.sequence, self.sums = link.sequence, link.sums
            if is_last:
                self.walk_last(segment)
            else:
                self.walk_sealed(segment, next_link)
        if not self.links:
            self.check_watermarks(0)
        self.check_rest()
        self.check_end()
        yield from self.resolved()

    # -- one segment

    def walk_sealed(self, segment: Segment, link: Link | None) -> None:
        """A segment with a begun one behind it."""
        start = self.sequence
        before = len(self.walked), len(self.damages), Counter(self.met)
        if link:
            self.walk(segment, link.sequence, link.sequence, link.end)
            found = (segment.salt, self.end, self.sequence, self.sums)
            told = (link.salt, link.end, link.sequence, link.sums)
            is_whole = len(self.damages) == before[1]
            if is_whole and found != told:
                what = f"the link says {told}, the segment before has {found}"
                self.damages.append(Damage(segment.file, BATCHES, what))
                is_whole = False
            footer = self.footer_of(segment, link)
            if footer and is_whole:
                self.met["footers"] += 1
                try:
                    footer.check([(one.first, one.operations) for one in self.walked[before[0] :]])
                except Damage as damage:
                    self.damages.append(damage)
            elif footer and footer.first == start + 1:
                self.met["footers instead of batches"] += 1
                del self.walked[before[0] :]
                operations = [*footer.operations(segment.data, self.damages)]
                self.walked.append(Stretch(footer.first, footer.last, operations))
            self.sequence, self.sums = link.sequence, link.sums
        else:
            # Its end is not known.
            self.walk(segment, None, None, len(segment.data))

    def footer_of(self, segment: Segment, link: Link) -> Footer | None:
        for footer in segment.footers:
            if (footer.salt, rounded_up(footer.end, UNIT), footer.last, footer.sums) == (
                link.salt, link.end, link.sequence, link.sums,
            ):  # fmt: skip
                return footer
        return None

    def walk_last(self, segment: Segment) -> None:
        durable = self.watermark()
        self.walk(segment, None, durable, len(segment.data))
        self.counted = self.sequence
        if durable > self.sequence:
            self.lose(self.sequence + 1, durable, Damage(segment.file, self.end, f"batch {durable} was durable"))
            self.sequence = durable

    def watermark(self) -> int:
        """Up to here everything is known to have been durable."""
        marks = [header.watermark for segment in self.segments for header in segment.headers]
        return max([self.manifest.watermark, *marks])

    def walk(self, segment: Segment, last: int | None, durable: int | None, end: int) -> None:
        """The batches up to the last one, if it is known. What is missing up to the durable one is lost."""
        at = BATCHES
        self.segment, self.end = segment.number, BATCHES
        while last is None or self.sequence < last:
            header, damage = self.next_batch(segment, at, durable)
            if not damage:
                at = self.end
                continue
            at = header.offset if header else at
            if durable is None or self.sequence >= durable:
                self.met["torn"] += any(header.offset >= at for header in segment.headers)
                return
            beyond = durable if last is not None else durable + 1
            following = (
                header
                for header in segment.headers
                if at < header.offset < end and self.sequence < header.sequence <= beyond
            )
            # A batch whose own header is whole is lost itself.
            bad = header.sequence if header else self.sequence
            following = next((one for one in following if one.sequence > bad), None)
            stop = following.sequence - 1 if following else durable
            if stop > self.sequence:
                self.lose(self.sequence + 1, stop, damage)
                self.sequence = stop
            elif not following:
                return
            if not following:
                return
            self.sums, at = following.chain, following.offset

    def next_batch(self, segment: Segment, at: int, durable: int | None) -> tuple[Header | None, Damage | None]:
        """Takes in the next batch, at this place or at the next block: whole, or what is left of it where it was durable."""
        headers, damage = [], None
        for place in dict.fromkeys((at, rounded_up(at, BLOCK))):
            try:
                header = segment.header(place)
                if (header.sequence, header.chain) != (self.sequence + 1, self.sums):
                    raise Unsound(segment.file, place, f"batch {header.sequence} does not follow batch {self.sequence}")
                headers.append(header)
                self.take(segment, header, None)
                return header, None
            except Damage as missing:
                damage = damage or missing
        if durable is not None and self.sequence < durable:
            for header in headers:
                try:
                    damages: list[Damage] = []
                    self.take(segment, header, damages)
                    self.damages += damages
                    return header, None
                except Damage:
                    continue
        return headers[0] if headers else None, damage

    def take(self, segment: Segment, header: Header, damages: list[Damage] | None) -> None:
        """Takes a batch in whose header is whole. Damage to its bodies is an error, unless it is collected."""
        link, echo = batch.supplement_of(header, segment.data)
        operations = batch.operations_of(header, segment.data, damages)
        if bool(link) != (header.offset == BATCHES):
            what = "the first batch of a segment has a link, and no other"
            self.damages.append(Damage(segment.file, header.offset, what))
        self.met["batches"] += 1
        self.met["batches behind another in its block"] += header.offset % BLOCK != 0
        self.met.update(f"records of kind {operation.record.kind}" for operation in operations)
        self.walked.append(Stretch(header.sequence, header.sequence, operations))
        if echo:
            self.check_echo(echo, segment.file, header.offset)
        self.sequence, self.sums = header.sequence, header.sums
        self.end = rounded_up(header.end, UNIT)

    def lose(self, first: int, last: int, damage: Damage) -> None:
        self.damages.append(damage)
        self.walked.append(Stretch(first, last, None))

    # -- echoes

    def check_echo(self, echo: Echo, file: str, at: int) -> None:
        """What it repeats is what the batches said, as far as these are there."""
        self.met["echoes"] += 1
        if echo.records is None:
            self.met["echoes without records"] += 1
            return
        repeated = [one for one in self.walked if one.first >= echo.first and one.last <= echo.last]
        is_there = repeated and repeated[0].first == echo.first and repeated[-1].last == echo.last
        if is_there and all(one.operations is not None for one in repeated):
            self.met["echoes compared"] += 1
            said = batch.by_group(operation.record for one in repeated for operation in one.operations)
            said = {
                group: [*map(batch.without_sizes, batch.merged_run(records))] for group, records in said.items()
            }
            if batch.by_group(echo.records) != said:
                what = f"the echo of batches {echo.first} to {echo.last} has other records than they"
                self.damages.append(Damage(file, at, what))

    def resolved(self) -> Iterator[Operation]:
        """The operations of all batches, those that echoes tell of lost ones among them."""
        lost = {sequence for one in self.walked if one.operations is None for sequence in range(one.first, one.last + 1)}
        told = self.told(lost) if lost else {}
        for one in self.walked:
            if one.operations is not None:
                if one.first not in told.get("skip", ()):
                    yield from one.operations
                continue
            sequence = one.first
            while sequence <= one.last:
                if sequence in told:
                    self.met["lost batches told by an echo"] += 1
                    yield from told[sequence]
                    sequence += 1
                    continue
                first = sequence
                while sequence <= one.last and sequence not in told:
                    sequence += 1
                self.met["lost batches that nobody knows"] += 1
                record = Record(0, first, sequence - 1, 0, 0, 0, LOST_BATCHES)
                yield Operation(record, DAMAGED, ("", 0))

    def told(self, lost: set[int]) -> dict:
        """What echoes tell of lost batches, at the first of each; nothing at the others."""
        told: dict = {"skip": set()}
        echoes = [(header, echo) for segment in self.segments for header, echo in segment.echoes]
        for header, echo in echoes:
            if echo.records is None:
                continue
            here = [at for at in range(echo.first, echo.last + 1) if at in lost and at not in told]
            if not here:
                continue
            low, high = here[0], here[-1]
            groups = {group: units(records) for group, records in batch.by_group(echo.records).items()}
            for one in self.walked:
                if one.operations is None or one.last < echo.first or one.first > echo.last:
                    continue
                if low < one.first < high:
                    told["skip"].add(one.first)
                    continue
                for group, records in batch.by_group(operation.record for operation in one.operations).items():
                    take = units(records)
                    have = groups.get(group, [])
                    groups[group] = have[len(take) :] if one.last < low else have[: len(have) - len(take)]
            told.update({at: [] for at in here})
            told[low] = [operation for group, rest in groups.items() for operation in map(operation_of, rest)]
        return told

    # -- the end

    def check_watermarks(self, sequence: int) -> None:
        if (durable := self.watermark()) > sequence:
            self.lose(sequence + 1, durable, Damage("MANIFEST", 0, f"batch {durable} was durable"))

    def check_rest(self) -> None:
        """Where bytes are missing behind the last batch, one more may have been there, unless the store was closed."""
        rest = self.segments[max(len(self.links) - 1, 0) :]
        if not self.manifest.clean and any(segment.is_short for segment in rest) and self.sequence == self.counted:
            self.lose(self.sequence + 1, self.sequence + 1, Damage(rest[0].file, self.end, "nobody knows what stood there"))

    def check_end(self) -> None:
        """Where the log was closed it ends, unless the slot that told of what came then is gone."""
        manifest = self.manifest
        if manifest.clean and manifest.watermark == self.sequence and not self.damages:
            if (manifest.end_segment, manifest.end) != (self.segment, self.end):
                where = f"segment {manifest.end_segment}, {manifest.end}"
                what = f"the end is {where}; the log ends in segment {self.segment}, {self.end}"
                self.damages.append(Damage("MANIFEST", 0, what))


def units(records: list[Record]) -> list[Record]:
    """Records of single entries, which say the same."""
    found = []
    for record in map(batch.without_sizes, records):
        if record.kind not in WITH_ENTRIES:
            found.append(record)
            continue
        for at in range(record.count):
            kind = APPEND if record.kind == REPLACE and at else record.kind
            found.append(replace(record, kind=kind, first=record.first + at, count=1))
    return found


def operation_of(record: Record) -> Operation:
    """What a record did whose body is lost."""
    body: object = None
    if record.kind in WITH_ENTRIES:
        body = [Entry(index, record.term, None, None) for index in range(record.first, record.first + record.count)]
    elif record.kind == batch.PURGE and record.bytes == 0:
        body = b""
    return Operation(record, body, ("", 0))
