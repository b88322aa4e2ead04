"""Every key of every YAML file with values of every kind: refused in one sentence before a run exists, or it runs.

The checks are made in this process, as `main.prepare` makes them, which also builds each run on a small scale.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import main
from datasets.sources.xor import generate_xor
from loops import configured, rehearsal
from tests.command_line import MAIN, CommandLine
from tests.fork_server import run_script
from utils.config import CONFIG, algorithm, config_names, layered_config, read_yaml
from utils.errors import UserError
from utils.keys import LIST_OR_NULL, Key, Range
from utils.validation import keys_of

# Wrong types, a choice that there is not, zero, a negative, NaN, a list, a mapping, digits as text.
WORDS = ("True", "0.5", "None", "nonsense", "0", "-1", "nan", "[1, 2]", "{'a': 1}", "'12'")
NUMBERS = {"0.5": 0.5, "0": 0, "-1": -1, "'12'": 12, "None": None}
TEXTS = ("nonsense", "nan", "'12'")
CONTINUOUS = ("matd3", "matd3_bc", "macql", "omar", "b3c")  # algorithms tried on an environment of continuous actions
# What a refusal tells a user to do, or which values there are.
REMEDY = re.compile(
    r"this must be|must be |choose |did you mean|known:|give |set |use |write |needs |add |lower |raise |leave out|"
    r"make one with|is (a number|text|a mapping|True or False)|are saved under|install|nothing similar|put the file"
)
NAMES = ("runner", "mac", "env", "learner", "agent", "action_selector", "dataset", "tuned", "checkpoint_path",
         "load_weights", "env_args.key", "env_args.render_mode")  # fmt: skip
MIXERS = ("mixer_activation", "mixer_nonneg")  # texts among which the mixer chooses
# What its declaration allows, and the rest of the configuration does not: always refused.
NOT_HERE = {
    # a rollout is learned from whole, once
    "algs/mappo": {"offline=True", "batch_size='12'", "batch_size_run='12'", "buffer_size='12'", "updates_per_run='12'",
                   "window='12'"},
    # A checkpoint, a destination or an evaluation is missing; data are.
    "default": {"evaluate=True", "collect=True", "render=True", "dataset=None"},
    "algs/implicit_q": {"svn=True"},  # without a mixer
    "algs/comadice": {"value_memory=True", "svn=True", *(f"{key}={word}" for key in MIXERS for word in TEXTS)},
    **{f"algs/{alg}": {f"{key}={word}" for key in MIXERS for word in TEXTS} for alg in ("omiga", "icq")},
    "algs/omar": {"search_elites='12'"},  # more than are drawn
    "algs/bcq": {"obs_agent_id=True", "obs_last_action=True", *(f"{key}={word}" for key in MIXERS for word in TEXTS)},
    "algs/iql_cql": {"window='12'", "svn=True"},  # windows of recurrent agents; no mixer
    "algs/iql": {"buffer_size='12'", "window='12'", "svn=True"},  # below a batch; recurrent agents; no mixer
}  # fmt: skip
# Where a run without an environment, or without a learner, has a use.
ALONE = {("default", "env"), ("algs/random", "learner"), ("algs/fqe", "env")}
# Environments of which None is the limit of the simulator's own.
OWN_LIMIT = ("envs/gymma", "envs/mamujoco", "envs/ant", "envs/halfcheetah_2x3", "envs/hopper")
# Arguments of environments, which each checks itself, and keys that need others: what is accepted.
ARGUMENTS = {
    "env_args.episode_limit": {"'12'"}, "env_args.time_limit": {"'12'"}, "env_args.start_adjacent": {"True"},
    "env_args.continuous_actions": {"True"}, "env_args.use_env_state": {"True"}, "env_args.key": set(),
    "env_args.partition": set(),
    "env_args.include_cfrc_ext_in_observation": {"True"}, "env_args.prey": {"None"}, "env_args.control": set(),
    "env_args.observations": set(), "env_args.agent_obsk": {"0", "'12'"},
    "env_args.render_mode": {"None"}, "env_args.replay_path": {"None", *TEXTS},
    "load_step": {"0"},  # any other asks for a checkpoint
    "use_wandb": {"True"} if importlib.util.find_spec("wandb") else set(),
}  # fmt: skip


TUNED = CONFIG / "tuned"
TUNED_FILES = sorted(path.relative_to(TUNED).with_suffix("").as_posix() for path in TUNED.rglob("*.yaml"))


@functools.cache
def layers(alg: str, env: str, tuned_for: str | None = None) -> dict[str, Any]:
    """The layers below `with`, a tuned file's among them. tuned_for: the dataset that the file is named after."""
    config = layered_config(alg, env, {"dataset": tuned_for} if tuned_for else {})
    written = read_yaml(TUNED / alg / f"{tuned_for}.yaml") if tuned_for else {}
    assert written.items() <= config.items()
    return config


def layered(tuned_for: str | None, alg: str, env: str, updates: dict[str, Any], *rest: Any) -> dict[str, Any]:
    """`layered_config`, which parses YAML files only where an override chooses other ones."""
    if "tuned" in updates:
        return layered_config(alg, env, updates, *rest)
    return copy.deepcopy(layers(alg, env, tuned_for))


@pytest.fixture
def refusal(tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """Calls `main.prepare` for one override of an algorithm in an environment; None where the run could start."""
    xor = tmp_path / "xor.h5"
    generate_xor("random", xor, 4, 0, "python", False)
    monkeypatch.setattr(main, "add_observers", lambda flags, config: None)
    monkeypatch.setattr(main.ex, "add_config", lambda config: None)
    monkeypatch.setattr(main, "rehearse", rehearsal.attempt)  # what is no refusal is a fault here
    monkeypatch.setattr(rehearsal, "fixed_policy", lambda args, env_info: (args, None))  # that of an earlier run
    monkeypatch.chdir(tmp_path)

    def call(alg: str, env: str, word: str, tuned_for: str | None = None) -> str | None:
        monkeypatch.setattr(configured, "layered_config", functools.partial(layered, tuned_for))
        words = {"hidden_dim": "8", "mixing_embed_dim": "4", "hypernet_embed": "4"}
        words = {key: value for key, value in words.items() if key in layers(alg, env)}
        if env in ("matrix_game", "bridge"):
            words["dataset"] = str(xor)
        if alg in CONTINUOUS or tuned_for:
            words["dataset"] = str(tiny_dataset)
        if alg == "random":
            words |= {"collect": "True", "collect_to": str(tmp_path / "new.h5")}
        key, _, value = word.partition("=")
        given = [f"{name}={each}" for name, each in (words | {key: value}).items()]
        try:
            main.prepare(["main.py", f"--config={alg}", f"--env-config={env}", "with", *given])
        except UserError as error:
            return str(error)
        return None

    return call


def cases() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Each YAML file, with an algorithm and an environment that read it, and its keys."""
    yield "default", "bc_discrete", "matrix_game", tuple(read_yaml(CONFIG / "default.yaml"))
    for alg in config_names("algs"):
        env = "mpe" if alg in CONTINUOUS else "matrix_game"
        yield f"algs/{alg}", alg, env, tuple(set(read_yaml(CONFIG / "algs" / f"{alg}.yaml")) - {"base"})
    for env in config_names("envs"):
        content = read_yaml(CONFIG / "envs" / f"{env}.yaml")
        nested = tuple(f"env_args.{name}" for name in content.get("env_args", {}))
        yield f"envs/{env}", "random", env, (*content, *nested)
    tried = set()
    for name in TUNED_FILES:  # one of each algorithm's files with the same keys, for they differ in values alone
        alg, keys = name.partition("/")[0], tuple(read_yaml(TUNED / f"{name}.yaml"))
        if (alg, keys) not in tried:
            tried.add((alg, keys))
            yield f"tuned/{name}", alg, "mpe", keys


def allowed(key: Key) -> Iterable[str]:
    """The words whose values a declaration allows."""
    if isinstance(key.allowed, Range):
        return {word for word, value in NUMBERS.items() if value in key.allowed}
    if isinstance(key.allowed, tuple):
        return {word for word in WORDS if word in map(str, key.allowed)}
    if key.allowed == LIST_OR_NULL:
        return {"None", "[1, 2]"}
    texts = {bool: {"True"}, str: set(TEXTS), dict: set[str]()}
    return texts.get(key.allowed, {*TEXTS, "None"})


def accepted(file: str, alg: str, keys: Iterable[str]) -> set[str]:
    """The overrides that a run is meant to work with."""
    declared = keys_of(main.learner_class(algorithm(alg)["learner"]))
    found = set()
    for key in keys:
        words = set(ARGUMENTS[key] if key in ARGUMENTS else allowed(declared[key]))
        if key == "env_args.time_limit" and file in OWN_LIMIT:
            words = {"None"}  # the environment's own; digits alone are text there
        if key in NAMES and not (file.startswith("envs/") and key == "dataset"):  # which a collection does not read
            words -= set(TEXTS)
        if key in ("learner", "env") and (file, key) not in ALONE:
            words.discard("None")
        found |= {f"{key}={word}" for word in words}
    return found - NOT_HERE.get(file, set())


CASES = list(cases())


@pytest.mark.parametrize(("file", "alg", "env", "keys"), CASES, ids=[case[0] for case in CASES])
def test_a_value_is_refused_in_one_sentence_or_meant(
    file: str, alg: str, env: str, keys: tuple[str, ...], refusal: Callable[..., str | None]
) -> None:
    overrides = [f"{key}={word}" for key in sorted(keys) for word in WORDS]
    tuned_for = file.removeprefix(f"tuned/{alg}/") if file.startswith("tuned/") else None
    said = {override: refusal(alg, env, override, tuned_for) for override in overrides}
    unclear = [
        f"{override}: {words}" for override, words in said.items() if words is not None
        and not (override.partition("=")[0] in words and REMEDY.search(words) and words.isprintable())
    ]  # fmt: skip
    assert not unclear, "\n".join(unclear)
    runs, meant = {override for override, words in said.items() if words is None}, accepted(file, alg, keys)
    assert runs == meant, f"run and should not: {sorted(runs - meant)}; refused: {sorted(meant - runs)}"


def test_what_is_meant_trains(cli: CommandLine) -> None:
    """The values at the edge of what keys take, together in one run."""
    odd = ("gamma=0", "exploration_noise=0", "evaluation_seed=0", "epsilon_anneal_time=0", "load_step=0", "burn_in=0",
           "alpha_cql=0", "target_noise=0", "tau=1", "batch_size='12'", "t_max='12'", "label='12'", "loss_chunk=None",
           "validation_share=0", "collect_quality=None", "final_init=None", "repeat_id='12'")  # fmt: skip
    result = cli.run(*odd)
    assert result.returncode == 0, result.stderr


def test_no_number_comes_from_a_file_that_is_none(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("critic_lr: .nan\n")
    result = run_script(MAIN, [*cli.arguments(), str(tmp_path / "own.yaml")])
    assert result.returncode == 1 and "critic_lr=nan: this is no finite number; give one" in result.stderr
    assert not cli.runs()


def test_a_fault_of_a_simulator_is_left_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(settings: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(rehearsal, "make_env", fails)
    config = layers("random", "matrix_game") | {"collect": True, "collect_to": "/tmp/never-written.h5"}
    rehearsal.rehearse(config)
    with pytest.raises(ZeroDivisionError):
        rehearsal.attempt(config)
