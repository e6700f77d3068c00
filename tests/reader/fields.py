"""Fields of a structure, one behind the other, and what is said where they are wrong. FORMAT.md, section 1."""

import zlib

BLOCK = 4096
FORMAT = 1
INDEX_MAX = 2**64 - 2


class Damage(Exception):
    """What a file holds cannot be right."""

    def __init__(self, file: str, offset: int, what: str) -> None:
        super().__init__(f"{file}, offset {offset}: {what}")


class Unsound(Damage):
    """A structure that does not count: never written to its end, or destroyed. Which of the two, others must tell."""


def rounded_up(offset: int, unit: int) -> int:
    return -(-offset // unit) * unit


class Fields:
    """The bytes of one structure, taken from its start on."""

    def __init__(self, file: str, data: memoryview, offset: int) -> None:
        """`data` begins at `offset` of the file."""
        self.file, self.data, self.offset, self.at = file, data, offset, 0

    def bytes(self, size: int) -> bytes:
        return bytes(self.view(size))

    def view(self, size: int) -> memoryview:
        if size > self.left():
            self.fail(f"{size} bytes are expected, {self.left()} are there")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.view(size), "little")

    def part(self, size: int) -> "Fields":
        """The next bytes as a structure of their own."""
        offset = self.offset + self.at
        return Fields(self.file, self.view(size), offset)

    def again(self) -> "Fields":
        """The same structure, from its start on."""
        return Fields(self.file, self.data, self.offset)

    def expect(self, size: int, value: int, name: str) -> None:
        if (found := self.number(size)) != value:
            self.fail(f"{name} is {found}, and must be {value}", size)

    def zero(self, size: int) -> None:
        if any(self.view(size)):
            self.fail(f"{size} bytes must be zero, and are not", size)

    def left(self) -> int:
        return len(self.data) - self.at

    def end(self) -> None:
        if self.left():
            self.fail(f"{self.left()} bytes too many")

    def fail(self, what: str, back: int = 0) -> None:
        raise Damage(self.file, self.offset + self.at - back, what)


def is_sealed(data: memoryview, magic: bytes, size: int, first: int = 12) -> bool:
    """Does a structure of this size begin here: its magic, and behind it the crc of the bytes from `first` on?"""
    at = len(magic)
    return (
        len(data) >= size
        and data[:at] == magic
        and zlib.crc32(data[first:size]) == int.from_bytes(data[at : at + 4], "little")
    )
