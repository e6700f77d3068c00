"""The manifest. FORMAT.md, section 3."""

import os
from dataclasses import dataclass

from fields import BLOCK, FORMAT, Damage, Fields, is_sealed

NAME = "MANIFEST"
MAGIC = b"duramMAN"
SIZE = 128


@dataclass(frozen=True)
class Manifest:
    """The slot that counts."""

    store: bytes
    version: int
    first_live: int
    highest_created: int
    watermark: int
    end_segment: int
    end: int
    clean: bool


def read(directory: str) -> Manifest:
    path = os.path.join(directory, NAME)
    try:
        with open(path, "rb") as file:
            data = file.read(2 * BLOCK)
    except FileNotFoundError:
        if any(name.endswith(".seg") for name in os.listdir(directory)):
            raise Damage(path, 0, "there is none, and there are segments") from None
        raise
    slots = [slot for at in (0, BLOCK) if (slot := slot_at(path, memoryview(data)[at : at + SIZE], at))]
    if not slots:
        raise Damage(path, 0, "no slot is valid")
    return max(slots, key=lambda slot: slot.version)


def slot_at(path: str, data: memoryview, offset: int) -> Manifest | None:
    if not is_sealed(data, MAGIC, SIZE):
        return None
    fields = Fields(path, data, offset)
    fields.view(12)
    fields.expect(4, FORMAT, "the format")
    fields.expect(8, 0, "the feature bits")
    slot = Manifest(
        store=fields.bytes(16),
        version=fields.number(8),
        first_live=fields.number(8),
        highest_created=fields.number(8),
        watermark=fields.number(8),
        end_segment=fields.number(8),
        end=fields.number(8),
        clean=bool(mark := fields.number(4)),
    )
    if mark > 1:
        fields.fail(f"the clean mark is {mark}", 4)
    fields.zero(36)
    if slot.first_live < 1:
        fields.fail("the first live segment is 0", 80)
    return slot
