"""Time of one SPaCQL critic update at the paper's settings, against the same mathematics written plainly.

    python benchmarks/critic_step.py [--penalty policy logsumexp] [--repeats 21] [--no-compile]

Both sides do one whole critic update with Cooperative Navigation's shapes (3 agents, observations of 18, actions of 2,
1 024 transitions, 10 critics, two hidden layers of 64): target policies, the ensemble's uncertainty, the target, the
temporal-difference error, the penalty, the gradient, clipping and Adam. The plain side loops over ten `nn.Sequential`
critics and makes every counterfactual row. Both start from the same weights and use the same noise, in one process, on
one thread, in float32. Runs alternate and medians of processor time are compared. The losses must agree to 1e-4
relative.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch as th
from torch import Tensor, nn

from benchmarks.command import positive
from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme
from controllers import REGISTRY as mac_REGISTRY
from learners.base_learner import Noise
from learners.spacql_learner import SPaCQLLearner
from loops.resolve import resolved_outputs
from modules.layers.stacked_linear import StackedLinear
from utils.config import algorithm

N_AGENTS, OBS, ACTION, BATCH, HIDDEN = 3, 18, 2, 1024, 64
STATE = N_AGENTS * OBS
TOLERANCE = 1e-4
REQUIRED = {"logsumexp": 2.0, "policy": 1.5}
CHUNK = {"logsumexp": 256, "policy": 1024}  # batch rows at a time; a batch row makes 31 critic rows or 4
Plain = Callable[[], Tensor]


class FixedNoise(SPaCQLLearner):
    """The learner with noise that is made once, so that both sides use the same and no timing includes it."""

    fixed: Noise

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        return self.fixed if name == "critic" else {}


def build(penalty: str, compiled: bool, chunk: int | None) -> tuple[FixedNoise, EpisodeBatch]:
    """Make a learner with the paper's settings and a batch of random transitions."""
    args = SimpleNamespace(**algorithm("spacql"))
    vars(args).update(resolved_outputs(args.agent_output_type, args.action_selector, continuous=True))
    fixed = {
        "n_agents": N_AGENTS, "n_actions": ACTION, "state_shape": STATE, "device": "cpu", "seed": 0,
        "common_reward": True, "learner_log_interval": 10**9, "batch_size": BATCH, "hidden_dim": HIDDEN,
        "ensemble_size": 10, "n_penalty_samples": 10, "gamma": 0.95, "partial_replacement": "adaptive",
        "uncertainty_ensemble": "online", "cql_penalty": penalty, "compile": compiled, "loss_chunk": chunk,
        "action_low": [-1.0] * ACTION, "action_high": [1.0] * ACTION,
    }  # fmt: skip
    vars(args).update(fixed)
    env_info = {"state_shape": STATE, "obs_shape": OBS, "n_actions": ACTION, "n_agents": N_AGENTS}
    scheme, groups, preprocess = build_scheme({**env_info, "episode_limit": 25, "action_space": "continuous"}, args)
    th.manual_seed(0)
    learner = FixedNoise(mac_REGISTRY[args.mac](scheme, groups, args), scheme, _Silent(), args)
    batch = EpisodeBatch(scheme, groups, BATCH, 2, preprocess=preprocess, device="cpu")
    obs = th.randn(BATCH, 2, N_AGENTS, OBS)
    data = {
        "obs": obs, "state": obs.flatten(2), "actions": th.rand(BATCH, 2, N_AGENTS, ACTION) * 2 - 1,
        "avail_actions": th.ones(BATCH, 2, N_AGENTS, ACTION, dtype=th.int), "reward": th.randn(BATCH, 2, 1),
        "terminated": th.zeros(BATCH, 2, 1, dtype=th.uint8),
    }  # fmt: skip
    batch.update(data)
    learner.fixed = SPaCQLLearner.noise(learner, "critic", batch)
    learner.log_stats_t = 0
    return learner, batch


class _Silent:
    def log_stat(self, key: str, value: float, t: int, /) -> None:
        """Ignore statistics."""


def as_sequential(layers: list[StackedLinear], member: int) -> nn.Sequential:
    """Copy member `member` of stacked layers to an ordinary network."""
    modules: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(*layer.weight.shape[1:])
        linear.weight.data.copy_(layer.weight[member].T)
        linear.bias.data.copy_(layer.bias[member, 0])
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def plain_update(learner: FixedNoise, batch: EpisodeBatch) -> Plain:
    """Return a function that does the same update by a loop over critics and agents, on repeated rows."""
    args, noise = learner.args, learner.fixed

    def split(module: Any, count: int) -> list[nn.Sequential]:
        return [as_sequential([module.fc1, module.fc2, module.fc3], j) for j in range(count)]

    critics, targets = split(learner.critic, 10), split(learner.target_critic, 10)
    actors, target_actors = split(learner.agent, N_AGENTS), split(learner.target_agent, N_AGENTS)
    parameters = [p for critic in critics for p in critic.parameters()]
    optimiser = th.optim.Adam(parameters, lr=args.critic_lr)
    eye = th.eye(N_AGENTS, dtype=th.bool).unsqueeze(-1)  # (N, N, 1)

    def policies(networks: list[nn.Sequential], obs: Tensor) -> Tensor:
        return th.stack([th.tanh(network(obs[:, i])) for i, network in enumerate(networks)], dim=1)  # (B, N, A)

    def update() -> Tensor:
        state, next_state = batch["state"][:, 0], batch["state"][:, 1]
        actions, next_actions = batch["actions"][:, 0], batch["actions"][:, 1]
        with th.no_grad():
            policy = policies(target_actors, batch["obs"][:, 1]) + args.target_noise * noise["next"][:, 0]
            policy = policy.clamp(-1, 1)
            weighted, total = th.zeros(BATCH), th.zeros(BATCH)
            for k in range(1, N_AGENTS + 1):
                chosen = (noise["order"][:, 0, k - 1] < k).unsqueeze(-1)  # (B, N, 1)
                rows = th.cat([next_state, th.where(chosen, policy, next_actions).flatten(1)], dim=-1)
                inverse = 1 / th.cat([critic(rows) for critic in critics], dim=-1).std(-1).clamp_min(1e-6)
                weighted += inverse * th.cat([target(rows) for target in targets], dim=-1).amin(-1)
                total += inverse
            alive = 1 - batch["terminated"][:, 0, 0].float()
            target = batch["reward"][:, 0, 0] + args.gamma * alive * weighted / total
            if args.cql_penalty == "policy":
                replacement = policies(actors, batch["obs"][:, 0]).unsqueeze(1)  # (B, 1, N, A)
            else:
                replacement = noise["uniform"][:, 0] * 2 - 1  # (B, K, N, A)
            samples = replacement.shape[1]
            joint = th.where(eye, replacement.unsqueeze(2), actions[:, None, None])  # (B, K, N, N, A)
            repeated = state.repeat_interleave(samples * N_AGENTS, 0)
            counterfactual = th.cat([repeated, joint.reshape(len(repeated), -1)], dim=-1)  # (B*K*N, S+N*A)
            data = th.cat([state, actions.flatten(1)], dim=-1)  # (B, S+N*A)
        loss = th.zeros(())
        for critic in critics:
            value = critic(data).squeeze(-1)
            single = critic(counterfactual).view(BATCH, samples, N_AGENTS)
            pushed = single.squeeze(1) if args.cql_penalty == "policy" else single.logsumexp(1)
            loss = loss + ((value - target) ** 2).mean() + args.alpha_cql * (pushed.mean(-1) - value).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, args.grad_norm_clip)
        optimiser.step()
        return loss.detach()

    return update


def flops(penalty: str, split: bool) -> float:
    """Floating-point operations in the critics' matrix products of one update.

    split: whether the first layer multiplies the state part once per state.
    """
    rows = BATCH * (1 + N_AGENTS * (1 if penalty == "policy" else 10))
    target_rows = 2 * BATCH * N_AGENTS
    upper = HIDDEN * HIDDEN + HIDDEN
    if split:  # forward pass and weight gradient
        first = 2 * BATCH * STATE * HIDDEN + rows * 2 * ACTION * HIDDEN
        target_first = 2 * BATCH * STATE * HIDDEN + target_rows * N_AGENTS * ACTION * HIDDEN
    else:
        first = 2 * rows * (STATE + N_AGENTS * ACTION) * HIDDEN
        target_first = target_rows * (STATE + N_AGENTS * ACTION) * HIDDEN
    return 2.0 * 10 * (first + rows * 3 * upper + target_first + target_rows * upper)


def gemm_peak() -> float:
    """Speed of float32 matrix products on one thread, in GFLOP/s."""
    a, b = th.randn(768, 768), th.randn(768, 768)
    times = [timed(lambda: a @ b) for _ in range(30)]
    return 2 * 768**3 / min(times) / 1e9


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def relative_difference(penalty: str, learner: FixedNoise, batch: EpisodeBatch, plain_loss: Tensor) -> float:
    """Relative difference of the learner's loss from the plain one. Raises SystemExit where it is too large."""
    loss, _, _ = learner.gradients(learner.LOSSES[0], batch, False)
    difference = abs(float(loss) / float(plain_loss) - 1)
    if difference > TOLERANCE:
        raise SystemExit(f"{penalty}: the losses differ by {difference:.1e} relative, more than {TOLERANCE:.0e}")
    return difference


def compare(penalty: str, options: argparse.Namespace) -> bool:
    """Print the table of one penalty; return whether the eager ratio reaches the required one."""
    chunk = options.loss_chunk or CHUNK[penalty]
    learner, batch = build(penalty, compiled=False, chunk=chunk)
    plain = plain_update(learner, batch)
    plain_loss = plain()
    difference = relative_difference(penalty, learner, batch, plain_loss)
    runs: dict[str, Callable[[], object]] = {"plain": plain, "eager": lambda: learner.update(0, batch)}
    if options.compile:
        compiled, compiled_batch = build(penalty, compiled=True, chunk=chunk)
        warm_up = timed(lambda: relative_difference(penalty, compiled, compiled_batch, plain_loss))
        runs["compiled"] = lambda: compiled.update(0, compiled_batch)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            times[name].append(timed(run))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n{penalty}: losses agree to {difference:.1e} relative; chunks of {chunk or BATCH} rows")
    for name, median in medians.items():
        work = flops(penalty, split=name != "plain")
        ratio = medians["plain"] / median
        print(f"  {name:9s}{median * 1e3:8.1f} ms   {ratio:5.2f}x   {work / median / 1e9:6.1f} useful GFLOP/s", end="")
        print(f"   (first call {warm_up:.0f} s)" if name == "compiled" else "")
    return medians["plain"] / medians["eager"] >= REQUIRED[penalty]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--penalty", nargs="+", choices=sorted(REQUIRED), default=sorted(REQUIRED))
    parser.add_argument(
        "--repeats", type=positive, default=21, help="alternating runs per side, of which medians are compared"
    )
    parser.add_argument(
        "--loss-chunk",
        type=positive,
        help="batch rows evaluated at a time (default: 256 for logsumexp, 1024 for policy)",
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="also measure compile=True"
    )
    options = parser.parse_args()
    th.set_num_threads(1)
    print(f"torch {th.__version__}, one thread, float32 GEMM peak {gemm_peak():.0f} GFLOP/s")
    reached = [compare(penalty, options) for penalty in options.penalty]
    for penalty, good in zip(options.penalty, reached, strict=True):
        print(f"{penalty}: {'at least' if good else 'LESS THAN'} {REQUIRED[penalty]}x, eager")
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
