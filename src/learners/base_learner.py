"""What every learner shares: noise, context, gradients, clipping, optimisers, targets, logging, saving."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from components.statistics import DataStatistics
from learners.checks import check_weights, not_finite
from learners.chunked import Part, added_up, each_chunk
from learners.losses import transition_mask
from learners.optimisation import (
    SHARED_KEYS,
    LossSpec,
    chunks,
    clip_gradients,
    due,
    is_stacked,
    keep_freed_memory,
    learning_rate,
    mean_norm,
    step,
    target_schedule,
)
from learners.persistence import collect_state, read_models, restore_state, write_models
from modules.layers.normaliser import fill_normalisers
from utils.checkpoint import load_or_refuse
from utils.keys import Key, check_keys, inherited

Noise = dict[str, Tensor]
Context = dict[str, Tensor]
Stats = dict[str, Tensor]
LossFunction = Callable[[EpisodeBatch, Noise, Context], tuple[Tensor, Stats]]

# Keeps the learner's random stream apart from the buffer's and the environment's, which start from the same seed.
SEED_OFFSET = 7_046_029


class Logger(Protocol):
    """The part of the run's logger that a learner uses."""

    def log_stat(self, key: str, value: float, t: int, /) -> None: ...


class BaseLearner(nn.Module):
    """EPyMARL's outer face (`train`, `cuda`, `save_models`, `load_models`) around pure losses.

    A subclass builds its modules in `__init__`, ends it with `self.prepare()`, and has one method
    `<name>_loss(batch, noise, context) -> (loss, stats)` per loss. A loss reads parameters from the modules, all
    randomness from `noise` and every number of the whole batch from `context`; it is a mean over the valid rows
    (`transition_mask`), returns its statistics per row, (R,) or (R, m), and leaves no state behind. So
    `torch.func.functional_call(learner, parameters, (name, batch, noise))` may be mapped over stacked parameters.

    KEYS: the configuration keys that it reads, beside those of its base classes. CONFIGS: the algorithm files that have
    them all, for continuous and for discrete actions. ALIASES: old names of keys. REMOVED: keys that are gone, with the
    reason.
    LOSSES: one `LossSpec` per loss. TARGETS: modules with target networks. Both may be set on the instance instead.
    STATISTICS: modules that `train` changes beside the losses, such as running means; they are part of the training
    state. LATER: modules that older versions' checkpoints lack; where a file is missing they change nothing, as then.
    EXTRAS: what it reads of a window's episode beyond the window (see the offline buffer).
    CRITICS: whose values judge actions, for comparisons: none, `per agent`, `per agent, mixed` into the team's, or
    `central`: of the state and all actions. Where keys decide, `critics` says it.
    APART: why several seeds cannot be updated as one (`learners.lanes`), empty where they can.
    NEEDS_DATA: what it does with a dataset, where it cannot train online; ends "learner=... " in a refusal.
    FIXED_POLICY: the policy is another run's and is not trained. ON_POLICY: it trains online only, on fresh episodes.
    """

    action_types: frozenset[str] = frozenset()
    KEYS: dict[str, Key] = SHARED_KEYS
    CONFIGS: tuple[str, str] = ("", "")
    ALIASES: dict[str, str] = {}
    REMOVED: dict[str, str] = {"critic_type": "a learner has one kind of critic"}
    LOSSES: tuple[LossSpec, ...] = ()
    TARGETS: tuple[str, ...] = ()
    STATISTICS: tuple[str, ...] = ()
    LATER: frozenset[str] = frozenset()
    EXTRAS: tuple[str, ...] = ()
    CRITICS: str = "none"
    APART: str = ""
    NEEDS_DATA: str = ""
    FIXED_POLICY: bool = False
    ON_POLICY: bool = False
    first_bad: Tensor
    target_mac: Any  # where `agent` is among the targets

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__()
        self.mac, self.logger, self.args = mac, logger, args
        self.agent: nn.Module = mac.agent
        self.continuous: bool = scheme["actions"]["dtype"].is_floating_point
        config = self.CONFIGS[0 if self.continuous else 1]
        check_keys(args, inherited(type(self), "KEYS"), args.learner, config, self.continuous)
        self.generator = th.Generator(device=args.device)
        self.generator.manual_seed(args.seed + SEED_OFFSET)
        self.training_steps = 0
        self.log_stats_t = -args.learner_log_interval - 1
        self._pending: dict[str, Stats | None] = {}

    @classmethod
    def critics(cls, config: Mapping[str, Any]) -> str:
        """Whose values judge actions in a run of this configuration."""
        return cls.CRITICS

    def prepare(self) -> None:
        """Create targets and optimisers; the last line of a subclass's `__init__`."""
        if "agent" in self.TARGETS:
            self.target_mac = copy.deepcopy(self.mac)
        for name in self.TARGETS:
            target = self.target_mac.agent if name == "agent" else copy.deepcopy(getattr(self, name))
            self.add_module(f"target_{name}", target.requires_grad_(False))
        self.target_interval, self.target_tau = target_schedule(self.args) if self.TARGETS else (1, 1.0)
        if str(self.args.device) == "cpu":
            keep_freed_memory()
        self.optimisers = {
            spec.name: th.optim.Adam(self.parameters_of(spec), lr=learning_rate(self.args, spec), fused=True)
            for spec in self.LOSSES
        }
        self._functions: dict[str, LossFunction] = {
            spec.name: getattr(self, f"{spec.name}_loss") for spec in self.LOSSES
        }
        if self.args.compile:
            self._functions = {name: th.compile(function) for name, function in self._functions.items()}
        # The first update at which each loss or its gradient was not finite, -1 for never.
        self.register_buffer("first_bad", th.full((len(self.LOSSES),), -1, dtype=th.long), persistent=False)

    def use_statistics(self, statistics: DataStatistics) -> None:
        """Take over what is known of the whole dataset; called once, before training.

        Where `input_norm` is `dataset` all networks' inputs are standardised by it.
        """
        if self.args.input_norm == "dataset":
            fill_normalisers(self, statistics.inputs)

    # -- the losses' side --------------------------------------------------------------------------------------------

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """All randomness of one evaluation of the loss `name`; every tensor leads with the batch dimension B."""
        return {}

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """What the loss `name` needs of the whole batch, such as a mean or a softmax over rows.

        Computed once per update, without gradient, before the batch is cut into chunks; every chunk gets all of it.
        """
        return {}

    def forward(
        self, name: str, batch: EpisodeBatch, noise: Noise, given: Context | None = None
    ) -> tuple[Tensor, Stats]:
        """The loss `name` as a pure function of parameters, batch, noise and its context (None: this batch's own)."""
        with th.no_grad():
            context = self.batch_context(name, batch) if given is None else given
        loss: tuple[Tensor, Stats] = getattr(self, f"{name}_loss")(batch, noise, context)
        return loss

    def unroll(self, mac: Any, batch: EpisodeBatch, steps: slice) -> Tensor:
        """The controller's outputs on the time steps `steps`, (B, T', N, P)."""
        if hasattr(mac, "forward_all"):
            if getattr(mac.agent, "is_recurrent", True) or self.args.obs_last_action:
                outputs: Tensor = mac.forward_all(batch)[:, steps]
            else:
                outputs = mac.forward_all(batch[:, steps])
            return outputs
        mac.init_hidden(batch.batch_size)
        return th.stack([mac.forward(batch, t) for t in range(batch.max_seq_length)], dim=1)[:, steps]

    # -- one update ----------------------------------------------------------------------------------------------------

    def train(self, batch: EpisodeBatch, t_env: int, episode_num: int) -> None:  # type: ignore[override]
        """Update every loss whose turn it is. `t_env` dates the log; `episode_num` is part of EPyMARL's interface."""
        self.training_steps += 1
        if t_env - self.log_stats_t >= self.args.learner_log_interval:
            self._pending = {spec.name: None for spec in self.LOSSES}
            self.log_stats_t = t_env
        for index in due(self.LOSSES, self.args, self.training_steps):
            self.update(index, batch)
        if self.TARGETS and self.training_steps % self.target_interval == 0:
            self._update_targets()
        if self._pending and all(stats is not None for stats in self._pending.values()):
            self._log(t_env)

    def update(self, index: int, batch: EpisodeBatch) -> None:
        """One step of the loss `LOSSES[index]`. Reads nothing off the device."""
        spec = self.LOSSES[index]
        wants_stats = self._pending.get(spec.name, {}) is None
        loss, gradients, stats = self.gradients(spec, batch, wants_stats)
        norm = clip_gradients(gradients, self.args.grad_norm_clip, self.clips_by_member(spec))  # () or (members,)
        bad = ~th.isfinite(loss + norm.sum())
        first_bad = self.first_bad[index]
        first_bad.copy_(th.where(bad & (first_bad < 0), self.training_steps, first_bad))
        step(self.optimisers[spec.name], self.parameters_of(spec), gradients)
        if wants_stats:
            own = {f"{spec.name}_loss": loss, f"{spec.name}_grad_norm": mean_norm(norm)}
            self._pending[spec.name] = own | stats

    def clips_by_member(self, spec: LossSpec) -> bool:
        """Whether each member of a loss's stacked modules has a limit of its own."""
        return spec.clip == "member" and all(is_stacked(getattr(self, name)) for name in spec.modules)

    def gradients(self, spec: LossSpec, batch: EpisodeBatch, wants_stats: bool) -> tuple[Tensor, list[Tensor], Stats]:
        """The loss, its gradient and its mean statistics, summed over chunks of at most `loss_chunk` rows of B."""
        parameters = self.parameters_of(spec)
        with th.no_grad():
            context = self.batch_context(spec.name, batch)
        noise = self.noise(spec.name, batch)
        mask = transition_mask(batch)
        total = mask.sum(dtype=th.float64).clamp_min(1)

        def compute(rows: slice | None) -> Part:
            part, part_noise = (batch, noise) if rows is None else (batch[rows], {k: v[rows] for k, v in noise.items()})
            part_mask = mask if rows is None else mask[rows]
            value, rows_stats = self._functions[spec.name](part, part_noise, context)
            if rows is not None:
                value = value * (part_mask.sum(dtype=th.float64) / total).to(value.dtype)  # its share of valid rows
            part_gradients = th.autograd.grad(value, parameters)
            means = {}
            for key, row_values in rows_stats.items() if wants_stats else ():
                means[key] = (row_values.detach().movedim(0, -1) * part_mask.flatten()).sum(-1) / total  # () or (m,)
            return value.detach(), list(part_gradients), means

        # A controller keeps a recurrent state, and compiled code is not made for threads.
        apart = hasattr(self.mac, "forward_all") and not getattr(self.agent, "is_recurrent", True)
        apart = apart and str(self.args.device) == "cpu" and not self.args.compile
        return added_up(each_chunk(compute, list(chunks(batch.batch_size, self.args.loss_chunk)), apart))

    def parameters_of(self, spec: LossSpec) -> list[nn.Parameter]:
        """The parameters that a loss moves, its modules' in order."""
        return [parameter for name in spec.modules for parameter in getattr(self, name).parameters()]

    @th.no_grad()
    def _update_targets(self) -> None:
        """Move targets by the Polyak coefficient; 1 is a hard copy."""
        online = [parameter for name in self.TARGETS for parameter in getattr(self, name).parameters()]
        target = [parameter for name in self.TARGETS for parameter in getattr(self, f"target_{name}").parameters()]
        for old, new in zip(target, online, strict=True):
            old.lerp_(new, self.target_tau)

    # -- watching ------------------------------------------------------------------------------------------------------

    def check_finite(self, t_env: int) -> None:
        """Raise TrainingError if a loss or gradient has not been finite, or a weight is not; reads the device twice."""
        steps = self.first_bad.tolist()
        bad = [(step, order) for order, step in enumerate(steps) if step >= 0]  # the first of an update spoils the rest
        if bad:
            step, order = min(bad)
            raise not_finite(f"{self.LOSSES[order].name} loss of", self, f"at update {step}", t_env)
        check_weights(self, self.training_steps, t_env)  # the last update may have spoilt them, which no loss has seen

    def _log(self, t_env: int) -> None:
        self.check_finite(t_env)
        flat: list[tuple[str, Tensor]] = []
        for stats in self._pending.values():
            for key, value in (stats or {}).items():
                if value.dim() == 0:
                    flat.append((key, value))
                else:
                    flat.extend((f"{key}_{i + 1}", part) for i, part in enumerate(value.unbind()))
        values: list[float] = th.stack([value.float() for _, value in flat]).tolist()  # the log's one device sync
        for (key, _), number in zip(flat, values, strict=True):
            self.logger.log_stat(key, number, t_env)
        self._pending = {}

    # -- devices and files ---------------------------------------------------------------------------------------------

    def cuda(self, device: Any = None) -> None:  # type: ignore[override]
        """Move every network, target and buffer to the GPU `device`, the current one for None."""
        macs = [self.mac, self.target_mac] if "agent" in self.TARGETS else [self.mac]
        with th.cuda.device(device):  # stock's controllers, which may hold more than the agent, go to the current one
            super().cuda()
            for mac in macs:
                mac.cuda()

    def save_models(self, path: str) -> None:
        """Write into `path` agent.th, one <module>.th per other module, and <first module>_opt.th per loss."""
        write_models(self, path)

    def load_models(self, path: str) -> None:
        """Read what `save_models` wrote; targets start as copies, as in EPyMARL (see `load_training_state`).

        Raises CheckpointError where a file is missing or belongs to networks of other shapes.
        """
        load_or_refuse(lambda: read_models(self, path), Path(path))
        for name in self.TARGETS:
            getattr(self, f"target_{name}").load_state_dict(getattr(self, name).state_dict())

    def training_state(self) -> dict[str, Any]:
        """What a bit-exact continuation needs beside the model files; tensors, numbers, strings, containers."""
        return collect_state(self)

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Continue from `training_state()`; call after `load_models`. Raises CheckpointError where it does not fit."""
        restore_state(self, state)
