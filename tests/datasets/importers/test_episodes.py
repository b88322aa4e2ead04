"""Episodes from a user's arrays: what is padded and how, the npz layout, what is refused."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset import main
from datasets import from_episodes
from datasets.dataset import read_dataset
from datasets.importers.run import import_dataset, probe
from utils.errors import DatasetError

LENGTHS = (3, 5, 1)


def logged(discrete: bool = False) -> list[dict[str, Any]]:
    """Two agents of different observations and actions: 3 and 2 numbers, 1 and 2 dimensions or 3 and 2 actions."""
    rng = np.random.default_rng(0)
    episodes: list[dict[str, Any]] = []
    for steps in LENGTHS:
        episode: dict[str, Any] = {
            "obs": {"arm": rng.normal(size=(steps + 1, 3)), "cart": rng.normal(size=(steps + 1, 2))},
            "actions": {"arm": rng.uniform(-2, 2, (steps, 1)), "cart": rng.uniform(-1, 1, (steps, 2))},
            "reward": rng.normal(size=steps),
            "terminated": steps == 5,
        }
        if discrete:
            episode["actions"] = [rng.integers(0, 3, steps), rng.integers(0, 2, steps)]
        episodes.append(episode)
    return episodes


BOUNDS = {"action_low": [[-2.0], [-1.0, -1.0]], "action_high": [[2.0], [1.0, 1.0]]}


def test_continuous_episodes_are_padded_as_environments_pad(tmp_path: Path) -> None:
    episodes = logged()
    card = from_episodes(iter(episodes), tmp_path / "out.h5", **BOUNDS, behaviour="mine", made_by={"command": "x.py"})
    dataset = read_dataset(tmp_path / "out.h5")
    assert dataset.card == card and card["counts"]["terminals"] == 1 and card["behaviour"] == "mine"
    assert card["made_by"] == {"command": "x.py"} and card["environment"] == {"env": None, "env_args": {}}
    assert card["action_low"] == [[-2.0, 0.0], [-1.0, -1.0]] and card["action_high"] == [[2.0, 0.0], [1.0, 1.0]]
    assert card["reward"].startswith("the team's")
    arrays, offsets = dataset.arrays, dataset.episode_offsets
    assert offsets.tolist() == [0, 4, 10, 12] and np.flatnonzero(arrays["terminated"]).tolist() == [8]
    for start, stop, episode in zip(offsets, offsets[1:], episodes, strict=False):
        np.testing.assert_allclose(arrays["obs"][start:stop, 0], episode["obs"]["arm"], rtol=1e-6)
        np.testing.assert_allclose(arrays["obs"][start:stop, 1, :2], episode["obs"]["cart"], rtol=1e-6)
        np.testing.assert_allclose(arrays["actions"][start : stop - 1, 0, :1], episode["actions"]["arm"], rtol=1e-6)
        np.testing.assert_allclose(arrays["actions"][start : stop - 1, 1], episode["actions"]["cart"], rtol=1e-6)
        np.testing.assert_allclose(
            arrays["reward"][start : stop - 1], episode["reward"][:, None].repeat(2, 1), rtol=1e-6
        )
    assert not arrays["obs"][:, 1, 2].any() and not arrays["actions"][:, 0, 1].any()
    assert (arrays["avail_actions"] == [[1, 0], [1, 1]]).all() and not dataset.last_action_known.any()


def test_discrete_episodes(tmp_path: Path) -> None:
    episodes = logged(discrete=True)
    card = from_episodes(episodes, tmp_path / "out.h5", n_actions=[3, 2])
    dataset = read_dataset(tmp_path / "out.h5")
    assert card["n_actions"] == 3 and (dataset.arrays["avail_actions"] == [[1, 1, 1], [1, 1, 0]]).all()
    assert dataset.arrays["actions"].dtype == np.int64
    np.testing.assert_array_equal(dataset.arrays["actions"][4:9, 1, 0], episodes[1]["actions"][1])
    for episode in episodes:  # masks of one's own tell the numbers of actions
        steps = len(episode["reward"])
        masks = [np.ones((steps + 1, 3)), np.ones((steps + 1, 2))]
        masks[0][np.arange(steps), (episode["actions"][0] + 1) % 3] = 0
        episode["avail_actions"] = masks
    from_episodes(episodes, tmp_path / "masked.h5")
    available = read_dataset(tmp_path / "masked.h5").arrays["avail_actions"]
    np.testing.assert_array_equal(available[:4, 0], episodes[0]["avail_actions"][0])
    assert not available[:, 1, 2].any()


def test_equal_agents_rewards_of_their_own_and_a_known_last_action(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episode = {"obs": rng.normal(size=(5, 3, 4)), "actions": rng.uniform(-1, 1, (5, 3, 2)),
               "reward": rng.normal(size=(4, 3)), "terminated": [0, 0, 0, 1],
               "state": rng.normal(size=(5, 7))}  # fmt: skip
    card = from_episodes([episode], tmp_path / "out.h5", action_low=-1, action_high=[1, 1])
    dataset = read_dataset(tmp_path / "out.h5")
    assert "reward" not in card and card["action_low"] == [-1.0, -1.0] and dataset.last_action_known.all()
    np.testing.assert_allclose(dataset.arrays["reward"][:4], episode["reward"], rtol=1e-6)
    np.testing.assert_allclose(dataset.arrays["state"], episode["state"], rtol=1e-6)
    assert dataset.arrays["terminated"].tolist() == [0, 0, 0, 1, 0] and "avail_actions" not in dataset.arrays


def put(path: tuple, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(episodes: list[dict[str, Any]]) -> None:
        place: Any = episodes
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put((1, "obs", "arm"), np.zeros((5, 3))), "episode 1: obs of agent 0 has 5 rows; with 5 rewards .* have 6"),
        (put((1, "obs", "arm"), np.zeros((6, 4))), "episode 1: obs of agent 0 has 4 columns, in the first episode 3"),
        (put((1, "obs"), {"arm": np.zeros((6, 3))}), r"episode 1: obs has the agents \['arm'\], obs \['arm', 'cart'\]"),
        (put((1, "actions"), [np.zeros((5, 1))]), "episode 1: actions has 1 agents; it must be 2, as in obs"),
        (put((1, "actions", "arm"), np.full((5, 1), 2.5)), "episode 1: actions leaves .* on row 0: agent 0 has 2.5"),
        (put((1, "actions", "arm"), np.zeros((5, 1), int)), "episode 1: actions of agent 0 are of type int64"),
        (put((1, "actions", "arm"), np.zeros((6, 1))), "episode 1: actions of some agents have 5 rows"),
        (put((1, "obs", "cart", 2, 1), np.nan), "episode 1: obs holds a value that is not finite .* on row 2"),
        (put((1, "reward"), np.zeros((5, 3))), r"episode 1: reward has shape \(5, 3\)"),
        (put((1, "reward"), [np.zeros(5), np.zeros(4)]), r"episode 1: reward has the shapes \(5,\), \(4,\)"),
        (
            put((1, "reward"), np.zeros((5, 2))),
            "episode 1: reward is one for each agent, and in the first",
        ),
        (put((1, "terminated"), 2), "episode 1: terminated must be true or false"),
        (put((1, "terminated"), [1, 0, 0, 0, 0]), "episode 1: terminated is 1 on row 0"),
        (put((1, "reward"), {"x": np.zeros(5)}), r"episode 1: reward has the agents \['x'\], obs"),
        (put((0, "obs", "arm"), [[1, 2], [3]]), "episode 0: obs cannot be made an array .* its rows differ in length"),
        (put((1, "state"), [[1, 2], [3]]), "episode 1: state cannot be made an array .* its rows differ in length"),
        (put((1, "terminated"), [[1, 2], [3]]), "episode 1: terminated cannot be made an array"),
        (put((1, "rewards"), 0), "episode 1 has the key 'rewards'; did you mean 'reward'"),
        (put((1,), 3), "episode 1 is of type int; it must be a dictionary"),
        (put((0, "obs", "arm"), np.zeros((4, 3), object)), "episode 0: obs of agent 0 has shape .* type object"),
        (lambda episodes: episodes[1].pop("reward"), "episode 1 lacks 'reward'"),
        (lambda episodes: episodes.clear(), "the list holds no episode"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    damage: Callable[[list[dict[str, Any]]], None], message: str, tmp_path: Path
) -> None:
    episodes = logged()
    damage(episodes)
    with pytest.raises(DatasetError, match=message) as raised:
        from_episodes(episodes, tmp_path / "out.h5", **BOUNDS)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_bounds_and_numbers_of_actions_are_needed(tmp_path: Path) -> None:
    for arguments, message in (({}, "action_low and action_high are missing"),
                               ({**BOUNDS, "action_low": [-1.0, -1.0, -1.0]}, "action_low does not fit"),
                               ({**BOUNDS, "action_low": [[-1.0]]}, "action_low does not fit")):  # fmt: skip
        with pytest.raises(DatasetError, match=message):
            from_episodes(logged(), tmp_path / "out.h5", **arguments)
    for n_actions, message in ((None, "n_actions is None; discrete actions need"), ([3], r"n_actions is \[3\]"),
                               ([[1, 2], [3]], "n_actions cannot be made an array"),
                               ([2, 2], "agent 0 is 2 on row . it has 2 actions|agent 0 is 2 on row")):  # fmt: skip
        with pytest.raises(DatasetError, match=message):
            from_episodes(logged(discrete=True), tmp_path / "out.h5", n_actions=n_actions)


def archive(path: Path, **changes: Any) -> Path:
    """The episodes of `logged` in the npz layout; None leaves an array out."""
    episodes = logged()
    arrays: dict[str, Any] = {
        "lengths": np.array(LENGTHS),
        "terminated": np.array([episode["terminated"] for episode in episodes]),
        "reward": np.concatenate([episode["reward"] for episode in episodes]),
        "action_low": np.array([[-2.0, 0.0], [-1.0, -1.0]]),
        "action_high": np.array([[2.0, 0.0], [1.0, 1.0]]),
    }
    for key in ("obs", "actions"):
        for i, name in enumerate(("arm", "cart")):
            arrays[f"{key}_{i}"] = np.concatenate([episode[key][name] for episode in episodes])
    arrays |= changes
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def test_the_npz_layout_is_the_same_data(tmp_path: Path) -> None:
    expected = from_episodes(logged(), tmp_path / "expected.h5", **BOUNDS, made_by={"command": "", "source": "log.npz"})
    card, _ = import_dataset("numpy", archive(tmp_path / "log.npz"), tmp_path / "out.h5", {})
    assert card["checksum"] == expected["checksum"]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = str(archive(tmp_path / "log.npz")), str(tmp_path / "out.h5")
    assert main(["import", "--probe", path]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is numpy: 3 episodes of 2 agents" in printed and "continuous actions" in printed
    assert "a probe reads headers and samples; all values" in printed
    assert "environment: none (state it with --env and --env-args)" in printed and f"import numpy {path} -o" in printed
    words = ["--env", "gymma", "--env-args", '{"key": "x-v0"}', "--quality", "expert", "--behaviour", "a controller"]
    assert main(["import", "numpy", path, "-o", out, *words]) == 0
    card = read_dataset(out).card
    assert card["environment"] == {"env": "gymma", "env_args": {"key": "x-v0"}}
    assert (card["quality"], card["behaviour"]) == ("expert", "a controller")
    capsys.readouterr()
    for words, message in (
        (["numpy", path, "-o", out], "exists already"),
        (["nunpy", path, "-o", out, "--force"], "'nunpy' is no format; did you mean 'numpy'?"),
        (["numpy", path], "the out is missing"),
        (["numpy", str(tmp_path / "nowhere"), "-o", out], "there is no file or folder"),
        (["numpy", path, "-o", path], "log.npz, which exists and does not end in .h5; give"),
        (["numpy", path, "-o", out, "--force", "--env-args", "{}"], "--env-args has no meaning without --env"),
        (["numpy", path, "-o", out, "--force", "--env", "x", "--env-args", "{"], "--env-args is no JSON"),
    ):
        before = Path(out).read_bytes()
        assert main(["import", *words]) == 1
        printed = " ".join(capsys.readouterr().err.split())
        assert message in printed, printed
        assert Path(out).read_bytes() == before
    (tmp_path / "text.txt").write_text("no data")
    assert main(["import", "--probe", str(tmp_path / "text.txt")]) == 1
    assert "is of no known format: " in " ".join(capsys.readouterr().err.split())


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file, file.open("obs_0.npy", "w") as part:
        np.lib.format.write_array_header_1_0(part, {"descr": "<f8", "fortran_order": False, "shape": (40 << 20,)})
        for _ in range(80):
            part.write(bytes(4 << 20))


def truncated(path: Path) -> None:
    content = archive(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    """Damage within a compressed array, past its header."""
    content = bytearray(archive(path, obs_0=np.random.default_rng(0).normal(size=(12, 3))).read_bytes())
    at = content.index(b"obs_0.npy") + 250
    content[at] ^= 255
    path.write_bytes(content)


def pickled(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}]), allow_pickle=True)
    archive(path, obs_0=None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("obs_0.npy", buffer.getvalue())


def rewritten(**changes: Any) -> Callable[[Path], None]:
    return lambda path: None if archive(path, **changes) else None


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (bomb, "log.npz declares arrays of 336 MB and holds"),
        (truncated, "log.npz is no npz archive, or a truncated one"),
        (flipped, "'obs_0' in .*log.npz is truncated, damaged or no array"),
        (pickled, "'obs_0' in .*log.npz is of type object; arrays of numbers are read, and no pickle"),
        (rewritten(obs_1=None), "log.npz holds 'actions_1' beside obs of 1 agents"),
        (rewritten(actions_1=None), "log.npz lacks the array 'actions_1'"),
        (rewritten(reward_0=np.zeros(9), reward_1=np.zeros(9)), "log.npz holds 'reward' and 'reward_0'; leave one out"),
        (rewritten(lengths=None), "log.npz lacks the array 'lengths'"),
        (rewritten(observations=np.zeros(3)), "log.npz holds the array 'observations'; "),
        (rewritten(reward=np.zeros(8)), r"log.npz: reward has shape \(8,\); by lengths it must have 9 rows"),
        (rewritten(lengths=np.array([3, 0, 6])), "log.npz: lengths must hold at least one whole number of steps"),
        (
            rewritten(lengths=np.array([2**62, 2**62, 2**63 + 9], np.uint64)),
            "by lengths it must have 18446744073709551625",
        ),
        (rewritten(terminated=np.array([0, 1])), "log.npz: terminated has 2 entries, lengths 3"),
        (rewritten(obs_0=np.full((12, 3), np.inf)), "log.npz: episode 0: obs holds a value that is not finite"),
        (rewritten(obs_0=np.asfortranarray(np.full((12, 3), np.nan))), "log.npz: episode 0: obs holds a value that"),
        (lambda path: path.mkdir(), "log.npz is a folder"),
    ],
)
def test_a_bad_archive_is_one_sentence(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / "log.npz")
    with pytest.raises(DatasetError, match=message) as raised:
        import_dataset("numpy", tmp_path / "log.npz", tmp_path / "out.h5", {})
    assert "\n" not in str(raised.value) and [path.name for path in tmp_path.iterdir()] == ["log.npz"]


def test_a_probe_of_a_damaged_archive_says_so(tmp_path: Path) -> None:
    truncated(tmp_path / "log.npz")
    with pytest.raises(DatasetError, match="is of no known format: .*; .*: cannot tell .*truncated"):
        probe(tmp_path / "log.npz")


def test_a_probe_says_what_an_archive_lacks(tmp_path: Path) -> None:
    lines = probe(archive(tmp_path / "log.npz", lengths=None))
    assert lines[0].endswith("is numpy: episodes of 2 agents, with arrays of its own for each")
    assert "lacks the array 'lengths'; it must hold lengths, terminated" in lines[1]
