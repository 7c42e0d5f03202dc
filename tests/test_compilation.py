"""The cache of compiled programs: where it lies, what turns it off, that it is never in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosup_jax import compilation

FOLDER, SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home of its own, and none of the variables that count."""
    for name in (FOLDER, SWITCH, "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that the end of the test restores it
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_it_lies_in_the_users_cache_folder_and_is_his_alone(home):
    folder = compilation.use_cache()
    assert folder == home / ".cache" / "cosup-jax" / "compiled"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ[FOLDER] == str(folder)


def test_the_cache_folder_of_the_desktop_standard_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert compilation.use_cache() == tmp_path / "elsewhere" / "cosup-jax" / "compiled"


def test_a_relative_one_does_not(monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert compilation.use_cache() == home / ".cache" / "cosup-jax" / "compiled"
    assert not Path("here").exists()


def test_a_folder_named_by_the_user_is_left_alone(monkeypatch, home):
    monkeypatch.setenv(FOLDER, "/somewhere")
    assert compilation.use_cache() == Path("/somewhere")
    assert os.environ[FOLDER] == "/somewhere"
    assert not list(home.iterdir())


@pytest.mark.parametrize("off", ["false", "0", "False", "off"])
def test_it_can_be_turned_off(monkeypatch, home, off):
    monkeypatch.setenv(SWITCH, off)
    assert compilation.use_cache() is None
    assert FOLDER not in os.environ
    assert not list(home.iterdir())


def test_where_no_folder_can_be_made_a_warning_says_so(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compilation.use_cache() is None
    assert FOLDER not in os.environ
    assert "compiled programs are not kept" in caplog.text
    assert FOLDER in caplog.text


def test_a_second_process_reads_what_the_first_has_compiled(home):
    """And neither has imported JAX before it is asked to."""
    code = """
import sys
from cosup_jax import compilation
compilation.use_cache()
assert "jax" not in sys.modules
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.jit(lambda x: x * 2 + 1)(1.0)
print(sum(event.endswith("cache_hits") for event in events))
"""
    hits = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert hits[0] == "0"
    assert int(hits[1]) > 0
    assert list((home / ".cache" / "cosup-jax" / "compiled").iterdir())
