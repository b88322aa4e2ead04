"""The mixers' registry of a plugged checkout, whose `modules.mixers` has classes and no registry.

`plug_into.py` makes `modules.mixers` import these names, for our learners take their mixers from there.
"""

from types import SimpleNamespace

from torch import Tensor, nn

from modules.mixers.build import build_from
from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer


class SumMixer(VDNMixer):
    """The checkout's VDN mixer with the argument `with_bias`, which it lacks; a sum has no bias to leave out."""

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        total: Tensor = super().forward(agent_qs, states)
        return total


REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,  # the checkout's, which cannot leave out its bias: see `stock.learners.check_bias`
    "vdn": SumMixer,
    "monotone": MonotoneMixer,
}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """Build the mixer `name`; None gives None. Raises ConfigError for an unknown name."""
    return build_from(REGISTRY, name, args)
