"""A cohort shared by the tasks of a job array: each scan once, the same files in any order."""

import pytest

from cosup_jax import cli, weights
from cosup_jax.prediction import cohort
from cosup_jax.scans import find
from tests.prediction.scan_files import NETWORK, by_scan, folders, scan_file


@pytest.fixture(autouse=True)
def at_hand(fake, monkeypatch):
    """No network is loaded."""
    monkeypatch.setattr(weights, "load_pretrained", lambda name: NETWORK)


@pytest.fixture
def scans(tmp_path):
    """A folder with five scans, three of them of one name, and a file that is none."""
    for i, name in enumerate(("a/ct", "b/ct", "c/CT", "d", "e")):
        scan_file(tmp_path / "in" / f"{name}.nii", i)
    (tmp_path / "in" / "broken.nii").write_bytes(b"nothing")
    return tmp_path / "in"


def predict(*given):
    return cli.main(["predict", *map(str, given)])


def rows(out):
    """Input and status of each scan, by the name of its results."""
    return {name: (row["input"], row["status"]) for name, row in by_scan(out).items()}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
def test_shares_leave_what_one_call_does_in_any_order(scans, tmp_path, order):
    assert predict(scans, "--out", tmp_path / "whole") == 1
    codes = [predict(scans, "--out", tmp_path / "out", "--shard", f"{i}/3") for i in order]
    assert sorted(codes) == [0, 0, 1]  # one has the broken one
    assert folders(tmp_path / "out") == folders(tmp_path / "whole")
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    for name in folders(tmp_path / "whole"):
        masks = [tmp_path / which / name / "mask.nii.gz" for which in ("out", "whole")]
        assert masks[0].exists() == masks[1].exists()
        if masks[0].exists():
            assert masks[0].read_bytes() == masks[1].read_bytes()


def test_each_scan_belongs_to_one_share_even_with_more_shares_than_scans(scans, tmp_path):
    sources, _ = find.find_scans([scans], tmp_path / "out")
    found = [
        row["input"]
        for i in range(1, 10)
        for row in cohort.process(
            sources, tmp_path / "out", NETWORK, cohort.Settings(), share=(i, 9)
        )
    ]
    assert sorted(found) == sorted(str(source.path) for source in sources)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/2", ""])
def test_a_share_that_is_none_is_refused(text, scans, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        predict(scans, "--out", tmp_path / "out", f"--shard={text}")
    assert "expected I/N with I from 1 to N" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard=1/2", "--runner=FnApiRunner"], "give one of them"),
        (["--shard=1/2", "--uncertain=3"], "--uncertain compares all scans"),
        (["--workers=2"], "--workers is for --runner"),
        (["--beam-pipeline-options=a=b"], "--beam-pipeline-options is for --runner"),
        (["--runner=FlinkRunner", "--workers=2"], "FlinkRunner has its own option"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said, scans, tmp_path, capsys):
    assert predict(scans, "--out", tmp_path / "out", *options) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
