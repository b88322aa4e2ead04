"""Several learners that differ by their seed alone, updated as one: their parameters stacked in a lane dimension L.

A lane is one learner. Its networks stay its own: their tensors are views into the stacked ones, so evaluating and
logging a lane is as without others. Losses are pure (`BaseLearner.forward`), so `torch.func.vmap` maps one over all
lanes; sums over lanes never mix them. Each lane has the batches, the noise and the steps of its own single run, and
ends with its weights up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Noise
from learners.lane_losses import LaneLosses, Step, names_of, paths
from learners.optimisation import LossSpec, due, learning_rate, mean_norm, step
from utils.errors import ConfigError

MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
DONE_HERE = ("update", "gradients", "_update_targets")  # methods of a learner in whose place `Lanes` has its own


class Lanes:
    """Learners of one configuration with different seeds, trained together.

    Raises ConfigError where they cannot be (`check_lanes`).
    """

    def __init__(self, learners: Sequence[BaseLearner]) -> None:
        check_lanes(learners[0])
        assert not any(learner.training_steps for learner in learners), "optimisers start anew"
        self.learners = list(learners)
        each = [_tensors(learner) for learner in learners]
        self.state = {name: th.stack([own[name].detach() for own in each]) for name in each[0]}
        self._names = {spec.name: names_of(self.one, spec) for spec in self.one.LOSSES}
        moved = [(f"target_{name}", name) for name in self.one.TARGETS]
        pairs = [[paths(self.one, getattr(self.one, module).parameters()) for module in pair] for pair in moved]
        self._targets = [names for target, online in pairs for names in zip(target, online, strict=True)]
        self.optimisers = {spec.name: self._optimiser(spec) for spec in self.one.LOSSES}
        self.losses = LaneLosses(self.learners)
        self._tie()

    @property
    def one(self) -> BaseLearner:
        """The learner that stands for all in what they share."""
        return self.learners[0]

    # -- one update ----------------------------------------------------------------------------------------------------

    def train(self, batch: EpisodeBatch, t_env: int) -> None:
        """Do what `BaseLearner.train` does, for all lanes and without logging. batch: rows of all, (L*B, ...)."""
        one = self.one
        opens = t_env - one.log_stats_t >= one.args.learner_log_interval
        for learner in self.learners:
            learner.training_steps += 1
            if opens:
                learner._pending, learner.log_stats_t = {spec.name: None for spec in one.LOSSES}, t_env
        for index in due(one.LOSSES, one.args, one.training_steps):
            self._update(index, batch)
        if one.TARGETS and one.training_steps % one.target_interval == 0:
            self._update_targets()

    @property
    def has_statistics(self) -> bool:
        """Whether there is something to `log`."""
        return bool(self.one._pending) and all(stats is not None for stats in self.one._pending.values())

    def log(self, lane: int, t_env: int) -> None:
        """Write the lane's statistics where they are complete. Raises TrainingError where it is not finite any more."""
        learner = self.learners[lane]
        if learner._pending and all(stats is not None for stats in learner._pending.values()):
            learner._log(t_env)

    def _update(self, index: int, batch: EpisodeBatch) -> None:
        spec = self.one.LOSSES[index]
        wants_stats = self.one._pending.get(spec.name, {}) is None
        with th.no_grad():
            found = self.losses.step(spec, self.state, batch, self._noise(spec, batch), wants_stats)
            self._note_bad(index, found)
            stacked = [self.state[name] for name in self._names[spec.name]]
            step(self.optimisers[spec.name], stacked, found.gradients)
        if wants_stats:
            for lane, learner in enumerate(self.learners):
                own = {f"{spec.name}_loss": found.loss[lane], f"{spec.name}_grad_norm": mean_norm(found.norm[lane])}
                own |= {key: value[lane] for key, value in found.stats.items()}
                # Copies, for a checkpoint would save the numbers of all lanes with a part of them.
                learner._pending[spec.name] = {key: value.clone() for key, value in own.items()}

    def _noise(self, spec: LossSpec, batch: EpisodeBatch) -> Noise:
        """The noise of each lane, from its own generator, (L, B, ...)."""
        if type(self.one).noise is BaseLearner.noise:
            return {}
        size = batch.batch_size // len(self.learners)
        each = [
            learner.noise(spec.name, batch[lane * size : (lane + 1) * size])
            for lane, learner in enumerate(self.learners)
        ]
        return {key: th.stack([noise[key] for noise in each]) for key in each[0]}

    def _note_bad(self, index: int, found: Step) -> None:
        """Keep the first update at which a lane's loss or gradient was not finite."""
        bad = ~th.isfinite(found.loss + found.norm.view(len(found.loss), -1).sum(1))  # (L,)
        first = self.state["first_bad"][:, index]  # (L,)
        first.copy_(th.where(bad & (first < 0), self.one.training_steps, first))

    @th.no_grad()
    def _update_targets(self) -> None:
        for target, name in self._targets:
            self.state[target].lerp_(self.state[name], self.one.target_tau)

    # -- lanes and their learners --------------------------------------------------------------------------------------

    @contextmanager
    def apart(self, lane: int) -> Iterator[None]:
        """A context in which a lane's learner is as a single run has it, with memory and optimisers of its own."""
        learner = self.learners[lane]
        for tensor in _tensors(learner).values():
            tensor.data = tensor.data.clone()
        for spec in learner.LOSSES:
            own = learner.optimisers[spec.name]
            for name, parameter in zip(self._names[spec.name], learner.parameters_of(spec), strict=True):
                moments = self.optimisers[spec.name].state[self.state[name]]
                if moments["step"] > 0:
                    own.state[parameter] = {"step": moments["step"].clone()}
                    own.state[parameter] |= {key: moments[key][lane].clone() for key in MOMENTS}
        try:
            yield
        finally:
            for optimiser in learner.optimisers.values():
                optimiser.state.clear()
            self._tie()

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with these lanes alone."""
        kept = th.tensor(lanes, device=self.one.args.device)
        moments = {name: optimiser.state for name, optimiser in self.optimisers.items()}
        before = self.state
        self.learners = [self.learners[lane] for lane in lanes]
        self.state = {name: tensor.index_select(0, kept) for name, tensor in before.items()}
        for spec in self.one.LOSSES:
            self.optimisers[spec.name] = self._optimiser(spec)
            for name in self._names[spec.name]:
                old, new = moments[spec.name][before[name]], self.optimisers[spec.name].state[self.state[name]]
                new["step"].copy_(old["step"])
                for key in MOMENTS:
                    new[key].copy_(old[key].index_select(0, kept))
        self.losses = LaneLosses(self.learners)
        self._tie()

    def _tie(self) -> None:
        """Make the learners' tensors views into the stacked ones."""
        for lane, learner in enumerate(self.learners):
            for name, tensor in _tensors(learner).items():
                tensor.data = self.state[name][lane]

    def _optimiser(self, spec: LossSpec) -> th.optim.Adam:
        """Adam over stacked parameters: it is elementwise, so each lane has its own. Its moments are zeros."""
        stacked = [self.state[name] for name in self._names[spec.name]]
        optimiser = th.optim.Adam(stacked, lr=learning_rate(self.one.args, spec), fused=True)
        for tensor in stacked:
            step = th.zeros((), dtype=th.float32, device=tensor.device)
            optimiser.state[tensor] = {"step": step} | {key: th.zeros_like(tensor) for key in MOMENTS}
        return optimiser


def check_lanes(learner: object) -> None:
    """Raise ConfigError, one sentence, where learners of this kind cannot be trained as lanes."""
    if not isinstance(learner, BaseLearner):
        raise ConfigError(
            "seeds: stock EPyMARL's learners cannot be trained together; leave out seeds, or use search.py"
        )
    name, reason = learner.args.learner, learner.APART
    if any(getattr(type(learner), method) is not getattr(BaseLearner, method) for method in DONE_HERE):
        reason = "its updates are its own"
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in learner.modules()):
        reason = "it has recurrent networks, which torch cannot map over lanes"
    if learner.STATISTICS:
        reason = "its running statistics are those of one run"
    if reason:
        raise ConfigError(f"seeds: learner={name} cannot train several at once ({reason}); use search.py --seeds")


def _tensors(learner: BaseLearner) -> dict[str, Tensor]:
    """Parameters and buffers of a learner by name; those of modules under two names once."""
    return {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
