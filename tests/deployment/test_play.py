"""Films show whole episodes, those of the run's evaluations, and what cannot be filmed is refused."""

from __future__ import annotations

import json
import shutil
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import policy as policy_command
from deployment.loaded import LoadedPolicy, load_policy
from deployment.play import _play, film
from envs import make_env
from envs.mpe.replay import save_gif
from envs.mpe.spread_twin import SpreadTwin
from tests.deployment.made import EXPERT, make_run
from utils.description import write_description
from utils.errors import ConfigError, EnvError, PolicyError
from utils.memory import MemoryShortage


def short_run(folder: Path) -> Path:
    """The expert in episodes of six steps."""
    shutil.copytree(EXPERT, folder)
    content = json.loads((folder / "run.json").read_text())
    content["environment"]["env_args"]["time_limit"] = 6
    write_description(folder, content)
    return folder


def test_a_gif_shows_every_state_of_every_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = short_run(tmp_path / "run"), tmp_path / "films" / "expert.gif"
    assert policy_command.main(["play", str(folder), "-o", str(out), "--episodes", "2"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (700, 700) and sum(_milliseconds(picture)) == 2 * 7 * 100
    env, policy = SpreadTwin(2, time_limit=6), load_policy(folder)
    env.reset([1_000_000, 1_000_001])  # an evaluation's first episodes
    returns = sum(env.step(policy.act(env.get_obs()))[0].mean(1) for _ in range(6))  # (2,)
    expected = [f"episode {i + 1}: 6 steps, return {own:.2f} (mean over agents)" for i, own in enumerate(returns)]
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == expected
    assert " ".join(said.split()).endswith(f"{out}: 14 pictures")  # a long path breaks the line


def test_a_run_of_the_fast_simulator_in_float32_is_filmed(tmp_path: Path) -> None:
    """By mpe2, which draws and has no such argument."""
    folder = short_run(tmp_path / "run")
    content = json.loads((folder / "run.json").read_text())
    content["environment"]["env_args"]["dtype"] = "float32"
    write_description(folder, content)
    assert policy_command.main(["play", str(folder), "-o", str(tmp_path / "expert.gif"), "--episodes", "1"]) == 0


def _milliseconds(picture: Image.Image) -> list[int]:
    shown = []
    for frame in range(getattr(picture, "n_frames", 1)):
        picture.seek(frame)
        shown.append(int(picture.info["duration"]))
    return shown


@pytest.mark.parametrize(
    ("name", "env_args"),
    [
        ("mpe", {"key": "simple_spread", "time_limit": 3}),
        ("mamujoco", {"key": "Hopper", "partition": "3x1", "time_limit": 3}),
    ],
)
def test_a_state_is_drawn_and_kept_once(name: str, env_args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    env: Any = make_env(name, {**env_args, "render_mode": "rgb_array"}, True, "mean")
    simulator = env._simulator.env if name == "mpe" else env.robot
    drawn: list[None] = []
    blank = np.zeros((4, 4, 3), np.uint8)
    monkeypatch.setattr(simulator, "render", lambda: drawn.append(None) or blank.copy())  # needs no graphics
    idle = SimpleNamespace(reset=lambda: None, act=lambda *_: np.zeros((3, env.get_total_actions()), np.float32))
    frames: list[np.ndarray] = []
    _play(cast(LoadedPolicy, idle), env, 1, False, frames)
    assert len(drawn) == len(frames) == 4
    assert all(np.shares_memory(*pair) for pair in zip(frames, env._frames, strict=True))
    env.close()


def test_a_gif_takes_its_pictures_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a copy, which all together took as much memory as the frames."""
    made: list[Any] = []
    alive = 0

    def count(frame: np.ndarray) -> Image.Image:
        nonlocal alive
        image = fromarray(frame)
        made.append(weakref.ref(image))
        alive = max(alive, sum(reference() is not None for reference in made))
        return image

    fromarray = Image.fromarray
    monkeypatch.setattr(Image, "fromarray", count)
    save_gif(tmp_path / "film.gif", [np.full((8, 8, 3), value, np.uint8) for value in range(20)])
    assert len(made) == 20 and alive < 5


def test_an_mp4_is_as_long(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    film(load_policy(short_run(tmp_path / "run")), tmp_path / "expert.mp4")
    frames, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "expert.mp4"))
    assert frames == 7 and seconds == pytest.approx(0.7)


def test_a_discrete_recurrent_policy_is_filmed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", agent="rnn", agent_output_type="q")
    policy = load_policy(folder)
    assert policy.environment is not None
    policy.environment["env_args"]["time_limit"] = 3
    film(policy, tmp_path / "film.gif", sample=True)
    assert (tmp_path / "film.gif").stat().st_size > 1000


def test_what_cannot_be_filmed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy(EXPERT)
    with pytest.raises(PolicyError, match=r"ends in \.gif or \.mp4"):
        film(policy, tmp_path / "film.avi")
    with pytest.raises(PolicyError, match="at least one episode"):
        film(policy, tmp_path / "film.gif", episodes=0)
    with pytest.raises(MemoryShortage, match="--episodes=1000000000, as long as the first, needs at least"):
        film(policy, tmp_path / "film.gif", episodes=10**9)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(PolicyError, match=r"'\.\[video\]', or name a \.gif"):
        film(policy, tmp_path / "film.mp4")
    (tmp_path / "old.gif").write_text("old")
    with pytest.raises(PolicyError, match=r"old\.gif: it exists; .* add --force"):
        film(policy, tmp_path / "old.gif")
    assert (tmp_path / "old.gif").read_text() == "old"
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="-o: nothing can be written to .*file"):
        film(policy, tmp_path / "file" / "film.gif")
    content = json.loads((EXPERT / "run.json").read_text())
    for environment, error, words in (
        (None, PolicyError, "trained without an environment"),
        ({"env": "bridge", "env_args": {}}, EnvError, "cannot be filmed: the matrix game and Bridge cannot be drawn$"),
        ({"env": "mpe", "env_args": {"key": "simple_tag_v3"}}, EnvError, "n_agents 4, the policy 3"),
        ({"env": "chess", "env_args": {}}, Exception, "env=chess"),
    ):
        folder = make_run(tmp_path / str(words)[:5], agent="mlp")
        write_description(folder, content | {"environment": environment, "config": _config(folder)})
        with pytest.raises(error, match=words):
            film(load_policy(folder), tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()


def _config(folder: Path) -> object:
    return json.loads((folder / "run.json").read_text())["config"]
