"""BCQ's agents: what each plays follows from values, a model of the behaviour, and, of continuous actions, changes."""

from collections.abc import Iterable
from types import SimpleNamespace

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.masks import FORBIDDEN
from modules.layers.normaliser import Normaliser
from modules.layers.squash import action_bounds
from modules.layers.stacked_linear import StackedLinear, one_of
from utils.errors import ConfigError

NOT_ALLOWED = 0.1 * FORBIDDEN  # below every value, and above actions that an agent lacks
LATENT_REACH = 0.5  # latents of candidates are clipped to this, as in the authors' code
LOWEST_LOG_STD, HIGHEST_LOG_STD = -4.0, 15.0  # of the encoder, as in the authors' code
ROWS_AT_ONCE = 32  # observations whose candidates fit a core's cache together: 2.8 times as fast as 1 000 at once
INSIDE = 1 - 1e-6  # the largest action, in half ranges, that has a number before tanh


class StackedMLP(nn.Module):
    """One network of two hidden ReLU layers per agent: (N, R, inputs) -> (N, R, outputs)."""

    def __init__(self, n_stack: int, n_inputs: int, hidden_dim: int, n_outputs: int) -> None:
        super().__init__()
        self.fc1 = StackedLinear(n_stack, n_inputs, hidden_dim)
        self.fc2 = StackedLinear(n_stack, hidden_dim, hidden_dim)
        self.fc3 = StackedLinear(n_stack, hidden_dim, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc3(F.relu(self.fc2(F.relu(self.fc1(inputs)))))
        return outputs


class BCQNSAgent(nn.Module):
    """Networks of every agent's own; `agent_output_type` says which actions they are for.

    Discrete (`pi_logits`): outputs are the values of actions that the behaviour takes often enough among the available
    ones, and NOT_ALLOWED of others. Continuous (`mean`): of `acting_candidates` actions that the decoder makes of fixed
    latents, changed a little, the one that the first critic values most; before tanh. Actions are in half ranges, x in
    [-1, 1].

    forward: inputs (B*N, input_shape), the agent index fastest, and availability (B*N, A), None for all -> outputs
    (B*N, A). Raises ConfigError for another learner, which would not know its networks.
    """

    is_recurrent = False
    unshared = True
    takes_available = True  # controllers hand over which actions are available (`controllers/one_pass.py`)
    whole = False  # take all observations at once, whatever their number
    free: Tensor
    latents: Tensor

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        if args.learner != "bcq_learner":
            raise ConfigError(f"agent={args.agent} is BCQ's: use --config=bcq")
        self.args, self.n_agents, self.n_latents = args, int(args.n_agents), 2 * int(args.n_actions)
        self.continuous = args.agent_output_type == "mean"
        n, width, actions = self.n_agents, int(args.hidden_dim), int(args.n_actions)
        self.normaliser = Normaliser(n, input_shape)
        if not self.continuous:
            self.q = nn.ModuleList([self.network(input_shape)])
            self.behaviour = nn.ModuleList([self.network(input_shape)])
            return
        self.q = nn.ModuleList(StackedMLP(n, input_shape + actions, width, 1) for _ in range(2))
        encoder = StackedMLP(n, input_shape + actions, width, 2 * self.n_latents)
        self.behaviour = nn.ModuleList([encoder, StackedMLP(n, input_shape + self.n_latents, width, actions)])
        self.perturbation = StackedMLP(n, input_shape + actions, width, actions)
        low, high = action_bounds(args)  # (A,) or (N, A)
        free = (high > low).float().expand(n, actions).clone().cpu()  # (N, A), 0 where bounds leave no choice
        self.register_buffer("free", free, persistent=False)
        shape = (n, int(args.acting_candidates), self.n_latents)
        latents = th.randn(shape, generator=th.Generator().manual_seed(0))  # the same in every run
        self.register_buffer("latents", latents.clamp(-LATENT_REACH, LATENT_REACH), persistent=False)  # (N, K, L)

    def network(self, n_inputs: int) -> nn.Module:
        """Values or the behaviour's logits of discrete actions."""
        return StackedMLP(self.n_agents, n_inputs, int(self.args.hidden_dim), int(self.args.n_actions))

    def init_hidden(self) -> Tensor:
        return self.normaliser.mean.new_zeros(self.n_agents, 1)  # controllers carry a hidden state; unused here

    def alone(self, index: int) -> "BCQNSAgent":
        """One agent's networks as a copy of its own, for inputs (B, input_shape)."""
        own = one_of(self, index)
        own.n_agents, own.whole = 1, True  # an exported file takes any number of rows
        return own

    def forward(self, inputs: Tensor, hidden_state: Tensor, available: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen = self.see(self.by_agent(inputs))  # (N, B, I)
        if self.continuous:
            outputs = self.best_candidate(seen, self.owned(available))  # (N, B, A)
        else:
            outputs = self.allowed_values(self.q[0](seen), self.behaviour[0](seen), available)
        return outputs.transpose(0, 1).flatten(0, 1), hidden_state

    def by_agent(self, rows: Tensor) -> Tensor:
        """Rows with the agent index fastest, (B*N, X) -> (B, N, X)."""
        return rows.reshape(-1, self.n_agents, rows.shape[-1])

    def see(self, obs: Tensor) -> Tensor:
        """Observations as the networks take them, (R, N, I) -> (N, R, I)."""
        seen: Tensor = self.normaliser(obs)
        return seen.transpose(0, 1)

    # -- discrete actions --------------------------------------------------------------------------------------------

    def allowed_values(self, values: Tensor, logits: Tensor, available: Tensor | None) -> Tensor:
        """q_i of actions that are allowed, NOT_ALLOWED of others, (N, R, A); available: (R*N, A), None for all."""
        if available is not None:
            available = self.by_agent(available).transpose(0, 1)  # (N, R, A)
        return values.masked_fill(~self.often(logits, available), NOT_ALLOWED)

    def allowed(self, seen: Tensor, available: Tensor | None = None) -> Tensor:
        """mu_i(a | o_i) / max mu_i >= behaviour_threshold, (N, R, A) bool; available: (N, R, A), None for all."""
        logits: Tensor = self.behaviour[0](seen)
        return self.often(logits, available)

    def often(self, logits: Tensor, available: Tensor | None = None) -> Tensor:
        """The same of the behaviour's logits, (N, R, A).

        The likeliest action is that of the available ones: what is available need not follow from the observation.
        """
        if available is not None:
            logits = logits.masked_fill(available == 0, FORBIDDEN)
        share = (logits - logits.amax(-1, keepdim=True)).exp()
        often: Tensor = share >= self.args.behaviour_threshold
        return often if available is None else often & (available > 0)

    def over_time(self, networks: nn.ModuleList, obs: Tensor, learned: Tensor | None, steps: slice) -> Tensor:
        """Outputs of `q` or `behaviour` on the time steps `steps` of observations (B, T, N, O): (N, R, A).

        learned: 0 in rows that only warm up a memory, (B, T, 1), None where there are none.
        """
        outputs: Tensor = networks[0](self.see(obs[:, steps].flatten(0, 1)))
        return outputs

    # -- continuous actions, in half ranges --------------------------------------------------------------------------

    def owned(self, available: Tensor | None) -> Tensor:
        """1 in dimensions in which an agent has a choice, 0 in those that it lacks, (N, R, A), R = 1 for None.

        available: (R*N, A) or (R, N, A). None: as bounds tell, which may say too much. Where agents agree in the bounds
        of a dimension, an agent that lacks it has them too (`utils.bounds.shortest`).
        """
        free = self.free.unsqueeze(1)  # (N, 1, A)
        return free if available is None else self.by_agent(available).transpose(0, 1).to(free.dtype) * free

    def best_candidate(self, seen: Tensor, own: Tensor) -> Tensor:
        """argmax over k of q_1(o, x_k), before tanh, (N, R, A). own: what `owned` gives, here and below."""
        found, own = [], own.expand(-1, seen.shape[1], -1)  # (N, R, A)
        parts: Iterable[tuple[Tensor, Tensor]] = [(seen, own)]
        if not (self.whole or seen.is_cuda):
            parts = zip(seen.split(ROWS_AT_ONCE, dim=1), own.split(ROWS_AT_ONCE, dim=1), strict=True)
        for part, mine in parts:
            candidates, values = self.candidates(part, mine)
            index = values.argmax(-1)[..., None, None].expand(-1, -1, 1, candidates.shape[-1])
            found.append(before_tanh(candidates.gather(2, index).squeeze(2)))
        return th.cat(found, dim=1)

    def candidates(self, seen: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """x_k = perturb(decode(z_k)) of the fixed latents, (N, R, K, A), and q_1(o, x_k), (N, R, K)."""
        latents = self.latents.unsqueeze(1).expand(-1, seen.shape[1], -1, -1)  # (N, R, K, L)
        found = self.perturb(seen, self.decode(seen, latents, own), own)  # (N, R, K, A)
        return found, self.values(0, seen, found)

    def choices(self, inputs: Tensor, available: Tensor) -> tuple[Tensor, Tensor] | None:
        """Outputs that one agent chooses among, (B, K, A), and their values, (B, K); None where it does not choose."""
        if not self.continuous:
            return None
        seen, own = self.see(inputs.unsqueeze(1)), self.owned(available)  # (1, B, I), (1, B, A)
        candidates, values = self.candidates(seen, own)  # (1, B, K, A), (1, B, K)
        return before_tanh(candidates.squeeze(0)), values.squeeze(0)

    def encode(self, seen: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation of z, (N, R, L) each, of one action a row (N, R, A)."""
        mean, log_std = self.behaviour[0](th.cat([seen, actions], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(LOWEST_LOG_STD, HIGHEST_LOG_STD)

    def decode(self, seen: Tensor, latents: Tensor, own: Tensor) -> Tensor:
        """The actions of K latents a row, (N, R, K, L) -> (N, R, K, A); in training and in use alike."""
        decoded: Tensor = self.of_each(self.behaviour[1], seen, latents).tanh() * own.unsqueeze(2)
        return decoded

    def perturb(self, seen: Tensor, actions: Tensor, own: Tensor) -> Tensor:
        """x + Phi tanh(xi(o, x)), inside the bounds, (N, R, K, A) -> (N, R, K, A)."""
        change: Tensor = self.args.perturbation_reach * self.of_each(self.perturbation, seen, actions).tanh()
        return (actions + change).clamp(-1, 1) * own.unsqueeze(2)

    def values(self, member: int, seen: Tensor, actions: Tensor) -> Tensor:
        """q_j(o, x) of K actions a row, (N, R, K, A) -> (N, R, K)."""
        return self.of_each(self.q[member], seen, actions).squeeze(-1)

    def of_each(self, network: nn.Module, seen: Tensor, given: Tensor) -> Tensor:
        """A network of an observation and K vectors a row, observation first: (N, R, K, G) -> (N, R, K, O)."""
        every = seen.unsqueeze(2).expand(-1, -1, given.shape[2], -1)  # (N, R, K, I)
        outputs: Tensor = network(th.cat([every, given], dim=-1).flatten(1, 2))  # (N, R*K, O)
        return outputs.reshape(*given.shape[:3], -1)


def before_tanh(actions: Tensor) -> Tensor:
    """atanh, elementwise, of actions in half ranges; ONNX files have no atanh."""
    inside = actions.clamp(-INSIDE, INSIDE)
    return 0.5 * ((1 + inside) / (1 - inside)).log()
