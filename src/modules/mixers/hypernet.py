from types import SimpleNamespace

from torch import nn

from modules.layers.sizes import size_of
from utils.errors import ConfigError


def state_size(args: SimpleNamespace) -> int:
    """Number of values of a state; args.state_shape is an integer or a shape."""
    return size_of(args.state_shape)


def hypernet(args: SimpleNamespace, n_outputs: int) -> nn.Module:
    """A network that makes a mixer's weights or biases from the state, (R, S) -> (R, n_outputs).

    args: state_shape, hypernet_layers (1 or 2), hypernet_embed (width where there are two). Raises ConfigError for
    another number of layers.
    """
    state_dim, layers = state_size(args), getattr(args, "hypernet_layers", 1)
    if layers == 1:
        return nn.Linear(state_dim, n_outputs)
    if layers == 2:
        width = args.hypernet_embed
        return nn.Sequential(nn.Linear(state_dim, width), nn.ReLU(), nn.Linear(width, n_outputs))
    raise ConfigError(f"hypernet_layers={layers}: choose 1 or 2 layers for a mixer's hyper-networks")
