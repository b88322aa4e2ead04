import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from dataset import main
from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays, forge

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path):
    arrays, offsets = continuous_arrays([3, 5, 1, 2])
    arrays["terminated"][offsets[2] - 2] = 1
    arrays["actions"][:, 1, 0] = 1.0
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card(), last_action_known=True)
    return tmp_path / "a.h5"


def cli(*arguments):
    command = [sys.executable, str(ROOT / "src" / "dataset.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_inspect(file):
    result = cli("inspect", file)
    assert result.returncode == 0 and result.stderr == ""
    for text in (
        "action_space",
        "episodes 4, transitions 11",
        "in a terminal 1, at a time limit or cut 3",
        "#",
        "matches",
    ):
        assert text in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.split()[:2] == ["1", "0"])
    assert line.split()[-2:] == ["0.00%", "100.00%"]  # saturation
    assert "non-finite values: " in result.stdout and "obs 0" in result.stdout


def test_verify_prints_nothing_wider_than_the_terminal(file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["verify", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and all(len(line) <= 60 or str(file) in line for line in lines)


def test_inspect_discrete(tmp_path, capsys):
    arrays, offsets, card = discrete_arrays([4, 2])
    write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    assert main(["inspect", str(tmp_path / "d.h5")]) == 0
    assert "share of each of 0..4" in capsys.readouterr().out


def test_an_altered_file_is_reported_and_refused(file):
    value = read_dataset(file).arrays["reward"][:1].tobytes()
    write_dataset(file, read_dataset(file).arrays, read_dataset(file).episode_offsets, continuous_card(), compression=0)
    content = file.read_bytes()
    assert content.count(value) == 1
    file.write_bytes(content.replace(value, np.full(3, np.nan, np.float32).tobytes()))
    report = cli("inspect", file)
    assert report.returncode == 1
    assert "DOES NOT MATCH" in report.stdout and "reward 3" in report.stdout
    refusal = cli("verify", file)
    assert refusal.returncode == 1 and refusal.stdout == ""
    assert refusal.stderr.count("\n") == 1 and "does not match its checksum" in refusal.stderr


def without_warnings(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inspect_counts_rewards_of_which_none_is_finite(file, capsys, value):
    rewards = np.full((15, 3), value, np.float32)
    rewards[:, 2] *= -1  # inf - inf within one mean
    forge(file, {}, {"reward": rewards})
    assert without_warnings("inspect", file) == 1
    captured = capsys.readouterr()
    assert "4 of 4 not finite" in captured.out and "reward 45" in captured.out and "obs 0" in captured.out
    assert "FAILED: reward holds a value that is not finite" in captured.out and "matches" in captured.out
    assert captured.err == ""


def test_inspect_counts_actions_that_are_not_finite(file, capsys):
    actions = read_dataset(file).arrays["actions"]
    actions[:, 0] = np.nan
    actions[2, 1] = np.inf
    forge(file, {}, {"actions": actions})
    assert without_warnings("inspect", file) == 1
    report = capsys.readouterr().out
    assert "actions 32" in report and report.count("not one finite value") == 2


@pytest.mark.parametrize(
    "card, message",
    [
        ({"action_low": None}, "actions: not reported, for the dataset card lacks 'action_low'"),
        ({"action_high": [1.0]}, "all must agree"),
        ({"obs_mean": None}, "FAILED: the dataset card lacks 'obs_mean'"),
        ({"obs_mean": ["a"]}, "obs_mean is no array of numbers"),
    ],
)
def test_inspect_names_what_the_card_lacks(file, capsys, card, message):
    forge(file, card)
    assert without_warnings("inspect", file) == 1
    captured = capsys.readouterr()
    assert message in captured.out and "episodes 4, transitions 11" in captured.out and captured.err == ""


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"reward": None}, "damaged beyond a report: the dataset lacks 'reward'"),
        ({"last_action_known": None}, "damaged beyond a report: the file lacks 'last_action_known'"),
        ({"reward": np.zeros((3, 3), np.float32)}, "damaged beyond a report: reward has shape"),
    ],
)
def test_inspect_of_arrays_that_do_not_fit_is_one_sentence(file, capsys, arrays, message):
    forge(file, {}, arrays)
    assert without_warnings("inspect", file) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err


@pytest.mark.parametrize("content", [b"text", None])
def test_a_sound_file_of_another_kind_is_not_called_damaged(content, tmp_path, capsys):
    path = tmp_path / "a b.h5"
    if content is None:
        with h5py.File(path, "w") as other:
            other["observations"] = np.zeros(3)
    else:
        path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    said = capsys.readouterr().err
    assert "damaged beyond a report" not in said and said.count("\n") == 1
    assert f"dataset.py import --probe '{path}' says whether it can be converted" in said.replace("''", "'")


def test_force_replaces_no_file_of_another_kind(file, tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for words in (("slice", "--episodes", "2"), ("split", "--validation", "0.5"), ("generate-xor", "AB")):
        source = [] if words[0] == "generate-xor" else [str(file)]
        assert main([words[0], *source, *words[1:], "-o", str(notes), "--force"]) == 1
        message = "notes.txt, which exists and does not end in .h5; give a name under offline_data/ or the path of a"
        assert message in capsys.readouterr().err
    assert notes.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "b.hdf5").write_bytes(b"")
    assert main(["slice", str(file), "--episodes", "2", "-o", str(tmp_path / "b.hdf5"), "--force"]) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("inspect", "no/such/set"), "there is no dataset"),
        (("verify", "missing.h5"), "there is no dataset"),
        (("slice", "FILE", "--episodes", "9", "-o", "OUT"), "holds 4 episodes"),
        (("slice", "FILE", "--episodes", "0", "-o", "OUT"), "--episodes is 0"),
        (("slice", "FILE", "--episodes", "-3", "-o", "OUT"), "--episodes is -3"),
        (("slice", "FILE", "--episodes", "2", "--seed", "-1", "-o", "OUT"), "--seed is -1"),
        (("slice", "FILE", "--episodes", "2", "-o", "FILE"), "one of the sources"),
        (("merge", "FILE", "-o", "OUT"), "at least two"),
    ],
)
def test_errors_are_one_sentence(file, capsys, arguments, message):
    names = {"FILE": str(file), "OUT": str(file.with_name("out.h5"))}
    assert main([names.get(argument, argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err


def test_slice_takes_episodes_and_tells_where_from(file, tmp_path):
    out = tmp_path / "part.h5"
    assert cli("slice", file, "--episodes", 2, "-o", out).returncode == 0
    whole, part = read_dataset(file), read_dataset(out)
    assert np.array_equal(part.episode_offsets, whole.episode_offsets[:3])
    assert all(np.array_equal(part.arrays[key], whole.arrays[key][:10]) for key in whole.arrays)
    assert part.card["made_by"]["sources"][0]["checksum"] == whole.card["checksum"]
    assert "slice" in part.card["made_by"]["command"]
    assert main(["slice", str(file), "--episodes", "2", "-o", str(out)]) == 1  # exists
    assert main(["slice", str(file), "--episodes", "2", "--seed", "5", "-o", str(out), "--force"]) == 0
    chosen = np.sort(np.random.default_rng(5).choice(4, 2, replace=False))
    first = whole.episode_offsets[chosen[0]]
    assert np.array_equal(read_dataset(out).arrays["obs"][0], whole.arrays["obs"][first])


def test_merge_joins_episodes(file, tmp_path):
    arrays, offsets = continuous_arrays([2, 2], seed=7)
    state = np.random.default_rng(0).normal(size=(len(arrays["obs"]), 12))
    write_dataset(tmp_path / "b.h5", arrays | {"state": state}, offsets, continuous_card() | {"quality": "medium"})
    out = tmp_path / "both.h5"
    assert main(["merge", str(file), str(tmp_path / "b.h5"), "-o", str(out)]) == 0
    one, both = read_dataset(file), read_dataset(out)
    assert both.n_episodes == 6 and both.card["quality"] == "random + medium"
    assert both.last_action_known.tolist() == [True] * 4 + [False] * 2
    assert np.array_equal(both.arrays["obs"], np.concatenate([one.arrays["obs"], arrays["obs"]]))
    first = one.arrays["obs"].reshape(-1, 12)
    assert np.array_equal(both.arrays["state"], np.concatenate([first, state.astype(np.float32)]))
    assert len(both.card["made_by"]["sources"]) == 2


def test_merge_refuses_other_shapes(file, tmp_path, capsys):
    arrays, offsets = continuous_arrays([2, 2], n_agents=2)
    write_dataset(tmp_path / "b.h5", arrays, offsets, continuous_card())
    assert main(["merge", str(file), str(tmp_path / "b.h5"), "-o", str(tmp_path / "c.h5")]) == 1
    assert "cannot be merged: shapes is {'n_agents': 3, " in capsys.readouterr().err


SPREAD = {"key": "simple_spread", "time_limit": 25, "seed": 1, "render_mode": None}
MEASURED = {"random": 1.0, "expert": 2.0, "source": "here"}


@pytest.mark.parametrize(
    ("env_args", "reference", "words"),
    [
        (SPREAD | {"time_limit": 50}, MEASURED, "env_args.time_limit is 25 in the first and 50 in the second"),
        (SPREAD | {"local_ratio": 0.5}, MEASURED, "env_args.local_ratio is not stated in the first and 0.5 in"),
        (SPREAD, MEASURED | {"expert": 3.0}, "reference is {'random': 1.0, 'expert': 2.0, 'source': 'here'} in"),
        (SPREAD | {"seed": 2, "render_mode": "rgb_array", "replay_path": "x.gif"}, MEASURED, None),
    ],
)
def test_merge_refuses_what_one_card_cannot_state(env_args, reference, words, tmp_path, capsys):
    files = tmp_path / "a.h5", tmp_path / "b.h5"
    for path, own, returns in zip(files, (SPREAD, env_args), (MEASURED, reference), strict=True):
        arrays, offsets = continuous_arrays([2, 2])
        environment = {"env": "mpe", "env_args": own}
        write_dataset(path, arrays, offsets, continuous_card() | {"environment": environment, "reference": returns})
    status = main(["merge", *map(str, files), "-o", str(tmp_path / "c.h5")])
    assert status == (0 if words is None else 1) and (tmp_path / "c.h5").exists() == (words is None)
    assert words is None or words in capsys.readouterr().err


def test_the_example_of_the_docs_runs(tmp_path):
    text = (ROOT / "docs" / "your-data.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    (tmp_path / "example.py").write_text("\n".join(blocks))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env=environment, check=True)
    assert read_dataset(tmp_path / "arm_and_cart.h5").n_transitions == 1000
    assert main(["import", "numpy", str(tmp_path / "log.npz"), "-o", str(tmp_path / "log.h5")]) == 0
    dataset = read_dataset(tmp_path / "my_robot.h5")
    assert dataset.n_episodes == 100 and dataset.card["counts"]["terminals"] > 0
