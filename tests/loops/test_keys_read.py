"""`print_config` against a run: of the keys that learners declare it shows those that a run reads, and no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datasets.dataset import write_dataset
from datasets.sources.xor import generate_xor
from learners import REGISTRY as learner_REGISTRY
from loops.build import Parts
from loops.resolve import resolved_outputs
from loops.usage import action_types
from tests.datasets.samples import continuous_arrays, continuous_card
from tests.loops.in_process import parts_of, train
from utils import keys
from utils.config import algorithm, config_names, layered_config, merge
from utils.errors import ConfigError
from utils.keys import inherited
from utils.settings import Settings
from utils.shown_config import keys_read

SMALL = {"batch_size": 4, "batch_size_run": 4, "buffer_size": 4}
# Looked at even where they have no effect, so that what could not work is refused with its reason.
CHECKED = {"svn", "mixer_activation", "mixer_elu_alpha", "advantage"}
LEARNING = [alg for alg in config_names("algs") if algorithm(alg)["learner"] and alg != "fqe"]  # that needs a run
# One algorithm of each learner whose keys hang on others.
SWITCHED = ("spacql", "comadice", "matd3_bc", "omar")
ALSO_SWITCHED = ("optdice", "macql", "b3c", "bcq", "implicit_q", "icq", "qmix", "qmix_cql")
CASES = [(alg, kind) for alg in LEARNING for kind in action_types(alg)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small dataset of each kind of actions."""
    folder = tmp_path_factory.mktemp("data")
    arrays, offsets = continuous_arrays([5, 6, 5, 6])
    write_dataset(folder / "continuous.h5", arrays, offsets, continuous_card())
    generate_xor("random", folder / "discrete.h5", episodes=4)
    return {kind: str(folder / f"{kind}.h5") for kind in ("continuous", "discrete")}


def own_keys(alg: str) -> keys.Keys:
    return inherited(learner_REGISTRY[algorithm(alg)["learner"]], "KEYS")


def of_run(alg: str, kind: str, data: dict[str, str], **updates: Any) -> tuple[str, dict[str, Any]]:
    """The environment's file and the settings of a small run."""
    if algorithm(alg).get("offline"):
        return "none", {**SMALL, "dataset": data[kind], **updates}
    if kind == "continuous":
        return "mpe", {**SMALL, "env_args": {"time_limit": 5}, **updates}
    return "matrix_game", {**SMALL, "env_args": {"episode_limit": 5}, **updates}


def shown_and_used(
    alg: str, kind: str, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **updates: Any
) -> tuple[set[str], set[str]]:
    """Of the learner's keys those that `print_config` shows, and those that two updates look at."""
    used = set()

    def noted(settings: Settings, name: str) -> Any:
        if sys._getframe(1).f_globals["__name__"] != keys.__name__:  # which checks the value, whatever it is used for
            used.add(name)
        return object.__getattribute__(settings, name)

    env, updates = of_run(alg, kind, data, **updates)
    config = merge(layered_config(alg, env, updates), updates)
    own = own_keys(alg)
    with monkeypatch.context() as patched:
        patched.setattr(Settings, "__getattribute__", noted, raising=False)
        parts = parts_of(alg, env, tmp_path, **updates)
        play(parts)
        train(parts, 2 * config.get("actor_update_interval", 1))
    resolved = resolved_outputs(config["agent_output_type"], config["action_selector"], kind == "continuous")
    return set(keys_read({**config, **resolved}, own)) & own.keys(), used & own.keys() & config.keys()


@pytest.mark.parametrize(("alg", "kind"), CASES)
def test_the_keys_shown_are_the_keys_used(
    alg: str, kind: str, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, used = shown_and_used(alg, kind, data, tmp_path, monkeypatch)
    assert shown - CHECKED == used - CHECKED


def switches(alg: str) -> Iterator[tuple[str, Any]]:
    """The values of the keys that other keys of a learner hang on."""
    own = own_keys(alg)
    for name in dict.fromkeys(other for key in own.values() for other in key.where if other in own):
        allowed = own[name].allowed
        yield from ((name, value) for value in (allowed if isinstance(allowed, tuple) else own_values(own, name)))


def own_values(own: keys.Keys, name: str) -> tuple[Any, ...]:
    """A value with which other keys are read and one with which they are not."""
    wanted = next(key.where[name][0] for key in own.values() if name in key.where)
    return (wanted, 1 if isinstance(wanted, int) else "relu")


@pytest.mark.parametrize("alg", [*SWITCHED, *(pytest.param(alg, marks=pytest.mark.slow) for alg in ALSO_SWITCHED)])
def test_a_switch_shows_and_hides_what_hangs_on_it(
    alg: str, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, refused = set(), []
    for name, value in switches(alg):
        try:
            shown, used = shown_and_used(alg, action_types(alg)[0], data, tmp_path, monkeypatch, **{name: value})
        except ConfigError:
            refused.append(value)  # such as a mixer that the algorithm cannot have
            continue
        assert shown - CHECKED == used - CHECKED, f"{name}={value}"
        seen.add(frozenset(shown))
    assert len(seen) > 1 or refused


def play(parts: Parts) -> None:
    """Fill the buffer of a learner that trains in the environment."""
    if not parts.args.offline:
        parts.buffer.insert_episode_batch(parts.runner.run())
