"""Configuration files are found by name and path, and find their base, wherever they lie."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cosup_jax import config, config_files

ROOT = Path(__file__).parents[1]
OWN = """from configs import base


def get_config(argument=""):
    config = base.get_config(**base.arguments(argument))
    config.epochs = 7
    return config
"""


def loaded(folder: Path, spec: str, *path: Path) -> list[str]:
    """Batch size and epochs of a configuration, and where its base lies, in another process."""
    code = (
        "import sys\n"
        f"sys.path[:0] = {[str(p) for p in path]}\n"
        "from cosup_jax import config\n"
        f"found = config.load({spec!r})\n"
        "print(found.batch_size, found.epochs, 'configs' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_from_a_path_in_a_clone(tmp_path):
    assert loaded(tmp_path, str(ROOT / "configs/quickstart.py"), ROOT) == ["8", "9", "False"]


def test_from_an_installed_package(tmp_path):
    """Laid out as the wheel lays it out: the configurations inside, none at the top."""
    for name in ("cosup_jax", "tfds_builders"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "dummy_data")
        shutil.copytree(ROOT / name, tmp_path / "site" / name, ignore=ignored)
    shutil.copytree(ROOT / "configs", tmp_path / "site/cosup_jax/configs")
    base = tmp_path / "site/cosup_jax/configs/base.py"
    base.write_text(base.read_text().replace("config.batch_size = 8", "config.batch_size = 5"))
    (tmp_path / "elsewhere").mkdir()
    found = loaded(tmp_path / "elsewhere", "quickstart", tmp_path / "site")
    assert found == ["5", "9", "False"]


def test_from_a_folder_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    assert loaded(tmp_path, "mine.py", ROOT) == ["8", "7", "False"]
    # Another package of that name, in the folder where the process was started, is left alone.
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/__init__.py").write_text("OTHERS = 1")
    monkeypatch.chdir(tmp_path)
    assert loaded(tmp_path, "mine.py", tmp_path, ROOT) == ["8", "7", "False"]


def test_a_copied_folder_has_a_base_of_its_own(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    base = tmp_path / "configs/base.py"
    base.write_text(base.read_text().replace("config.batch_size = 8", "config.batch_size = 3"))
    path = str(tmp_path / "configs/c2f.py")
    assert config.load(path).batch_size == 3
    assert config.load(str(ROOT / "configs/c2f.py")).batch_size == 8
    assert config.load(path).batch_size == 3


def test_a_package_that_is_called_so_comes_back(tmp_path, monkeypatch):
    other = type(sys)("configs")
    monkeypatch.setitem(sys.modules, "configs", other)
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert config.load(str(path)).epochs == 7
    assert sys.modules["configs"] is other
    path.write_text("raise ValueError('broken')")
    with pytest.raises(config.ConfigError, match="ValueError: broken"):
        config.load(str(path))
    assert sys.modules["configs"] is other


def test_names_and_paths(tmp_path, monkeypatch):
    assert "c2f" in config_files.names()
    assert "base" not in config_files.names()
    path, argument = config_files.find("fusion:fusion=sum")
    assert (path.name, argument) == ("fusion.py", "fusion=sum")
    monkeypatch.chdir(tmp_path)
    Path("c2f").write_text(OWN)  # a file that is called like one comes first
    assert config_files.find("c2f")[0] == Path("c2f")


def own(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text(f"from configs import base\n\n\n{body}\n")
    return str(folder / "mine.py")


def test_a_function_without_an_argument_will_do(tmp_path):
    """As ml_collections has it, and `train.py` therefore took it."""
    path = own(tmp_path, "def get_config():\n    return base.get_config()")
    assert config.load(path).to_dict() == config.load(str(ROOT / "configs/c2f.py")).to_dict()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def get_config(text=''):\n    base.get_config()", "returns a NoneType"),
        ("def get_config(text=''):\n    return {'seed': 1}", "returns a dict"),
        ("def get_config(text=''):\n    base.get_config().modle.width = 3", "modle"),
        ("def get_config(text=''):\n    base.get_config().epochs = 'x'", "epochs"),
        ("get_config = 3", "not callable"),
    ],
)
def test_what_is_wrong_in_a_file_of_ones_own_is_told_with_its_name(tmp_path, body, says):
    with pytest.raises(config.ConfigError, match=rf"mine\.py.*{says}"):
        config.load(own(tmp_path, body))
