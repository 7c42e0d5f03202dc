"""What a command line says of an error: one sentence that names the place, and what to do."""

import errno

import pytest

from cosup_jax import errors


def chained(first, then):
    """An error that came of another one."""
    try:
        try:
            raise first
        except BaseException as cause:
            raise then from cause
    except BaseException as error:
        return error


def mistaken(cause, said):
    """What this package makes of a path that is not there: it knows what was expected."""
    return chained(cause, ValueError(said.format(cause)))


FULL = OSError(errno.ENOSPC, "No space left on device", "runs/a/x.json")

GONE = FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b")
GONE_SAID = "a/b: no such file or folder"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "runs/a/x.json: the disk is full; make room"),
        (OSError(errno.EROFS, "Read-only file system", "out"), "out: this place can only be read"),
        (NotADirectoryError(errno.ENOTDIR, "x", "a/b"), "a/b: a file stands where a folder is"),
        (IsADirectoryError(errno.EISDIR, "x", "a"), "a: a folder stands where a file is needed"),
        (FileExistsError(errno.EEXIST, "x", "a"), "a: something else of this name stands in the"),
        (FileNotFoundError(errno.ENOENT, "x", "a"), "a: no such file or folder"),
        (OSError(errno.ENAMETOOLONG, "x", "a"), "a: this name, or the whole path, is too long"),
        (ValueError("embedded null byte"), "a path holds a NUL character; give another"),
        (FileNotFoundError("no checkpoints in runs/a"), "no checkpoints in runs/a"),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (chained(FULL, RuntimeError("the build failed\nDetails")), "runs/a/x.json: the disk is"),
        (mistaken(FULL, "a: damaged ({})"), "runs/a/x.json: the disk is full"),
        (mistaken(GONE, "a: no run ({}); give one"), f"a: no run ({GONE_SAID}); give one"),
        (mistaken(GONE, "a: a link that leads nowhere"), "a: a link that leads nowhere"),
        (chained(GONE, RuntimeError("the build failed")), GONE_SAID),
        (RuntimeError("ABORTED: No space left on device [x]\nmore"), "the disk is full; make room"),
        (RuntimeError("Unable to initialize backend 'foo'.\nmore"), "Unable to initialize backend"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GiB\nmore"), "out of memory; a smaller batch"),
        (MemoryError(), "out of memory"),
        (RecursionError("maximum recursion depth"), "maximum recursion depth"),
        (ImportError("x: pip install 'cosup-jax[x]'"), "x: pip install 'cosup-jax[x]'"),
        (ValueError("two lines\nof advice"), "two lines\nof advice"),
        (KeyError("epoch"), "KeyError: epoch; this should not happen. Please report it with what"),
        (AssertionError(), "AssertionError: AssertionError; this should not happen"),
    ],
)
def test_an_error_is_one_sentence(error, said):
    found = errors.sentence(error)
    assert found.startswith(said)
    assert "Traceback" not in found
    assert "\n" not in found or isinstance(error, ValueError)


def test_the_traceback_is_there_for_who_asks(capsys):
    with pytest.raises(KeyError):
        errors.tell("train.py", KeyError("epoch"), debug=True)
    assert errors.tell("train.py", FULL) == 1
    assert capsys.readouterr().err.startswith("train.py: runs/a/x.json: the disk is full")


def test_a_platform_that_jax_does_not_have_is_named(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(AssertionError) as caught:
        exec(compile("assert None", "jax/_src/xla_bridge.py", "exec"))
    said = errors.sentence(caught.value)
    assert "no device of the platform asked for (JAX_PLATFORMS='cuda')" in said
