"""What every offline learner of discrete actions earns in the games, by exact expectation: docs/results/games.md.

    python benchmarks/games.py [--games xor penalty bridge] [--only bc icq] [--seeds 3] [--updates 300]

Learners are those of the algorithm files that learn from data and take discrete actions; where a file has a sibling for
discrete actions alone (`spacql_discrete`), the sibling. Every one is trained on the games' bundled sets with the values
of its own file, but for `KEYS`, which are the same for all learners and all games. `VARIANTS` are further rows of a
file, with a few keys changed, the same for all games as well.

Nothing is played. Policies are tables: the probability of each agent's actions in each of the game's
states. Over them the expected reward of a step (matrix games) or of an episode (Bridge: the distribution over joint
states, step by step) is a sum. `sampled` is of the policies' probabilities, `greedy` of each agent's likeliest action.
Learners of action values have greedy policies only.

Prints a table for each game, row by row: sampled, in brackets greedy, for each seed from 0 on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch as th

from benchmarks.command import positive, run
from components.episode_buffer import EpisodeBatch
from envs.bridge import STARTS, bridge_tables, state_index
from envs.matrix_game import PAYOFFS, STATE
from loops.build import build
from loops.configured import configured
from loops.offline import OfflineTraining
from loops.rehearsal import check_offline
from utils.config import algorithm, config_names, layered_config
from utils.errors import ConfigError, UserError
from utils.logging import Logger
from utils.printing import Parser, put
from utils.rng import seed_everything
from utils.settings import Settings

# The same for every learner and game, where it has the key: few and large steps, for runs are short.
KEYS: dict[str, Any] = {
    "hidden_dim": 16, "batch_size": 64, "reward_scaling": "none", "actor_update_interval": 1,
    "tau": 0.1, "target_update_interval": 1, "target_update_interval_or_tau": 0.1, "use_cuda": False,
}  # fmt: skip
# Where a file has agents that remember: nothing is hidden in these games, and agents without memory are tables.
WITHOUT_MEMORY = {"rnn": {"agent": "mlp", "window": 1}, "rnn_ns": {"agent": "mlp_ns", "window": 1}}
LOG = logging.getLogger("games")  # silent
LOG.propagate = False
LIMIT = 50  # steps of an episode
# Rows beside a file's own: keys that are the same in all games. A small divergence weight is 0.1 of the reward's unit.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "alberdice": ({}, {"alpha_start": 1.0, "alpha_finish": 0.02, "conservative": 0.0, "gradient_penalty": 0.0}),
    "bcq": ({}, {"mixer": None}),
    "comadice_discrete": ({}, {"alpha": 0.1}),
    "implicit_q": ({}, {"inverse_temperature": 20.0}, {"inverse_temperature": 20.0, "mixer": "vdn"}),
    "omiga": ({}, {"alpha": 0.1}),
    "optdice": ({}, {"alpha": 0.1}),
}
Value = tuple[float | None, float]  # sampled (None: the policy is greedy), greedy


class Game(NamedTuple):
    """A game and its sets.

    updates, rate, gamma: the length of its runs, all learning rates and the discount; in one state no answer depends on
    it, and a small one is quick. expected: of the agents' probabilities (S, N, A), what they earn.
    """

    title: str
    env: str
    env_args: dict[str, Any]
    datasets: tuple[str, ...]
    best: float
    updates: int
    rate: float
    gamma: float
    states: np.ndarray
    expected: Callable[[np.ndarray], float]


def per_step(key: str) -> Callable[[np.ndarray], float]:
    """pi_0^T R pi_1 of policies (1, 2, A)."""
    return lambda policies: float(policies[0, 0] @ PAYOFFS[key] @ policies[0, 1])


def bridge_return(policies: np.ndarray, limit: int = LIMIT) -> float:
    """The expected return of policies (196, 2, 5) from the adjacent starts; the step that the limit cuts pays 0."""
    tables = bridge_tables()
    joint = np.einsum("si,sj->sij", policies[:, 0], policies[:, 1]).reshape(len(policies), -1)  # (196, 25)
    there: np.ndarray = np.zeros(len(policies))  # the chance to be in each joint state
    total = 0.0
    there[state_index(STARTS[True])] = 1.0
    for _ in range(limit - 1):
        taken = there[:, None] * joint  # (196, 25)
        total += float((taken * tables.reward).sum())
        there = np.bincount(tables.next_state.ravel(), (taken * ~tables.done).ravel(), len(there))
    return total


XOR_SETS = tuple(f"matrix_game/xor/{name}" for name in ("ab", "ab-ba", "aa-ab-ba", "random"))
GAMES = {
    "xor": Game("XOR, per step", "matrix_game", {"key": "xor"}, XOR_SETS, 1.0, 300, 0.03, 0.5,
                STATE[None], per_step("xor")),
    "penalty": Game("Penalty, per step", "matrix_game", {"key": "penalty"}, ("matrix_game/penalty/random",), 1.0,
                    300, 0.03, 0.5, STATE[None], per_step("penalty")),
    "bridge": Game("Bridge, per episode", "bridge", {}, ("bridge/mix", "bridge/optimal"), -1.23545, 1000, 0.005, 0.9,
                   bridge_tables().states, bridge_return),
}  # fmt: skip


def run_keys(name: str, variant: dict[str, Any], game: Game, dataset: str, seed: int, updates: int) -> dict[str, Any]:
    """The overrides of a run: `KEYS`, what follows from a file's own keys, and the variant's."""
    file = layered_config(name, game.env, {})
    same = {**KEYS, "gamma": game.gamma, "alpha_anneal_time": updates // 2}
    same |= {key: game.rate for key in file if key.endswith("_lr")}
    if file["window"] not in (1, None):
        del same["batch_size"]  # windows of several steps: as many as in the file
    run = {"tuned": "none", "dataset": dataset, "seed": seed, "t_max": updates, "env_args": game.env_args}
    run |= {key: value for key, value in same.items() if key in file} | WITHOUT_MEMORY.get(file["agent"], {})
    return run | variant


def configuration(name: str, game: Game, keys: dict[str, Any]) -> dict[str, Any]:
    """A run's whole configuration, checked."""
    config = configured(name, game.env, keys, False, quiet, quiet).final
    return {**config, "env_args": {**config["env_args"], "seed": config["seed"]}}


def quiet(sentence: str) -> None:
    """Say nothing."""


def trained(name: str, game: Game, keys: dict[str, Any]) -> OfflineTraining:
    """A run at its end, not evaluated."""
    run = {"device": "cpu", "results": Path("results"), "unique_token": "game"}
    settings = Settings(**configuration(name, game, keys), **run)
    seed_everything(settings.seed)
    logger = Logger(LOG)
    training = OfflineTraining(build(settings, logger), logger)
    for _ in range(settings.t_max):
        training.advance()
    training.learner.check_finite(training.t)
    return training


def agent_outputs(training: Any, states: np.ndarray) -> np.ndarray:
    """Probabilities or values of the agents' actions in states (S, X), which each agent observes: (S, N, A)."""
    args, mac = training.args, training.learner.mac
    shape = (len(states), 1, args.n_agents)
    seen = th.tensor(states)[:, None, None].expand(*shape, -1)  # (S, 1, N, X)
    data = {"obs": seen, "avail_actions": th.ones(*shape, args.n_actions)}
    fields = {key: training.buffer.scheme[key] for key in data}
    wrapped = SimpleNamespace(transition_data=data, episode_data={})
    batch = EpisodeBatch(fields, training.buffer.groups, len(states), 1, data=wrapped)
    mac.init_hidden(len(states))
    with th.no_grad():
        outputs: np.ndarray = mac.forward(batch, 0, test_mode=True).double().numpy()
    return outputs if args.agent_output_type == "q" else outputs / outputs.sum(-1, keepdims=True)


def value(training: Any, game: Game) -> Value:
    """What a run's policies earn, sampled and greedy."""
    outputs = agent_outputs(training, game.states)  # (S, N, A)
    best = np.eye(outputs.shape[-1])[outputs.argmax(-1)]  # probability 1 for each agent's likeliest action
    sampled = None if training.args.agent_output_type == "q" else game.expected(outputs)
    return sampled, game.expected(best)


def learners(game: Game, only: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Algorithm files that learn from the game's data, with their variants. only: these alone; none for all.

    Raises UserError where one of `only` does not learn from it.
    """
    names = config_names("algs")
    for name in sorted({f"{name}_discrete" if f"{name}_discrete" in names else name for name in only or names}):
        file = algorithm(name)
        if not file.get("offline") or file.get("learner") is None:
            if only:
                raise ConfigError(f"--only {name}: it does not learn from data; name an algorithm file that does")
            continue
        for variant in VARIANTS.get(name, ({},)):
            try:
                check_offline(
                    configuration(name, game, run_keys(name, variant, game, game.datasets[0], 0, game.updates))
                )
            except UserError:
                if only:
                    raise
                continue
            yield name, variant


def title(name: str, variant: dict[str, Any]) -> str:
    """What a row is called: as on the command line."""
    return " ".join([name, *(f"{key}={value}" for key, value in variant.items())])


def table(game: Game, only: list[str], seeds: int, updates: int) -> Iterator[str]:
    """Yield the lines of a game's table, each as soon as its runs are made."""
    yield f"\n{game.title}; the best is {game.best:g}; {updates} updates, sampled (greedy) for each seed\n"
    yield f"| learner | {' | '.join(f'`{name}`' for name in game.datasets)} |\n|{'---|' * (1 + len(game.datasets))}"
    for name, variant in learners(game, only):
        cells = []
        for dataset in game.datasets:
            runs = (run_keys(name, variant, game, dataset, seed, updates) for seed in range(seeds))
            cells.append(" / ".join(shown(*value(trained(name, game, keys), game)) for keys in runs))
        yield f"| `{title(name, variant)}` | {' | '.join(cells)} |"


def shown(sampled: float | None, greedy: float) -> str:
    """A run's two numbers as a cell has them."""
    return f"- ({greedy:.3f})" if sampled is None else f"{sampled:.3f} ({greedy:.3f})"


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--games", nargs="+", choices=tuple(GAMES), default=list(GAMES))
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=config_names("algs"), default=[])
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--updates", type=positive, default=None, help="length of each run instead of the game's")
    options = parser.parse_args(argv)
    th.set_num_threads(1)
    LOG.addHandler(logging.NullHandler())
    for name in options.games:
        game = GAMES[name]
        updates = game.updates if options.updates is None else options.updates
        for line in table(game, options.only, options.seeds, updates):
            put(line)
    return 0


if __name__ == "__main__":
    run(main)
