"""OMAR's npy files, written as they were published: what is kept and rebuilt, what a replay finds, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, read_dataset
from datasets.importers.run import import_dataset, probe
from datasets.references import reference_returns
from deployment.prey import write_prey
from envs.mpe.particle_twin import ParticleTwin
from envs.mpe.prey import load_prey
from envs.mpe.pursuit_twin import PursuitTwin
from envs.mpe.spread_twin import SpreadTwin
from utils.errors import DatasetError

Files = dict[str, np.ndarray]
EPISODES, LENGTH = 12, 25
PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "omar_prey"


def logged(key: str, seed: int = 0, kind: str = "float32", prey: str | None = None) -> Files:
    """Episodes of uniform actions in our simulator, as OMAR's files hold them; of the prey its actions too."""
    pursuit = key != "simple_spread"
    twin: ParticleTwin = SpreadTwin(EPISODES, seed=seed)
    if pursuit:
        twin = PursuitTwin(EPISODES, key=key, seed=seed, prey=prey)
    rng = np.random.default_rng(seed)
    twin.reset()
    steps: dict[str, list[np.ndarray]] = {name: [] for name in ("obs", "acs", "rews", "next_obs", "prey")}
    for _ in range(LENGTH):
        actions = rng.uniform(-1, 1, (EPISODES, 3, 2))
        steps["obs"].append(twin.get_obs_exact())
        steps["acs"].append(actions)
        steps["prey"].append(twin.prey_actions() if isinstance(twin, PursuitTwin) else np.zeros((EPISODES, 2)))
        steps["rews"].append(twin.step(actions)[0])
        steps["next_obs"].append(twin.get_obs_exact())
    rows = {name: np.stack(parts, 1).reshape(EPISODES * LENGTH, *parts[0].shape[1:]) for name, parts in steps.items()}
    files = {f"{name}_{i}": rows[name][:, i] for name in ("obs", "acs", "rews", "next_obs") for i in range(3)}
    if pursuit:
        width = {"simple_tag": 14, "simple_world": 22}[key]
        blank = np.full((EPISODES * LENGTH, width), -7.0)
        files |= {"obs_3": blank, "next_obs_3": blank, "acs_3": rows["prey"], "rews_3": -rows["rews"][:, 0]}
    files |= {f"dones_{i}": np.zeros(EPISODES * LENGTH) for i in range(3 + pursuit)}
    return {name: array.astype(kind) for name, array in files.items()}


def cheetah(n_episodes: int = 2) -> Files:
    """HalfCheetah's files, 1000 rows an episode, of noise."""
    rng, n_rows = np.random.default_rng(0), n_episodes * 1000
    files: Files = {}
    for name, width in (("obs_0", 6), ("obs_1", 6), ("states_0", 17), ("states_1", 17)):
        whole = rng.normal(size=(n_episodes, 1001, width)).astype(np.float32)
        files[name] = whole[:, :-1].reshape(n_rows, width)
        files[f"next_{name}"] = whole[:, 1:].reshape(n_rows, width)
    for i in range(2):
        files[f"acs_{i}"] = rng.uniform(-1, 1, (n_rows, 3)).astype(np.float32)
        files[f"rews_{i}"] = rng.normal(size=n_rows).astype(np.float32)
        files[f"dones_{i}"] = (np.arange(1, n_rows + 1) % 1000 == 0).astype(np.float32)
    return files


def save(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True)
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def imported(source: Path, tmp_path: Path, **options: Any) -> tuple[OfflineDataset, list[str]]:
    _, notes = import_dataset("omar", source, tmp_path / "out.h5", options)
    return read_dataset(tmp_path / "out.h5"), notes


@pytest.mark.parametrize(
    ("key", "kind"), [("simple_spread", "float32"), ("simple_tag", "float64"), ("simple_world", "float32")]
)
def test_the_particle_tasks(key: str, kind: str, tmp_path: Path) -> None:
    seeds = [logged(key, seed, kind) for seed in (0, 1)]
    folder = tmp_path / "datasets" / key / "medium-replay"
    for seed, files in zip((3, 10), seeds, strict=True):
        save(folder / f"seed_{seed}_data", files)
    dataset, notes = imported(folder, tmp_path)
    counts, card = dataset.card["counts"], dataset.card
    assert counts["episodes"] == 2 * EPISODES and counts["transitions"] == 2 * EPISODES * LENGTH
    assert counts["terminals"] == 0 and counts["time_limits"] == 2 * EPISODES and counts["min_length"] == LENGTH
    prey: dict[str, Any] = {}
    if key != "simple_spread":
        prey = {"simulator": {"prey": load_prey(key, None, {"simple_tag": 14, "simple_world": 22}[key]).checksum}}
    assert card["environment"] == {"env": "mpe", "env_args": {"key": key, "time_limit": 25}, **prey}
    assert card["quality"] == "medium-replay" and card["behaviour"] == f"OMAR's datasets/{key}/medium-replay"
    assert card["reference"] == reference_returns("mpe", {"key": key}) and (card["reference"] or key != "simple_spread")
    team = np.mean([[files[f"rews_{i}"] for i in range(3)] for files in seeds], axis=1)
    returns = team.reshape(2 * EPISODES, LENGTH).sum(1)
    assert card["returns"]["mean"] == pytest.approx(returns.mean(), rel=1e-5)
    assert card["returns"]["std"] == pytest.approx(returns.std(), rel=1e-5)
    for episode in (0, 5, EPISODES, 2 * EPISODES - 1):
        files, start = seeds[episode // EPISODES], dataset.episode_offsets[episode]
        rows = slice(episode % EPISODES * LENGTH, (episode % EPISODES + 1) * LENGTH)
        for i in range(3):
            got = {name: array[start : start + LENGTH, i] for name, array in dataset.arrays.items() if array.ndim > 1}
            np.testing.assert_allclose(got["obs"], files[f"obs_{i}"][rows], atol=2e-6)
            np.testing.assert_array_equal(got["actions"], files[f"acs_{i}"][rows].astype(np.float32))
            np.testing.assert_array_equal(got["reward"], files[f"rews_{i}"][rows].astype(np.float32))
            last = files[f"next_obs_{i}"][rows][-1]
            np.testing.assert_allclose(dataset.arrays["obs"][start + LENGTH, i], last, atol=2e-6)
    text = " ".join(notes)
    assert "300 transitions" not in text and "transitions were replayed in the simulator" in text
    assert ("the prey's own columns are left out" in text) == (key != "simple_spread")
    assert card["made_by"]["notes"] == notes


def test_one_seed_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = save(tmp_path / "seed_2_data", logged("simple_spread")), str(tmp_path / "out.h5")
    assert main(["import", "--probe", str(folder)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is omar: 1 folder(s) of OMAR's npy files of Cooperative Navigation" in printed
    assert 'environment: mpe {"key": "simple_spread"' in printed
    assert main(["import", "omar", str(folder), "-o", out]) == 0
    assert "12 episodes, 300 transitions" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", out]) == 0
    assert main(["import", "omar", str(folder), "-o", out, "--force", "--n-actions", "5"]) == 1
    assert "--n-actions is no option of omar" in capsys.readouterr().err


def test_half_cheetah(tmp_path: Path) -> None:
    files = cheetah()
    dataset, notes = imported(save(tmp_path / "HalfCheetah-v2" / "expert" / "seed_0_data", files), tmp_path)
    card = dataset.card
    assert card["counts"]["episodes"] == 2 and card["counts"]["terminals"] == 0 and card["counts"]["max_length"] == 1000
    assert card["reference"]["expert"] == 3568.8 and card["quality"] == "expert"
    np.testing.assert_array_equal(dataset.arrays["state"][1001:2001], files["states_0"][1000:])
    np.testing.assert_array_equal(dataset.arrays["state"][1000], files["next_states_0"][999])
    np.testing.assert_array_equal(dataset.arrays["obs"][1000, 1], files["next_obs_1"][999])
    assert any("train with --env-config=none" in note for note in notes)


def test_states_that_do_not_follow_one_another(tmp_path: Path) -> None:
    files = cheetah()
    rolled("states", agents=(0, 1))(files)
    with pytest.raises(DatasetError, match="next_states_0.npy on row 0 is not states_0.npy on the next row, so one"):
        imported(save(tmp_path / "data", files), tmp_path)


def test_another_length(tmp_path: Path) -> None:
    """Episodes of 50 steps are no episodes of 25: the row after the 25th is what it led to."""
    files = cheetah(1)
    folder = save(tmp_path / "data", files)
    for i in range(2):
        np.save(folder / f"dones_{i}.npy", np.zeros(1000))
    with pytest.raises(DatasetError, match="row 499, the last of an episode of 500 steps, is obs_0.npy"):
        imported(folder, tmp_path, length="500")
    with pytest.raises(DatasetError, match=r"obs_0.npy has 1000 rows, which are no whole number of episodes of 600"):
        imported(folder, tmp_path, length="600")
    with pytest.raises(DatasetError, match="--length is '0'"):
        imported(folder, tmp_path, length="0")
    assert imported(folder, tmp_path)[0].n_episodes == 1


def rolled(kind: str, by: int = 1, agents: tuple[int, ...] = (0, 1, 2)) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        for i in agents:
            files[f"{kind}_{i}"] = np.roll(files[f"{kind}_{i}"], by, axis=0)

    return change


def starts_anew(files: Files) -> None:
    """An environment that resets itself: the last step of an episode leads to another one's first observation."""
    for i in range(3):
        files[f"next_obs_{i}"][LENGTH - 1 :: LENGTH] = np.roll(files[f"obs_{i}"][::LENGTH], -2, axis=0)


def put(name: str, index: Any, value: float) -> Callable[[Files], None]:
    return lambda files: files[name].__setitem__(index, value)


def lacks(name: str) -> Callable[[Files], None]:
    return lambda files: None if files.pop(name) is not None else None


def becomes(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(name, edit(files[name]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rolled("acs"), "acs_0.npy and the other actions stand one row too late: on row"),
        (rolled("acs", -1), "acs_0.npy and the other actions stand one row too early: on row"),
        (rolled("acs", 1, (1,)), "next_obs_0.npy on row .* is not what obs and acs lead to in Cooperative Navigation"),
        (rolled("rews"), "rews_0.npy on row .* and Cooperative Navigation pays .* so the column is shifted"),
        (rolled("rews", 1, (2,)), "rews_2.npy on row .* and Cooperative Navigation pays"),
        (becomes("dones_0", lambda a: (np.arange(len(a)) % 25 == 0) * 1.0), "dones_0.npy is not 0 on row 0, which is"),
        (rolled("next_obs"), "next_obs_0.npy on row .* is not what obs and acs lead to"),
        (
            starts_anew,
            r"next_obs_0.npy on row .*, the last of an episode, is not what .* \(12 of 12 such rows differ\)",
        ),
        (put("obs_1", (102, 5), 3.0), "next_obs_1.npy on row 101 is not obs_1.npy on the next row, though"),
        (put("obs_1", (7, 5), np.nan), "obs_1.npy holds a value that is not finite on row 7"),
        (put("rews_2", 299, np.inf), "rews_2.npy holds a value that is not finite on row 299"),
        (put("acs_2", (30, 1), 1.5), "rows 25 to 49: actions leaves .* on row 5: agent 2 has 1.5 in dimension 1"),
        (put("dones_1", 24, np.nan), "dones_1.npy: 'dones_1' is nan on row 24; it must be 0 or 1"),
        (lambda files: files.update({name: a[:0] for name, a in files.items()}), "obs_0.npy has no row"),
        (lacks("rews_1"), "rews_1.npy is missing; such a folder holds obs, acs, rews, next_obs, dones of every agent"),
        (lacks("obs_0"), "obs_0.npy is missing"),
        (becomes("acs_1", lambda a: a[:-1]), "acs_1.npy has 299 rows and obs_0.npy 300"),
        (becomes("acs_1", lambda a: a[:, :1]), r"acs_1.npy has rows of shape \(1,\); they must be \(2,\)"),
        (becomes("obs_1", lambda a: a[:, :16]), r"obs_1.npy has rows of shape \(16,\); they must be \(18,\)"),
        (becomes("obs_0", lambda a: a[:, :5]), r"obs_0.npy has rows of shape \(5,\), where OMAR's tasks have 18 in"),
        (becomes("acs_0", lambda a: a.astype(int)), "acs_0.npy is of type int64; it must hold floats"),
        (becomes("acs_0", np.asfortranarray), "acs_0.npy has shape .* in Fortran's order"),
        (becomes("acs_0", lambda a: a.astype(object)), "acs_0.npy is no array of numbers in NumPy's format"),
        (lambda files: files.update(obs_3=files["obs_2"]), "has files of agent 3, and Cooperative Navigation only 3"),
    ],
)
def test_what_does_not_fit_is_one_sentence(damage: Callable[[Files], None], message: str, tmp_path: Path) -> None:
    files = logged("simple_spread")
    damage(files)
    folder = save(tmp_path / "data", files)
    with pytest.raises(DatasetError, match=message) as raised:
        imported(folder, tmp_path)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_truncated_file_and_other_tasks_beside(tmp_path: Path) -> None:
    folder = save(tmp_path / "data", logged("simple_spread"))
    content = (folder / "acs_1.npy").read_bytes()
    (folder / "acs_1.npy").write_bytes(content[:-1])
    with pytest.raises(DatasetError, match="acs_1.npy is no array .* for which .* bytes are too few"):
        imported(folder, tmp_path)
    save(tmp_path / "both" / "seed_0_data", logged("simple_spread"))
    save(tmp_path / "both" / "seed_1_data", logged("simple_tag"))
    with pytest.raises(DatasetError, match="seed_1_data holds Predator-Prey, .*seed_0_data Cooperative Navigation"):
        imported(tmp_path / "both", tmp_path)
    with pytest.raises(DatasetError, match="holds no obs_0.npy, acs_0.npy and no seed_0_data; give a"):
        imported(tmp_path, tmp_path)
    with pytest.raises(DatasetError, match="is of no known format"):
        probe(tmp_path)
    (tmp_path / "pretrained_adv_model.pt").write_bytes(b"weights")
    with pytest.raises(DatasetError, match="weights of networks are no dataset .policy.py prey"):
        probe(tmp_path / "pretrained_adv_model.pt")


def test_the_prey_is_told_apart(tmp_path: Path) -> None:
    files = logged("simple_tag")
    files["acs_3"] = -files["acs_3"] + 0.1
    folder = save(tmp_path / "data", files)
    with pytest.raises(DatasetError, match="acs_3.npy does not hold the actions of the prey that comes with"):
        imported(folder, tmp_path)
    (folder / "acs_3.npy").unlink()  # without them the prey's policy is replayed, which fits
    dataset, _ = imported(folder, tmp_path)
    assert dataset.card["environment"]["env"] == "mpe"
    with pytest.raises(DatasetError, match="--prey: Cooperative Navigation has no prey"):
        imported(save(tmp_path / "spread", logged("simple_spread")), tmp_path, prey="none")


def test_an_unknown_prey_leaves_the_environment_out(tmp_path: Path) -> None:
    """Its logged actions are replayed, so shifted columns are found all the same."""
    folder = save(tmp_path / "data", logged("simple_world"))
    dataset, notes = imported(folder, tmp_path, prey="none")
    assert dataset.card["environment"] == {"env": None, "env_args": {}} and dataset.card["reference"] is None
    assert "replayed in the simulator" in " ".join(notes)
    np.save(folder / "rews_0.npy", np.roll(np.load(folder / "rews_0.npy"), 1))
    with pytest.raises(DatasetError, match="rews_0.npy on row .* and World pays"):
        imported(folder, tmp_path, prey="none")
    (folder / "acs_3.npy").unlink()
    assert "nothing was replayed" in " ".join(imported(folder, tmp_path, prey="none")[1])


def test_references_are_those_of_the_prey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import references

    folder = save(tmp_path / "data", logged("simple_tag"))
    assert imported(folder, tmp_path)[0].card["reference"] == reference_returns("mpe", {"key": "simple_tag"})
    monkeypatch.delitem(references._PREDATORS, ("simple_tag", load_prey("simple_tag", None, 14).checksum))
    assert imported(folder, tmp_path)[0].card["reference"] is None


@pytest.mark.parametrize(("key", "expert"), [("simple_tag", 185.6), ("simple_world", 79.5)])
def test_data_of_the_published_prey(key: str, expert: float, tmp_path: Path) -> None:
    source = PUBLISHED / key / "pretrained_adv_model.pt"
    if not source.is_file():
        pytest.skip(f"the published prey is not here: {source}")
    prey = str(tmp_path / "prey.safetensors")
    write_prey(str(source), key, prey)
    folder = save(tmp_path / "data", logged(key, prey=prey))
    dataset, _ = imported(folder, tmp_path, prey=prey)
    assert dataset.card["reference"]["expert"] == expert and dataset.card["environment"]["env_args"]["prey"] == prey
    with pytest.raises(DatasetError, match="acs_3.npy does not hold the actions of the prey that comes with"):
        imported(folder, tmp_path)
