"""Compare the weights that two checkouts learn: `python tests/same_weights.py OLD NEW [--only NAME]`.

Each case trains 50 updates on bundled data, or some hundred steps online, with one seed in both checkouts. Weights,
targets, optimisers and random states of the last checkpoint must be equal bit for bit, else the exit status is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch as th

CONTINUOUS = "dataset=mpe/simple_spread/random-100k"
DISCRETE = "dataset={discrete} env_args.continuous_actions=False"
OWN_MEMORY = "agent=rnn_ns window=None batch_size=8"
SHARED_MEMORY = "mac=basic_mac agent=rnn obs_agent_id=True obs_last_action=True window=None batch_size=8"
BURN_IN = "agent=rnn_ns window=5 burn_in=5 batch_size=16"
ONLINE = "offline=False t_max=1600 batch_size=8 batch_size_run=8 env_args.continuous_actions=False dataset=None"
VARIED = [CONTINUOUS, f"{CONTINUOUS} loss_chunk=100", DISCRETE, *(f"{CONTINUOUS} {k}" for k in (OWN_MEMORY, BURN_IN))]
VALUE_LOSSES = [f"{CONTINUOUS} value_loss={name}" for name in ("semi_dataset", "official", "poster")]
# Algorithm file -> what is set beside it; a file that is not here trains on the bundled data as it is.
CASES: dict[str, list[str]] = {
    "bc": [*VARIED, *(f"{CONTINUOUS} agent_output_type={kind}" for kind in ("gaussian", "tanh_gaussian")),
           f"{CONTINUOUS} {SHARED_MEMORY}", f"{DISCRETE} agent_output_type=q"],
    "bc_discrete": [DISCRETE],
    "spacql": [*VARIED, f"{CONTINUOUS} {SHARED_MEMORY}", f"{CONTINUOUS} penalty_weights=density",
               f"{CONTINUOUS} cql_penalty=policy uncertainty_ensemble=target", f"{CONTINUOUS} critic_dtype=bfloat16",
               "offline=False t_max=1000 batch_size_run=8 batch_size=64"],
    "spacql_discrete": [DISCRETE, f"{DISCRETE} {OWN_MEMORY}", ONLINE,
                        f"{DISCRETE} cql_penalty=logsumexp penalty_weights=density"],
    "cfcql": [CONTINUOUS, f"{CONTINUOUS} train_reward=sum reward_scaling=standardise", DISCRETE],
    "icql_qs": [CONTINUOUS, DISCRETE],
    "comadice": [*VARIED, *VALUE_LOSSES, *(f"{CONTINUOUS} advantage={kind}" for kind in ("joint", "mixed")),
                 f"{CONTINUOUS} mixer_layers=2 mixer_activation=elu divergence=kl",
                 f"{CONTINUOUS} mixer=vdn divergence=chi2", f"{DISCRETE} value_loss=official",
                 f"{CONTINUOUS} {OWN_MEMORY} value_loss=semi_dataset value_memory=True"],
    "comadice_discrete": [DISCRETE],
    "optdice": [CONTINUOUS, f"{CONTINUOUS} advantage=joint window=None batch_size=8", DISCRETE],
    "alberdice": [DISCRETE, f"{DISCRETE} start_states=data window=3"],
    "implicit_q": [CONTINUOUS, f"{CONTINUOUS} mixer=monotone", DISCRETE],
    "omiga": [CONTINUOUS, f"{CONTINUOUS} svn=True", DISCRETE],
    "icq": [CONTINUOUS, f"{CONTINUOUS} window=10 td_lambda=0.8", DISCRETE],
    "icq_discrete": [DISCRETE],
    "bcq": [CONTINUOUS, f"{CONTINUOUS} svn=True", f"{CONTINUOUS} mixer=None", DISCRETE],
    **{alg: [CONTINUOUS, f"{CONTINUOUS} penalty_samples=policies"] for alg in ("macql", "omar")},
    **{alg: [DISCRETE] for alg in ("iql_cql", "qmix_cql")},
    "matd3": ["t_max=2400 batch_size_run=8 updates_per_run=5", f"{CONTINUOUS} offline=True"],
    "matd3_bc": [*VARIED[:2], f"{CONTINUOUS} target_clip=max_return_to_go reward_scaling=none"],
    **{alg: [ONLINE] for alg in ("iql_ns", "vdn", "vdn_ns", "qmix_ns")},
    "fqe": [],  # it asks for a trained policy
    "iql": [ONLINE, f"{DISCRETE} offline=True t_max=50", f"{ONLINE} common_reward=False standardise_returns=True"],
    "qmix": [ONLINE, f"{DISCRETE} offline=True t_max=50", f"{ONLINE} standardise_returns=True"],
}  # fmt: skip
FIXED = {"t_max": 50, "test_interval": 10**6, "test_nepisode": 16, "batch_size_run": 16, "save_model_interval": 10**6,
         "log_interval": 10**6, "seed": 7, "use_cuda": False, "tuned": "none"}  # fmt: skip


def run(checkout: Path, alg: str, keys: list[str], results: Path) -> subprocess.CompletedProcess[str]:
    """One run of a checkout's command line."""
    words = [sys.executable, "-W", "ignore", "src/main.py", f"--config={alg}", "--env-config=mpe", "with", *keys]
    return subprocess.run([*words, f"local_results_path={results}"], cwd=checkout, capture_output=True, text=True)


def learned(checkout: Path, alg: str, keys: list[str]) -> dict[str, th.Tensor]:
    """Every tensor of the run's last checkpoint, by file and key. Raises RuntimeError where the run fails."""
    given = {key.partition("=")[0] for key in keys}
    with tempfile.TemporaryDirectory() as folder:
        fixed = [f"{key}={value}" for key, value in FIXED.items() if key not in given]
        result = run(checkout, alg, [*fixed, *keys], Path(folder))
        if result.returncode:
            raise RuntimeError(f"{checkout}: {alg} {' '.join(keys)}: {result.stderr[-300:]}")
        steps = [path for path in Path(folder).glob("models/*/*") if path.name.isdigit()]
        last = max(steps, key=lambda path: int(path.name))
        return dict(pair for file in sorted(last.glob("*.th")) for pair in tensors(file.stem, load(file)))


def load(file: Path) -> Any:
    """A checkpoint's file; of the training state the learner's part, without statistics that wait to be logged."""
    content = th.load(file, map_location="cpu", weights_only=True)
    if file.stem != "train_state":
        return content
    return {key: value for key, value in content["learner"].items() if key != "pending"}


def tensors(name: str, content: Any) -> Iterator[tuple[str, th.Tensor]]:
    """The tensors inside nested containers, by their path."""
    if isinstance(content, th.Tensor):
        yield name, content
    elif isinstance(content, dict | list | tuple):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from tensors(f"{name}/{key}", value)


def difference(old: dict[str, th.Tensor], new: dict[str, th.Tensor]) -> str:
    """How two runs' tensors differ, for people; empty where they are equal bit for bit."""
    if old.keys() != new.keys():
        return f"other tensors: {sorted(old.keys() ^ new.keys())[:4]}"
    apart = {key: value for key, value in old.items() if not th.equal(value, new[key])}
    return f"{len(apart)} of {len(old)} tensors differ, {next(iter(apart))} first" if apart else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the weights that two checkouts learn.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", default="", help="algorithm files that begin with this")
    arguments = parser.parse_args()
    checkouts = (arguments.old.resolve(), arguments.new.resolve())
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        discrete = Path(folder) / "discrete.h5"
        collecting = ["collect=True", "collect_episodes=400", f"collect_to={discrete}", "batch_size_run=400", "seed=0",
                      "env_args.continuous_actions=False"]  # fmt: skip
        run(checkouts[0], "random", collecting, Path(folder) / "results")
        for alg in sorted(path.stem for path in (checkouts[1] / "src/config/algs").glob("*.yaml")):
            settings = CASES.get(alg, [CONTINUOUS]) if alg != "random" else []  # which learns nothing
            if not all((checkout / f"src/config/algs/{alg}.yaml").is_file() for checkout in checkouts):
                print(f"in one checkout only: {alg}")
                continue
            for setting in settings if alg.startswith(arguments.only) else []:
                keys = setting.format(discrete=discrete).split()
                found = difference(*(learned(checkout, alg, keys) for checkout in checkouts))
                different += bool(found)
                print(f"{found or 'equal'}: {alg} {setting}", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
