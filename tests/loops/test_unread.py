"""Keys that a command line gives and its run does not read: named, and no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from learners import REGISTRY
from loops import unread
from loops.configured import configured
from loops.resolve import resolved_outputs
from loops.unread import unread_warning
from loops.usage import action_types
from tests.command_line import MAIN, CommandLine, status
from tests.fork_server import run_script
from utils.config import algorithm, config_names
from utils.errors import ConfigError
from utils.keys import inherited
from utils.overrides import overrides
from utils.shown_config import keys_read

DATA = {"continuous": "mpe/simple_tag/medium-replay", "discrete": "matrix_game/xor/ab-ba"}
# What tells runs apart and files them, and what any run may be given.
BOOKKEEPING = ("label=mine", "hypergroup=lr", "repeat_id=2", "name=mine", "seed=3", "mongo=None", "use_cuda=False",
               "local_results_path=elsewhere", "t_max=10", "test_interval=5", "save_model=False", "tuned=none",
               "log_interval=3", "use_tensorboard=False", "use_wandb=False", "hidden_dim=8")  # fmt: skip


def warning_of(alg: str, words: Sequence[str], kind: str = "continuous", force: bool = False) -> str | None:
    """What a run on a bundled dataset of this kind of actions would say."""
    place = [f"dataset={DATA[kind]}"] if algorithm(alg).get("offline") else []
    given = [*place, *words]
    final = configured(alg, "none" if place else "mpe", overrides(given), force, ignore, ignore).final
    return unread_warning(final, given, alg)


def ignore(line: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("alg", ["alberdice", "bc", "spacql", "macql", "omar", "matd3_bc", "optdice", "mappo"])
def test_svn_without_a_mixer_is_named(alg: str) -> None:
    assert warning_of(alg, ["svn=True"], action_types(alg)[0]) == (
        f"svn=True is given and not read by this run of {alg}"
    )


@pytest.mark.parametrize("alg", ["b3c", "comadice", "icq", "omiga", "bcq", "qmix_cql"])
def test_svn_with_a_mixer_is_not(alg: str) -> None:
    assert warning_of(alg, ["svn=True"], action_types(alg)[0]) is None


@pytest.mark.parametrize(
    ("kind", "named"), [("discrete", "perturbation_reach=0.3"), ("continuous", "behaviour_threshold=0.2")]
)
def test_keys_of_the_other_kind_of_actions_are_named(kind: str, named: str) -> None:
    found = warning_of("bcq", ["perturbation_reach=0.3", "behaviour_threshold=0.2", "seed=1"], kind)
    assert found == f"{named} is given and not read by this run of bcq"


def test_the_kind_of_actions_is_looked_up_only_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> dict[str, str]:
        raise ConfigError("no such environment")

    monkeypatch.setattr(unread, "resolved_choices", refuse)
    assert warning_of("bcq", ["mixer_layers=1", "gamma=0.9"]) is None
    assert warning_of("bcq", ["perturbation_reach=0.3", "buffer_size=9"], "discrete") == (
        "buffer_size=9 is given and not read by this run of bcq"
    )  # a run that cannot be built says more itself


def test_several_keys_are_one_line() -> None:
    assert warning_of("spacql", ["svn=True", "buffer_size=9", "critic_lr=0.1", "epsilon_start=0.5"]) == (
        "svn=True, buffer_size=9 and epsilon_start=0.5 are given and not read by this run of spacql"
    )
    assert warning_of("implicit_q", ["mixer_layers=2", "mixing_embed_dim=8", "mixer=monotone"]) is None
    assert warning_of("implicit_q", ["mixer_layers=2", "mixing_embed_dim=8"]) == (
        "mixer_layers=2 and mixing_embed_dim=8 are given and not read by this run of implicit_q"
    )


@pytest.mark.parametrize("alg", config_names("algs"))
def test_bookkeeping_is_never_named(alg: str) -> None:
    assert warning_of(alg, BOOKKEEPING, action_types(alg)[0]) is None


@pytest.mark.parametrize("alg", [name for name in config_names("algs") if algorithm(name)["learner"]])
def test_what_a_run_reads_is_never_named(alg: str) -> None:
    """Each key that `print_config` shows as read, given with the value that it has."""
    kind = action_types(alg)[0]
    place = [f"dataset={DATA[kind]}"] if algorithm(alg).get("offline") else []
    final = configured(alg, "none" if place else "mpe", overrides(place), False, ignore, ignore).final
    resolved = resolved_outputs(final["agent_output_type"], final["action_selector"], kind == "continuous")
    read = keys_read({**final, **resolved}, inherited(REGISTRY[final["learner"]], "KEYS"))
    kinds = {key: each.actions for key, each in inherited(REGISTRY[final["learner"]], "KEYS").items()}
    words = [f"{key}={final[key]!r}" for key in read if kinds.get(key) in (None, kind) and key != "env_args"]
    assert len(words) > 40 and unread_warning(final, words, alg) is None


def test_keys_of_a_record_or_a_simulator_that_is_not_there_are_named() -> None:
    given = ["wandb_mode=online", "wandb_project=mine", "save_model=False", "save_model_interval=3", "test_nepisode=4",
             "runner=vector", "batch_size_run=2", "test_interval=5"]  # fmt: skip
    assert warning_of("bc", given) == (
        "wandb_mode=online, wandb_project=mine, save_model_interval=3, test_nepisode=4, runner=vector and "
        "batch_size_run=2 are given and not read by this run of bc"
    )
    assert warning_of("bc", [*given[:2], "use_wandb=True", given[3], "env=mpe", *given[4:]]) is None


def test_old_names_and_removed_keys_are_understood() -> None:
    assert warning_of("icq", ["lr=0.001"]) is None  # which is q_lr there
    assert warning_of("bcq", ["critic_type=None"], force=True) is None  # of which the old name's own line speaks


def test_files_of_overrides_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("svn: true\nbuffer_size: 9\n")
    assert warning_of("spacql", [str(tmp_path / "all.yaml")]) is None
    assert warning_of("spacql", [str(tmp_path / "all.yaml"), "svn=True"]) == (
        "svn=True is given and not read by this run of spacql"
    )


def test_learners_without_declarations_read_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs:
        """A learner in stock EPyMARL's form."""

    assert warning_of("qmix", ["buffer_size=9", "memory_map=True"]) is not None
    monkeypatch.setitem(REGISTRY, "q_learner", Theirs)
    assert warning_of("qmix", ["buffer_size=9", "memory_map=True", "train_reward=sum"]) is None


def test_a_key_that_code_reads_without_a_declaration_is_not_named() -> None:
    """An agent of one's own may read it. With --force any key may be given, a misspelt one too."""
    assert warning_of("bc", ["obs_individual_obs=True", "windw=2"], force=True) == (
        "obs_individual_obs=True and windw=2 are given and not read by this run of bc"
    )
    assert warning_of("bc", ["critic_dtype=float32"], force=True) is None  # read by a module that bc has not


def test_a_run_says_it_once_in_its_record_too(tmp_path: Path) -> None:
    words = ("--config=alberdice", "--env-config=matrix_game", "with", "svn=True", "t_max=2", "test_nepisode=2",
             "hidden_dim=8", "use_cuda=False", "seed=1", f"local_results_path={tmp_path}")  # fmt: skip
    result = run_script(MAIN, words)
    assert result.returncode == 0, result.stderr
    (run,) = CommandLine(tmp_path, tmp_path).runs()
    assert status(run) == "COMPLETED"
    sentence = "svn=True is given and not read by this run of alberdice"
    for text in (result.stdout + result.stderr, (run / "cout.txt").read_text()):
        (line,) = [line for line in text.splitlines() if "not read by this run" in line]
        assert re.search("WARNING", line) and sentence in line
