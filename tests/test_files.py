"""Files and folders under their final names are whole, whenever the writing stops."""

import contextlib
import csv
import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax import files

pytestmark = pytest.mark.usefixtures("synced")


class Killed(BaseException):
    """Stands for the end of the process."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_keeps_its_old_content_if_the_writer_fails(tmp_path):
    path = tmp_path / "new" / "a.txt"
    files.write_text(path, "first ü")
    assert path.read_text(encoding="utf-8") == "first ü"

    def half():
        with files.writing(path) as file:
            file.write(b"sec")
            assert path.read_text(encoding="utf-8") == "first ü"
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        half()
    assert path.read_text(encoding="utf-8") == "first ü"
    assert names(path.parent) == ["a.txt"]


def test_everything_is_on_the_disk_before_the_name_is_given(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.readlink(f"/proc/self/fd/{fd}")))
    old = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda *names: done.append("rename") or old(*names) or names[1]
    )
    files.write_bytes(tmp_path / "a", b"x")
    assert done == [str(tmp_path / ".a.part"), "rename", str(tmp_path)]


def test_a_file_that_holds_this_already_keeps_its_time(tmp_path):
    path = tmp_path / "a"
    files.write_bytes(path, b"same")
    os.utime(path, (1, 1))
    files.write_bytes(path, b"same")
    assert path.stat().st_mtime == 1
    files.write_bytes(path, b"sama")
    assert path.stat().st_mtime > 1


def test_what_a_killed_writer_left_is_taken_over(tmp_path):
    (tmp_path / ".a.part").write_bytes(b"half of something longer")
    files.write_bytes(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_file_leave_a_whole_one(tmp_path):
    path = tmp_path / "a"
    with files.writing(path) as first:
        first.write(b"1" * 100_000)
        files.write_bytes(path, b"2" * 50_000)
        assert path.read_bytes() == b"2" * 50_000
        first.write(b"1" * 100_000)
    assert path.read_bytes() == b"1" * 200_000
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_file_system_without_locks_or_folder_sync_will_do(tmp_path, monkeypatch):
    def unknown(*given):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    old = os.fsync
    monkeypatch.setattr(fcntl, "flock", unknown)
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: unknown() if os.path.isdir(f"/proc/self/fd/{fd}") else old(fd),
    )
    files.write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["folder", "device"])
def test_a_folder_or_device_in_the_way_is_left_alone(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = {"folder": tmp_path / "folder", "device": Path(os.devnull)}[name]
    with pytest.raises(files.FileError, match="expected the name of a file"):
        files.write_bytes(path, b"x")
    assert path.exists()
    assert not path.is_file()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"a": 1', "is damaged"),
        (b"\0" * 200, "is damaged"),
        (b"\xff\xfe\x80", "is damaged"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"9" * 5_000, "is damaged"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (b"3", "expected an object"),
    ],
)
def test_json_that_is_not_ours_is_named(tmp_path, content, told):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(files.FileError, match=told) as raised:
        files.read_json(path)
    assert str(raised.value).startswith(f"{path}: ")


@given(st.binary() | st.recursive(st.text(), st.lists).map(lambda v: json.dumps(v)[:-1].encode()))
def test_whatever_a_json_file_holds_only_our_error_comes(content):
    with contextlib.suppress(files.FileError):
        assert isinstance(files.parse_json(content, "a"), dict)


def test_json_comes_back(tmp_path):
    files.write_json(tmp_path / "a.json", {"ü": [1, None, 0.1]})
    assert files.read_json(tmp_path / "a.json") == {"ü": [1, None, 0.1]}
    files.write_json(tmp_path / "b.json", [1])
    assert files.read_json(tmp_path / "b.json", list) == [1]
    with pytest.raises(files.FileError, match="expected a list"):
        files.read_json(tmp_path / "a.json", list)
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "b.json", float("nan"))
    assert json.loads((tmp_path / "b.json").read_text()) == [1]


def test_json_of_any_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON", 2**20)
    (tmp_path / "a.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(files.FileError, match="larger than 1 MiB"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' C calc'!A0", "'=cmd|' C calc'!A0"),
        ("@x", "'@x"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("-1+1", "'-1+1"),
        ("\tx", "'\tx"),
        ("\r=x", "'\r=x"),
        (" =1+1", "' =1+1"),
        ("\u00a0@x", "'\u00a0@x"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-1", "-1"),
        ("-600.25", "-600.25"),
        ("-1e-05", "-1e-05"),
        (-1, "-1"),
        (-0.5, "-0.5"),
        (None, ""),
        ("", ""),
        ("patient, one", "patient, one"),
        ("'quoted'", "'quoted'"),
    ],
)
def test_no_cell_of_a_table_is_a_formula(tmp_path, value, cell):
    files.write_csv(tmp_path / "a.csv", [{"case": value, "dice": 0.5}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {"case": cell, "dice": "0.5"}
    if isinstance(value, str):
        assert files.from_cell(row["case"]) == value


@given(st.text())
def test_every_text_comes_back_from_its_cell(text):
    assert files.from_cell(files.as_cell(text)) == text or text[:1] == "'"


def test_a_table_has_the_columns_asked_for(tmp_path):
    files.write_csv(tmp_path / "a.csv", [{"b": 1}, {"a": 2}], ["a", "b"])
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\r\n,1\r\n2,\r\n"
    files.write_csv(tmp_path / "b.csv", [], ["=a"])
    assert (tmp_path / "b.csv").read_bytes() == b"'=a\r\n"


def fill(folder: Path, text: str) -> None:
    with files.replacing(folder) as new:
        (new / "sub").mkdir()
        for i in range(2):
            (new / "sub" / str(i)).write_text(text)


def texts(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_folder_is_replaced_whole(tmp_path):
    fill(tmp_path / "scan", "old")
    fill(tmp_path / "scan", "new")
    assert texts(tmp_path / "scan") == ["new", "new"]
    assert names(tmp_path) == ["scan"]


def test_a_folder_stays_if_its_successor_fails(tmp_path):
    fill(tmp_path / "scan", "old")

    def half():
        with files.replacing(tmp_path / "scan") as new:
            (new / "a").write_text("half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        half()
    assert texts(tmp_path / "scan") == ["old", "old"]
    assert names(tmp_path) == ["scan"]


def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path, monkeypatch):
    """Every call that changes names fails in turn, and with it all that would clean up."""
    changes = [(Path, "mkdir"), (Path, "rename"), (files.shutil, "rmtree")]
    seen: list[str] = []
    for kill_at in range(100):
        place = tmp_path / str(kill_at)
        fill(place / "scan", "old")
        left = [kill_at]

        def counted(old: Any, left: list[int] = left) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return old(*given, **named)

            return call

        with monkeypatch.context() as patch:
            for owner, name in changes:
                patch.setattr(owner, name, counted(getattr(owner, name)))
            try:
                fill(place / "scan", "new")
                break
            except Killed:
                pass
        files.recover(place / "scan")
        found = texts(place / "scan")
        assert found in (["old", "old"], ["new", "new"])
        assert names(place) == ["scan"]
        seen += found[:1]
        fill(place / "scan", "newer")
        assert texts(place / "scan") == ["newer", "newer"]
    # mkdir of the new one and of its folder, two renames, a removal
    assert seen == ["old", "old", "old", "new", "new"]
