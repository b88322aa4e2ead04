"""Train on episodes of your own, without a simulator: numpy arrays -> dataset file -> checkpoint.

    python examples/train_from_numpy.py [FOLDER]

Replace `recorded_episodes` by your recordings; docs/your-data.md explains every array.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from datasets.dataset import write_dataset  # noqa: E402

parser = argparse.ArgumentParser(description="Train on episodes of your own, without a simulator.")
parser.add_argument("folder", nargs="?", default="results/my_data", help="where all files go (%(default)s)")
FOLDER = Path(parser.parse_args().folder).resolve()
AGENTS, OBSERVED, ACTIONS = 2, 4, 1


def recorded_episodes():
    """Two agents that see four numbers each and act in [-1, 1]: yields obs, actions, reward, terminated per episode."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        steps = int(rng.integers(5, 20))
        obs = rng.normal(size=(steps + 1, AGENTS, OBSERVED))  # what the last step led to included: L + 1 rows
        actions = rng.uniform(-1, 1, size=(steps, AGENTS, ACTIONS))
        reward = -((actions[..., 0] - np.tanh(obs[:-1, :, 0])) ** 2)  # (steps, AGENTS): each agent's own
        terminated = steps < 10  # False where only a time limit ended the episode
        yield obs, actions, reward, terminated


rows, offsets = {"obs": [], "actions": [], "reward": [], "terminated": []}, [0]
for obs, actions, reward, terminated in recorded_episodes():
    rows["obs"].append(obs)
    rows["actions"].append(np.concatenate([actions, np.zeros((1, AGENTS, ACTIONS))]))  # the final row holds no step
    rows["reward"].append(np.concatenate([reward, np.zeros((1, AGENTS))]))
    rows["terminated"].append(np.eye(len(obs))[-2] * terminated)  # 1 on the last step, 0 elsewhere
    offsets.append(offsets[-1] + len(obs))
card = {
    "environment": {"env": None},  # no simulator, so no scores
    "action_space": "continuous", "action_low": [-1.0], "action_high": [1.0],
    "behaviour": "uniform actions", "quality": "random",
    "made_by": {"command": "python examples/train_from_numpy.py", "seed": 0},
}  # fmt: skip
FOLDER.mkdir(parents=True, exist_ok=True)
dataset = FOLDER / "my_data.h5"
write_dataset(dataset, {key: np.concatenate(parts) for key, parts in rows.items()}, np.array(offsets), card)
keys = [f"dataset={dataset}", "reward_scaling=none", "batch_size=256", "t_max=100", f"local_results_path={FOLDER}"]
main = [sys.executable, str(ROOT / "src" / "main.py"), "--config=spacql", "--env-config=none", "with"]
if status := subprocess.run([*main, *keys]).returncode:
    sys.exit(status)  # the last line that it printed says what is wrong
print("checkpoints:", *sorted(map(str, FOLDER.glob("models/*/[0-9]*"))), sep="\n  ")
