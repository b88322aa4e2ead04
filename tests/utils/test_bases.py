"""Algorithm files on other algorithm files: `base: NAME`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from utils import config
from utils.errors import ConfigError

PARENT = """# The parent's own comment,
# in two lines.

name: "parent" # how runs are filed

# --- who acts ---
agent: "mlp" # small
# Above width.
width: 8 # parent's width
args: # nested
  x: 1 # first
  y: 2

# --- length ---
t_max: 5 # updates
"""
CHILD = """# The child's own comment.

base: "parent" # without its length
name: "child" # how runs are filed

# --- who acts ---
agent: "rnn" # with memory
memory: 3 # steps
width: 16 # child's width

# --- length ---
every: 2 # updates

# --- speed ---
fast: True # or not
"""
GRANDCHILD = """# The grandchild's own comment.

base: "child"

# --- length ---
t_max: 7 # longer
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config, "CONFIG", tmp_path)
    (tmp_path / "algs").mkdir()
    (tmp_path / "envs").mkdir()
    (tmp_path / "default.yaml").write_text("tuned: own\nt_max: 1\n")
    for name, text in (("parent", PARENT), ("child", CHILD), ("grandchild", GRANDCHILD)):
        (tmp_path / "algs" / f"{name}.yaml").write_text(text)
    return tmp_path


def test_a_file_states_what_differs_from_its_base(files: Path) -> None:
    parent = yaml.safe_load(PARENT)
    assert config.algorithm("parent") == parent
    child = parent | {"name": "child", "agent": "rnn", "memory": 3, "width": 16, "every": 2, "fast": True}
    assert config.algorithm("child") == child
    assert config.algorithm("grandchild") == child | {"t_max": 7}


def test_nested_keys_merge_with_the_base(files: Path) -> None:
    (files / "algs" / "nested.yaml").write_text('base: "parent"\nargs: {y: 3}\n')
    assert config.algorithm("nested")["args"] == {"x": 1, "y": 3}
    with pytest.raises(ConfigError, match="cannot be merged with its bases line by line"):
        config.flattened_yaml("nested")


def test_the_flattened_text_has_each_key_once_in_its_section(files: Path) -> None:
    assert config.flattened_yaml("parent") == PARENT
    assert (
        config.flattened_yaml("grandchild")
        == """# The grandchild's own comment.

name: "child" # how runs are filed

# --- who acts ---
agent: "rnn" # with memory
memory: 3 # steps
width: 16 # child's width
args: # nested
  x: 1 # first
  y: 2

# --- length ---
t_max: 7 # longer
every: 2 # updates

# --- speed ---
fast: True # or not
"""
    )


def test_keys_before_the_first_heading_stay_there(files: Path) -> None:
    (files / "algs" / "bare.yaml").write_text("# --- length ---\nt_max: 5\n")
    (files / "algs" / "named.yaml").write_text("base: bare\n# why\nname: named\nt_max: 6\n")
    assert config.flattened_yaml("named") == "# why\nname: named\n\n# --- length ---\nt_max: 6\n"


@pytest.mark.parametrize("name", config.config_names("algs"))
def test_the_flattened_text_means_what_the_files_mean(name: str) -> None:
    text = config.flattened_yaml(name)
    assert yaml.safe_load(text) == config.algorithm(name)
    keys = [line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert len(keys) == len(set(keys)) and "base" not in keys
    if "base" not in config.read_yaml(config.algorithm_path(name)):
        assert text == config.algorithm_path(name).read_text()


def test_a_base_is_no_key_of_the_configuration(files: Path) -> None:
    (files / "envs" / "e.yaml").write_text("env: e\n")
    assert "base" not in config.layered_config("grandchild", "e", {})


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("parnt", "base=parnt: no algorithm has this name; did you mean 'parent'"),
        ("[parent]", "no algorithm has this name"),
        ("mine", "base=mine leads back to this file"),
    ],
)
def test_a_base_that_cannot_be_is_refused(files: Path, base: str, words: str) -> None:
    (files / "algs" / "mine.yaml").write_text(f"base: {base}\n")
    with pytest.raises(ConfigError, match=words):
        config.algorithm("mine")


def test_bases_in_a_circle_are_refused(files: Path) -> None:
    (files / "algs" / "parent.yaml").write_text("base: grandchild\n")
    with pytest.raises(ConfigError, match="parent.yaml: base=grandchild leads back to this file"):
        config.algorithm("grandchild")


def test_an_environment_file_has_no_base(files: Path) -> None:
    (files / "envs" / "e.yaml").write_text("base: parent\nenv: e\n")
    with pytest.raises(ConfigError, match="e.yaml: only algorithm files may have a base"):
        config.layered_config("parent", "e", {})
