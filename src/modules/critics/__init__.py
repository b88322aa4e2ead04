from torch import nn

from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.local_critic import LocalCritic
from modules.critics.local_ensemble import LocalEnsemble
from modules.critics.state_critic import StateCritic

REGISTRY: dict[str, type[nn.Module]] = {
    "state_value": StateCritic,  # V(s)
    "local_value": LocalCritic,  # nu_i(o_i) or q_i(o_i, a_i), one network for all agents, feed-forward or recurrent
    "local_ensemble": LocalEnsemble,  # the same, ensembles, shared or one network per agent
    "ensemble_q": EnsembleCritic,  # Q_j(s, a_1..a_N)
}
