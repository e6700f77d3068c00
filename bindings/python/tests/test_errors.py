"""One class per code, each with the base that Python's users expect, and nothing else that comes out."""

import errno
import pickle

import pytest

import duramen
from duramen import _duramen, _errors

BASES = {
    "invalid_argument": ValueError,
    "not_found": IndexError,
    "compacted": IndexError,
    "not_contiguous": ValueError,
    "too_large": ValueError,
    "corrupt": OSError,
    "poisoned": OSError,
    "locked": BlockingIOError,
    "closed": ValueError,
    "no_space": OSError,
    "io": OSError,
    "unsupported_format": ValueError,
    "not_a_store": FileNotFoundError,
    "timeout": TimeoutError,
    "forked": RuntimeError,
    "no_memory": MemoryError,
    "hole": IndexError,
    "options_conflict": ValueError,
    "panic": RuntimeError,
}


def test_the_classes_are_the_table_of_core():
    assert {error.name: error.code for error in _errors.CLASSES.values()} == _duramen._CODES
    assert len(_errors.CLASSES) == len(duramen.DuramenError.__subclasses__()) == 19


def test_every_class_has_its_second_base_and_is_exported():
    assert {error.name: error.__bases__ for error in _errors.CLASSES.values()} == {
        name: (duramen.DuramenError, base) for name, base in BASES.items()
    }
    exported = {getattr(duramen, name) for name in duramen.__all__}
    assert exported > {duramen.DuramenError, *_errors.CLASSES.values()}


@pytest.mark.parametrize("error", _errors.CLASSES.values(), ids=lambda error: error.name)
def test_every_error_shows_its_message_and_survives_pickling(error):
    raised = _errors.from_code(error.code, "the message", index=5, errno=errno.EIO, strerror="broken", filename="f")
    raised.add_note("a note")
    for again in (raised, pickle.loads(pickle.dumps(raised))):
        assert type(again) is error
        assert (str(again), again.args, again.code, again.name) == ("the message", ("the message",), error.code, error.name)
        assert (again.index, again.errno, again.strerror, again.filename) == (5, errno.EIO, "broken", "f")
        assert again.__notes__ == ["a note"]


def test_a_code_that_is_not_known_is_the_base():
    error = _errors.from_code(77, "from the future")
    assert (type(error), error.code, str(error)) == (duramen.DuramenError, 77, "from the future")


def test_opening_what_is_not_a_store(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(duramen.NotAStoreError, match="is a file") as raised:
        duramen.open(tmp_path / "file")
    assert raised.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        duramen.open(tmp_path / "missing", create=False)
    with pytest.raises(duramen.StorageError) as raised:
        duramen.open(tmp_path / "missing" / "store")
    assert (raised.value.errno, raised.value.op) == (errno.ENOENT, "open")
    for wrong in (5, None, ["store"]):
        with pytest.raises(TypeError):
            duramen.open(wrong)


def test_options_are_checked_and_named(tmp_path):
    for option in ("segment_bytes", "entry_bytes_max", "batch_bytes_max", "groups_max"):
        for value in (0, 2**63, 2**64 - 1):
            with pytest.raises(duramen.InvalidArgumentError, match=f"{option} is"):
                duramen.open(tmp_path / "store", **{option: value})
    with pytest.raises(TypeError):
        duramen.open(tmp_path / "store", colour="red")
    with pytest.raises(TypeError):
        duramen.Store(tmp_path / "store", False)


def test_a_second_opening_with_other_options_is_told_which(tmp_path):
    with duramen.open(tmp_path / "store", segment_bytes=1 << 20):
        with pytest.raises(duramen.OptionsConflictError) as raised:
            duramen.open(tmp_path / "store")
        assert (raised.value.option, raised.value.open) == ("segment_bytes", str(1 << 20))
        with pytest.raises(BlockingIOError) as raised:
            duramen.open(tmp_path / "store", segment_bytes=1 << 20, exclusive=True)
        assert raised.value.filename == str(tmp_path / "store")


def test_limits_are_enforced_and_named(tmp_path):
    with duramen.open(tmp_path / "store", entry_bytes_max=10, batch_bytes_max=15) as log:
        with pytest.raises(duramen.TooLargeError, match="entry_bytes_max") as raised:
            log.append(b"x" * 11, term=1)
        assert (raised.value.size, raised.value.limit) == (11, 10)
        with pytest.raises(duramen.TooLargeError, match="batch_bytes_max"):
            log.extend([(1, b"x" * 8)] * 2)
        assert log.append(b"x" * 10, term=1) == 1


def test_damage_is_named_by_file_and_place(tmp_path):
    with duramen.open(tmp_path / "store") as log:
        log.append(b"first payload", term=1)
        log.extend([(1, b"x" * 5000)] * 4)
    segment = next(path for path in sorted((tmp_path / "store").iterdir()) if b"first payload" in path.read_bytes())
    damaged = bytearray(segment.read_bytes())
    at = damaged.index(b"first payload")
    damaged[at] ^= 1
    segment.write_bytes(damaged)
    with duramen.open(tmp_path / "store") as log:
        with pytest.raises(duramen.CorruptError, match="entry 1 of group 0") as raised:
            log[1]
        assert log[2].data == b"x" * 5000
        assert log.append(b"behind it", term=1) == 6
    error = raised.value
    assert (error.code, error.name, error.group, error.index, error.term) == (6, "corrupt", 0, 1, 1)
    assert (error.filename, error.batch) == (segment.name, None)
    assert 0 <= error.offset <= at


def test_a_panic_is_an_error_like_every_other(capfd):
    with pytest.raises(duramen.PanicError, match="internal error: the promise broke"):
        _duramen._panic("the promise broke")
    assert "the promise broke" in capfd.readouterr().err
