from torch import Tensor

from modules.mixers.qmix import QMixer


class FreeMixer(QMixer):
    """QMIX's network without the absolute values: Q_tot = w_2(s)^T elu(W_1(s)^T q + b_1(s)) + V(s).

    The team's value may fall where an agent's rises. So the agents' best actions need not be the team's, and only
    learners whose policies climb Q_tot itself can use it (FACMAC, Peng et al. 2021; B3C, Kim & Sycara 2026).
    """

    def signed(self, weights: Tensor) -> Tensor:
        """The weights as the hyper-networks give them."""
        return weights
