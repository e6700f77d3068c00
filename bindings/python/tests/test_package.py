"""The package as its users get it: the wheel, the types, the examples."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import duramen

ROOT = Path(__file__).parents[3]


def test_the_package_under_test_is_the_installed_wheel():
    installed = Path(duramen.__file__)
    assert installed.is_relative_to(sys.prefix) and "site-packages" in installed.parts
    files = {str(file) for file in importlib.metadata.files("duramen")}
    assert {"duramen/__init__.py", "duramen/_errors.py", "duramen/_duramen.pyi", "duramen/py.typed"} <= files
    assert "duramen/_duramen.abi3.so" in files
    assert sum("LICENSE" in file for file in files) == 2


def test_there_is_one_version():
    workspace = (ROOT / "Cargo.toml").read_text()
    [version] = re.findall(r'^version = "(.*)"$', workspace, re.MULTILINE)
    assert importlib.metadata.version("duramen") == duramen.__version__ == version


def test_the_wheel_serves_every_python_from_the_lowest_on():
    tags = importlib.metadata.distribution("duramen").read_text("WHEEL")
    assert re.search(r"^Tag: cp311-abi3-\w*linux\w*_x86_64|^Tag: cp311-abi3-\w*linux\w*_aarch64", tags, re.MULTILINE)
    assert importlib.metadata.metadata("duramen")["Requires-Python"] == ">=3.11"


@pytest.mark.parametrize("path", ["README.md", "bindings/python/README.md"])
def test_the_example_of_the_readme_runs_and_is_short(path, tmp_path):
    text = (ROOT / path).read_text()
    [example, *_] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert 1 <= len([line for line in example.splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-I", "-X", "dev", "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "b'set x = 1'" in done.stdout


def check(*command, cwd):
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_say_what_the_module_has(tmp_path):
    pytest.importorskip("mypy")
    check("mypy.stubtest", "duramen", cwd=tmp_path)


TYPED = """\
from array import array
from pathlib import Path
from typing import assert_type

import duramen
from duramen import Entry, HardState


def use(path: Path) -> None:
    with duramen.open(path, segment_bytes=1 << 20) as log:
        assert_type(log.append(b"a", term=1), int)
        assert_type(log.extend([(1, b"a"), (1, bytearray(b"b"))], durable=False), int | None)
        assert_type(log.append_entries(Entry(i, 1, array("b")) for i in (4, 5)), int | None)
        assert_type(log[1], Entry)
        assert_type(log[1:3], list[Entry])
        assert_type(log[1].data, bytes)
        assert_type([entry.index for entry in log], list[int])
        assert_type((log.first, len(log)), tuple[int | None, int])
        assert_type(log.bounds, range | None)
        log.hard_state = HardState(1, vote=2)
        assert_type(log.hard_state, HardState | None)
        log.append("text", term=1)  # type: ignore[arg-type]
        log.append(b"a")  # type: ignore[call-arg]
        log.extend([b"a"])  # type: ignore[list-item]
        log[1].term = 5  # type: ignore[misc]
    with duramen.Store("dir") as store:
        assert_type(store.log(7).group, int)
    try:
        pass
    except duramen.NotContiguousError as error:
        assert_type(error.expected, int)
        assert_type(error.code, int)
"""


def test_users_who_check_their_types_find_the_right_ones(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(TYPED)
    check("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "typed.py", cwd=tmp_path)


def test_the_package_itself_is_strictly_typed(tmp_path):
    pytest.importorskip("mypy")
    check("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "-p", "duramen", cwd=tmp_path)
