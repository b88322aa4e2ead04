"""Scores against different preys are never mixed: the prey's checksum decides, not the name of its file."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from datasets.agreement import check_environment
from datasets.dataset import read_dataset, write_dataset
from datasets.edit import merge_datasets
from datasets.parts import mix_datasets
from envs.mpe.prey import prey_file
from envs.mpe.pursuit_twin import PursuitTwin
from loops.build import dataset_reference
from loops.identity import identity
from reporting.groups import grouped
from reporting.places import read_places
from reporting.sacred_runs import environment_of
from tests.command_line import MAIN
from tests.datasets.samples import continuous_arrays, continuous_card
from tests.fork_server import run_script
from tests.reporting.made import make_run
from utils.errors import DatasetError
from utils.settings import Settings

LOG = logging.getLogger("preys")


def prey(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    sizes = [(8, 14), (8, 8), (2, 8)]
    layers = {f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)}
    save_file(layers | {f"{i}.bias": np.zeros(size[0]) for i, size in enumerate(sizes)}, path)
    return path


def info_of(path: Path | None) -> dict[str, Any]:
    return PursuitTwin(1, prey=None if path is None else str(path)).get_env_info()


def data(path: Path, policy: Path | None, reference: dict[str, Any] | None = None) -> Path:
    """A made-up set whose card says that this prey was chased."""
    env_args = {"key": "simple_tag"} | ({} if policy is None else {"prey": str(policy)})
    environment = {"env": "mpe", "env_args": env_args, "simulator": info_of(policy)["simulator"]}
    card = {**continuous_card(), "environment": environment, "reference": reference}
    write_dataset(path, *continuous_arrays([25] * 4, obs_size=16), card)
    return path


def configured(policy: Path, dataset: Path) -> Settings:
    env_args = {"key": "simple_tag", "prey": str(policy)}
    return Settings(dataset=str(dataset), env="mpe", env_args=env_args, memory_map=False, name="bc")


def test_data_are_scored_against_their_own_prey_wherever_its_file_lies(tmp_path: Path) -> None:
    policy = prey(tmp_path / "prey.safetensors", 0)
    path = data(tmp_path / "data.h5", policy)
    dataset = read_dataset(path)
    check_environment(configured(policy, path), dataset, info_of(policy))
    elsewhere = Path(shutil.copy(policy, tmp_path / "copy.safetensors"))
    check_environment(configured(elsewhere, path), dataset, info_of(elsewhere))
    prey(policy, 1)  # another prey under the same name
    with pytest.raises(DatasetError, match="another environment .the prey's checksum is"):
        check_environment(configured(policy, path), dataset, info_of(policy))


def test_a_policy_is_given_no_score_by_the_references_of_another_prey(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = prey(tmp_path / "prey.safetensors", 0)
    path = data(tmp_path / "data.h5", policy, {"random": 0.0, "expert": 9.0, "source": "test"})
    args = configured(policy, path)
    found = dataset_reference(args, info_of(policy), LOG)
    assert found is not None and found.expert == 9.0
    prey(policy, 1)
    assert dataset_reference(args, info_of(policy), LOG) is None
    assert "No normalised score" in caplog.text and "the prey's checksum" in caplog.text


def test_data_of_two_preys_are_not_joined(tmp_path: Path) -> None:
    policy = prey(tmp_path / "prey.safetensors", 0)
    first = data(tmp_path / "first.h5", policy)
    copied = data(tmp_path / "copied.h5", Path(shutil.copy(policy, tmp_path / "copy.safetensors")))
    assert merge_datasets([first, copied], tmp_path / "both.h5")["counts"]["episodes"] == 8
    other = data(tmp_path / "other.h5", prey(policy, 1))  # of the same name, and of no known reference either
    with pytest.raises(DatasetError, match="cannot be merged: the prey's checksum is"):
        merge_datasets([first, other], tmp_path / "no.h5")
    with pytest.raises(DatasetError, match="cannot be merged: the prey's checksum is"):
        mix_datasets([first, other], [0.5, 0.5], tmp_path / "no.h5")
    assert not (tmp_path / "no.h5").exists()


def test_a_sweep_knows_a_run_by_its_prey(tmp_path: Path) -> None:
    def of(policy: Path | None) -> str:
        env_args = {"key": "simple_tag", "prey": None if policy is None else str(policy)}
        return identity({"name": "matd3", "env": "mpe", "env_args": env_args}, None)

    policy = prey(tmp_path / "prey.safetensors", 0)
    first = of(policy)
    assert of(Path(shutil.copy(policy, tmp_path / "copy.safetensors"))) == first != of(None)
    assert of(prey(policy, 1)) != first


def test_a_report_keeps_runs_against_other_preys_apart(tmp_path: Path) -> None:
    """Two algorithms, each with its own prey, have no key of one algorithm in which their runs differ."""
    bundled, other = info_of(None)["simulator"]["prey"], "ab" * 32
    for number, (name, chased) in enumerate((("matd3", bundled), ("mappo", other), ("mappo", None))):
        folder = tmp_path / str(number) / "simple_tag" / "1"
        env_args = {"key": "simple_tag", "time_limit": 25}
        make_run(folder, name=name, offline=False, dataset=None, env_args=env_args, minute=number)
        file = folder / "info.json"
        content = json.loads(file.read_text())
        content["run"]["prey"] = chased
        file.write_text(json.dumps(content))
    groups, _ = grouped(read_places([str(tmp_path)]).runs)
    names = {(group.algorithm, group.task.environment) for group in groups}
    assert names == {
        ("matd3", "mpe/simple_tag"),
        ("mappo", "mpe/simple_tag (prey abababab)"),
        ("mappo", "mpe/simple_tag"),
    }
    assert environment_of({"env": None}, other) is None


def test_no_run_goes_on_against_another_prey(tmp_path: Path) -> None:
    """And what a run chased is in its record, for the report."""
    policy = prey(tmp_path / "prey.safetensors", 0)
    words = [
        "--config=matd3", "--env-config=simple_tag", "with", f"env_args.prey={policy}", "batch_size_run=4",
        "batch_size=8", "hidden_dim=8", "test_nepisode=4", "t_max=100", "seed=1", "use_cuda=False",
        f"local_results_path={tmp_path / 'results'}",
    ]  # fmt: skip
    trained = run_script(MAIN, words)
    assert trained.returncode == 0, trained.stderr
    (record,) = (tmp_path / "results").glob("sacred/*/*/1/info.json")
    assert json.loads(record.read_text())["run"]["prey"] == info_of(policy)["simulator"]["prey"]
    (folder,) = (tmp_path / "results" / "models").iterdir()
    prey(policy, 1)
    refused = run_script(MAIN, ["with", f"checkpoint_path={folder}", "t_max=200"])
    assert refused.returncode == 1 and "was trained against another prey" in refused.stderr, refused.stderr
    copy = prey(tmp_path / "copy.safetensors", 0)
    again = ["with", f"checkpoint_path={folder}", "t_max=200", f"env_args.prey={copy}"]
    continued = run_script(MAIN, again)
    assert continued.returncode == 0, continued.stderr


def test_the_bundled_sets_name_the_bundled_prey() -> None:
    from datasets.names import dataset_path
    from datasets.references import BUNDLED_PREYS

    for task in ("simple_tag", "simple_world"):
        card = read_dataset(dataset_path(f"mpe/{task}/medium-replay")).card
        twin = PursuitTwin(1, key=task)
        assert card["environment"]["simulator"] == twin.get_env_info()["simulator"]
        assert card["environment"]["simulator"]["prey"] in BUNDLED_PREYS and prey_file(task, None).is_file()
