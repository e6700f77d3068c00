"""The worked examples of FORMAT.md, taken from the page: every byte means what stands beside it, and no other would do."""

import re
import unittest
import zlib
from collections.abc import Iterator
from pathlib import Path

import batch
import footer
import snapshot
from batch import Echo, Entry, HardState, Header, Link, Operation, Record
from fields import Damage
from footer import Footer, Piece
from snapshot import Snapshot

PAGE = Path(__file__).parents[2] / "core" / "FORMAT.md"
SALT = bytes.fromhex("00112233445566778899aabbccddeeff")
OFFSET = 8192


def example(heading: str) -> bytes:
    """The bytes of the first example behind a heading, each line of them where its offset says."""
    _, _, behind = PAGE.read_text().partition(f"\n{heading}\n")
    _, _, behind = behind.partition("\n```\n")
    lines, _, _ = behind.partition("\n```\n")
    found = b""
    for line in lines.splitlines():
        at, digits = re.match(r"([0-9a-f]+): ((?:[0-9a-f]{2} ?)+)", line).groups()
        assert int(at, 16) == len(found), f"{line} stands at {len(found):x}"
        found += bytes.fromhex(digits)
    return found


def decoded(example: bytes) -> tuple[Header, Link | None, Echo | None, list[Operation]]:
    """The batch, decoded at the place in a segment that it names."""
    data = memoryview(bytes(OFFSET) + example)
    header = batch.header_at("example", data, OFFSET, SALT, 2)
    return header, *batch.supplement_of(header, data), batch.operations_of(header, data)


class Batch(unittest.TestCase):
    example = example("## 8. A worked example")

    def test_it_is_what_the_page_says(self) -> None:
        header, link, echo, (append, hard_state) = decoded(self.example)
        sums = 0x1122334455667788
        self.assertEqual((header.sequence, header.watermark, header.chain), (10, 9, sums))
        self.assertEqual(link, Link(1, b"\xab" * 16, 12352, 9, sums))
        self.assertEqual(echo, Echo(9, 9, 0, None, [Record(7, 4, 2, 0, 1, 0, batch.APPEND)]))
        self.assertEqual((append.record.group, append.record.kind), (7, batch.APPEND))
        self.assertEqual(append.body, [Entry(5, 3, 1, b"a"), Entry(6, 3, 1, b"bc")])
        self.assertEqual((hard_state.record.group, hard_state.record.kind), (7, batch.HARD_STATE_SET))
        self.assertEqual(hard_state.body, HardState(term=3, vote=2, commit=None))
        self.assertEqual(header.end, OFFSET + 0x1E3)

    def test_another_byte_is_damage(self) -> None:
        for spoiled in spoiled_bytes(self.example[:0x1E3]):
            with self.assertRaises(Damage):
                decoded(spoiled)

    def test_a_batch_cut_short_is_damage(self) -> None:
        for size in range(0x1E3):
            with self.assertRaises(Damage):
                decoded(self.example[:size])


class AFooter(unittest.TestCase):
    example = example("## 7. Footer")

    def found(self, example: bytes) -> Footer | None:
        return footer.footer_at("example", memoryview(bytes(16384) + example), 16384, SALT, 2)

    def test_it_is_what_the_page_says(self) -> None:
        found = self.found(self.example)
        self.assertEqual((found.first, found.last, found.end), (10, 12, 12864))
        self.assertEqual(found.link, Link(1, b"\xab" * 16, 12352, 9, 0x1122334455667788))
        self.assertEqual([record.kind for record in found.records], [batch.APPEND, batch.HARD_STATE_SET, batch.APPEND])
        self.assertEqual(found.pieces[0], [Piece(8560, 83, False, 2, 0)])
        self.assertEqual(found.pieces[2], [Piece(12608, 41, True, 1, 1), Piece(12816, 41, True, 1, 2)])
        self.assertEqual(found.bodies, {1: HardState(term=3, vote=2, commit=None)})

    def test_another_byte_is_no_footer(self) -> None:
        for spoiled in spoiled_bytes(self.example):
            self.assertIsNone(self.found(spoiled))


class Metadata(unittest.TestCase):
    example = example("### Metadata of a snapshot")

    def metadata(self, body: bytes) -> Snapshot:
        record = Record(7, 5, 3, len(body), 0, 0, batch.SNAPSHOT)
        return snapshot.metadata_of(Operation(record, body, ("example", 0)))

    def test_it_is_what_the_page_says(self) -> None:
        crc = zlib.crc32(b"a" * 300)
        self.assertEqual(self.metadata(self.example), Snapshot(7, 5, 3, 2**32 + 1, 300, crc, b"abc"))

    def test_another_length_is_damage(self) -> None:
        for body in (*(self.example[:size] for size in range(len(self.example))), self.example + b"\0"):
            with self.assertRaises(Damage):
                self.metadata(body)

    def test_a_number_in_too_many_bytes_is_damage(self) -> None:
        for number in ("fbfa00", "fcffff0000", "fdffffffff00000000", "fe" + "00" * 16, "ff"):
            with self.assertRaises(Damage):
                self.metadata(bytes.fromhex(number) + self.example[9:])


def spoiled_bytes(sound: bytes) -> Iterator[bytes]:
    for at, byte in enumerate(sound):
        yield sound[:at] + bytes([byte ^ 0x10]) + sound[at + 1 :]


if __name__ == "__main__":
    unittest.main()
