"""Reads stores as core/FORMAT.md says, and nothing else; tests/README.md says what is printed.

    python3 tests/reader DIR
    python3 tests/reader -      directories on standard input, one a line; behind each one's lines a line that ends them
"""

import signal
import sys
from dataclasses import dataclass, field

import dump
from fields import Damage

SOUND, DAMAGED, USAGE, IO = range(4)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["-"]:
            return max(map(answer, sys.stdin), default=SOUND)
        case [directory] if not directory.startswith("-"):
            answered = read(directory)
            sys.stdout.writelines(f"{line}\n" for line in answered.lines)
            if answered.error:
                print(answered.error, file=sys.stderr)
            return answered.status
        case _:
            print("usage: reader DIR | reader -", file=sys.stderr)
            return USAGE


@dataclass
class Answer:
    status: int
    lines: list[str] = field(default_factory=list)
    met: dict[str, int] = field(default_factory=dict)
    error: str | None = None


def answer(line: str) -> int:
    """Answers one line of standard input."""
    answered = read(line.rstrip("\n"))
    end = {"status": answered.status, "error": answered.error, "met": answered.met}
    sys.stdout.writelines(f"{line}\n" for line in [*answered.lines, dump.json_of(end)])
    sys.stdout.flush()
    return answered.status


def read(directory: str) -> Answer:
    try:
        found = dump.read(directory)
        return Answer(DAMAGED if found.damages else SOUND, found.lines, found.met, found.damages[0] if found.damages else None)
    except Damage as damage:
        return Answer(DAMAGED, error=str(damage))
    except OSError as error:
        return Answer(IO, error=f"{directory}: {error}")


if __name__ == "__main__":
    # Who reads only the first lines ends this quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
