"""What a log does, method by method."""

import copy
import pickle

import pytest

import duramen
from duramen import Entry, HardState


@pytest.fixture
def log(tmp_path):
    with duramen.open(tmp_path / "store") as log:
        yield log


def test_untouched_log_has_nothing_and_starts_at_one(log):
    assert (len(log), log.first, log.next, log.last, log.bounds, log.hard_state) == (0, None, None, None, None, None)
    assert list(log) == log[:] == []
    assert log.append(b"a", term=1) == 1


def test_append_returns_indexes_and_reads_give_back_what_was_written(log):
    assert log.append(b"a", term=1) == 1
    assert log.append(b"", term=2, kind=255) == 2
    assert log.extend([(2, b"c"), (3, b"\0\xff")], kind=7) == 4
    assert log[:] == [Entry(1, 1, b"a"), Entry(2, 2, b"", 255), Entry(3, 2, b"c", 7), Entry(4, 3, b"\0\xff", kind=7)]
    assert log[4].data == b"\0\xff" and type(log[4].data) is bytes
    assert (len(log), log.first, log.next, log.last, log.bounds) == (4, 1, 5, 4, range(1, 5))
    assert [log.term(index) for index in log.bounds] == [1, 2, 2, 3]


def test_what_was_written_is_there_after_reopening(tmp_path):
    with duramen.open(tmp_path / "store") as log:
        log.extend([(1, b"x" * 100_000), (1, b"y")])
        log.hard_state = HardState(3, vote=2)
    with duramen.open(str(tmp_path / "store"), create=False) as log:
        assert [len(entry.data) for entry in log] == [100_000, 1]
        assert log.hard_state == HardState(3, vote=2, commit=None)


def test_every_bytes_like_object_is_data(log):
    import array

    for data in [b"ab", bytearray(b"ab"), memoryview(b"xaby")[1:3], array.array("b", b"ab"), memoryview(b"a-b-")[::2]]:
        assert log[log.append(data, term=1)].data == b"ab"
    wide = array.array("I", [1, 2])
    assert log[log.extend([(1, wide)])].data == wide.tobytes()


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_what_is_not_bytes_like_is_refused_by_type(log, data):
    with pytest.raises(TypeError):
        log.append(data, term=1)
    with pytest.raises(TypeError):
        log.extend([(1, b"a"), (1, data)])
    assert len(log) == 0


def test_a_buffer_changed_after_append_does_not_change_the_log(log):
    data = bytearray(b"before")
    log.append(data, term=1)
    data[:] = b"after!"
    assert log[1].data == b"before"


def test_extend_takes_any_iterable_and_writes_all_or_nothing(log):
    assert log.extend((term, bytes([term])) for term in range(1, 4)) == 3

    def failing():
        yield 4, b"d"
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        log.extend(failing())
    for wrong in ([(4, b"d"), (5,)], [[4, b"d"]], [b"d"], [4], 4):
        with pytest.raises(TypeError):
            log.extend(wrong)
    assert log.last == 3


def test_extend_by_nothing_changes_nothing(log):
    assert log.extend([]) is None
    assert log.append_entries([]) is None
    log.append(b"a", term=1)
    assert log.extend([]) == log.append_entries([]) == 1


def test_append_entries_is_strict_about_indexes(log):
    assert log.append_entries([Entry(7, 1, b"a"), Entry(8, 2, b"b", 3)]) == 8
    assert (log.first, log.next, log[8]) == (7, 9, Entry(8, 2, b"b", 3))
    for index, expected in [(8, 9), (10, 9)]:
        with pytest.raises(duramen.NotContiguousError) as raised:
            log.append_entries([Entry(index, 2, b"c")])
        assert (raised.value.expected, raised.value.got, raised.value.group) == (expected, index, 0)
    with pytest.raises(duramen.NotContiguousError):
        log.append_entries([Entry(9, 2, b"c"), Entry(11, 2, b"d")])
    with pytest.raises(TypeError):
        log.append_entries([(9, 2, b"c")])
    assert log.append(b"c", term=2) == 9


def test_index_zero_is_an_ordinary_index(log):
    log.append_entries([Entry(0, 1, b"zero")])
    assert (log.first, log.next, log.last, log[0].data) == (0, 1, 0, b"zero")


def test_slices_are_half_open_and_what_is_left_out_is_where_the_log_begins_and_ends(log):
    log.append_entries([Entry(index, 1, b"%d" % index) for index in range(5, 10)])
    indexes = lambda entries: [entry.index for entry in entries]
    assert indexes(log[6:8]) == [6, 7]
    assert indexes(log[:7]) == [5, 6]
    assert indexes(log[8:]) == [8, 9]
    assert indexes(log[:]) == indexes(log[::1]) == [5, 6, 7, 8, 9]
    assert log[7:7] == log[8:6] == []


def test_slices_are_never_shortened_in_silence(log):
    log.append_entries([Entry(5, 1, b"a"), Entry(6, 1, b"b")])
    for slice_ in [slice(5, 8), slice(7, 9)]:
        with pytest.raises(duramen.NotFoundError) as raised:
            log[slice_]
        assert (raised.value.index, raised.value.next) == (7, 7)
    with pytest.raises(duramen.DuramenError):
        log[4:6]


def test_subscripts_that_no_log_has(log):
    log.append(b"a", term=1)
    for index in (-1, -(2**70)):
        with pytest.raises(IndexError, match="never from the end"):
            log[index]
    with pytest.raises(duramen.NotFoundError):
        log[2]
    for index in (2**64 - 1, 2**64, 2**5000):
        with pytest.raises(duramen.InvalidArgumentError):
            log[index]
    with pytest.raises(ValueError):
        log[::2]
    with pytest.raises(ValueError):
        log[-1:]
    for key in ("1", 1.0, None):
        with pytest.raises(TypeError):
            log[key]


def test_read_stops_at_the_limit_but_never_before_the_first_entry(log):
    log.extend([(1, b"x" * 100)] * 10)
    assert len(log.read(1)) == len(log.read(1, 11, None)) == 10
    assert [entry.index for entry in log.read(3, 9, 250)] == [3, 4]
    assert [entry.index for entry in log.read(3, limit_bytes=0)] == [3]
    assert log.read(4, 4) == []
    with pytest.raises(duramen.NotFoundError):
        log.read(10, 12)


def test_iteration_goes_from_first_to_next_over_many_pages(log):
    log.extend([(1, b"%d" % index) for index in range(10_000)])
    log.extend([(2, b"x" * 700_000)] * 4)
    indexes = [entry.index for entry in log]
    assert indexes == list(log.bounds) == list(range(1, 10_005))
    assert [entry.index for entry in log.iter(4, 7)] == [4, 5, 6]
    assert [entry.index for entry in log.iter(start=10_003)] == [10_003, 10_004]


def test_iteration_sees_what_was_there_when_it_began_and_ends_after_an_error(log):
    log.extend([(1, b"a")] * 2)
    entries = iter(log)
    log.append(b"b", term=1)
    assert len(list(entries)) == 2
    entries = log.iter(2, 9)
    with pytest.raises(duramen.NotFoundError):
        next(entries)
    assert list(entries) == []


def test_python_does_not_search_a_log_behind_its_back(log):
    log.append(b"a", term=1)
    with pytest.raises(TypeError, match="log.bounds"):
        1 in log
    with pytest.raises(TypeError, match="forwards"):
        reversed(log)


def test_term_names_the_index_that_is_missing(log):
    log.append(b"a", term=9)
    assert log.term(1) == 9
    with pytest.raises(duramen.NotFoundError) as raised:
        log.term(2)
    assert (raised.value.index, raised.value.next) == (2, 2)


def test_hard_state_is_none_until_set_and_none_is_not_zero(log):
    for state in [HardState(0), HardState(4, vote=0), HardState(4, commit=2**64 - 1), HardState(5, 1, 2)]:
        log.hard_state = state
        assert log.hard_state == state
    log.set_hard_state(HardState(6), durable=False)
    assert (log.hard_state.term, log.hard_state.vote, log.hard_state.commit) == (6, None, None)
    for wrong in (None, (1, 2, 3), 4):
        with pytest.raises(TypeError):
            log.hard_state = wrong
    with pytest.raises((AttributeError, TypeError)):
        del log.hard_state
    assert log.hard_state == HardState(6)


def test_buffered_writes_become_durable_by_sync(log):
    log.append(b"a", term=1, durable=False)
    log.extend([(1, b"b")], durable=False)
    log.append_entries([Entry(3, 1, b"c")], durable=False)
    assert len(log[:]) == 3
    position = log.accepted
    assert log.durable < position == log.written == position
    assert log.sync() == position == log.durable
    log.wait()
    log.append(b"d", term=1)
    assert log.durable == log.accepted > position


def test_wait_ends_after_its_timeout(log):
    log.append(b"a", term=1, durable=False)
    for timeout in (0, 0.01, -1, 0.25):
        with pytest.raises(TimeoutError) as raised:
            log.wait(timeout)
        assert isinstance(raised.value, duramen.TimedOutError)
    with pytest.raises(duramen.InvalidArgumentError):
        log.wait(float("nan"))
    log.sync()
    log.wait(0)
    log.wait(float("inf"))


@pytest.mark.parametrize("number", [-1, 2**64, 2**5000])
def test_numbers_out_of_range_are_invalid_arguments(log, number):
    for call in [
        lambda: log.append(b"a", term=number),
        lambda: log.extend([(number, b"a")]),
        lambda: log.term(number),
        lambda: log.read(number),
        lambda: Entry(number, 1, b""),
        lambda: HardState(1, vote=number),
        lambda: log.store.log(number),
    ]:
        with pytest.raises(duramen.InvalidArgumentError):
            call()
    for kind in (-1, 256):
        with pytest.raises(duramen.InvalidArgumentError):
            log.append(b"a", term=1, kind=kind)
    assert len(log) == 0


def test_numbers_of_another_type_are_type_errors(log):
    for call in [lambda: log.append(b"a", term="1"), lambda: log.append(b"a", term=1.5), lambda: log.append(b"a")]:
        with pytest.raises(TypeError):
            call()


def test_groups_of_a_store_are_apart(tmp_path):
    with duramen.Store(tmp_path / "store", segment_bytes=1 << 20) as store:
        assert store.groups() == []
        store.log(7).append(b"seven", term=1)
        store.log().append(b"zero", term=2)
        store.log(2**64 - 1).hard_state = HardState(1)
        assert store.groups() == [0, 7, 2**64 - 1]
        assert (store.log(7)[1].data, store.log(0)[1].data, len(store.log(9))) == (b"seven", b"zero", 0)
        assert (store.log(7).group, store.log(7).store.groups()) == (7, [0, 7, 2**64 - 1])
        assert store.path == store.log(7).path == tmp_path / "store"
        assert store.sync() == store.accepted == store.written == store.durable


def test_entries_and_hard_states_are_values():
    entry, state = Entry(1, 2, b"data", kind=3), HardState(1, vote=2)
    assert (entry.index, entry.term, entry.data, entry.kind) == (1, 2, b"data", 3)
    assert entry == Entry(1, 2, bytearray(b"data"), 3) and hash(entry) == hash(Entry(1, 2, b"data", 3))
    for other in [Entry(2, 2, b"data", 3), Entry(1, 1, b"data", 3), Entry(1, 2, b"dat", 3), Entry(1, 2, b"data"), None]:
        assert entry != other
    assert state == HardState(1, 2) != HardState(1, commit=2)
    assert hash(state) == hash(HardState(1, 2))
    for value in (entry, state):
        assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == copy.deepcopy(value) == value
        with pytest.raises(AttributeError):
            value.term = 5
        with pytest.raises(AttributeError):
            value.other = 5
    match entry, state:
        case Entry(index, term, data, kind), HardState(hard_term, vote, commit):
            assert (index, term, data, kind, hard_term, vote, commit) == (1, 2, b"data", 3, 1, 2, None)


def test_nothing_prints_payloads(log):
    log.append(b"secret", term=1)
    shown = [repr(log), str(log), repr(log.store), repr(log[1]), str(log[1]), f"{log[:]}"]
    assert not any("secret" in text for text in shown)
    assert repr(log[1]) == "Entry(index=1, term=1, kind=0, data=<6 bytes>)"
    assert repr(HardState(1, vote=2)) == "HardState(term=1, vote=2, commit=None)"
    with pytest.raises(duramen.DuramenError) as raised:
        log.append_entries([Entry(9, 1, b"secret")])
    assert "secret" not in str(raised.value) + repr(raised.value)
