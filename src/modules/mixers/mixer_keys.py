"""The keys that mixers read."""

from modules.mixers.monotone import ACTIVATIONS, NONNEG
from utils.keys import COUNT, WEIGHT, Key, Range

LAYERS = Range(1, 2, whole=True)
MIXER_KEYS = {
    "mixing_embed_dim": Key("width of the mixing network", COUNT, optional=True),
    "hypernet_layers": Key("layers of the networks that make weights and biases from the state", LAYERS, optional=True),
    "hypernet_embed": Key("width of those networks where they have two layers", COUNT, optional=True),
    "mixer_layers": Key("layers of the mixing network", LAYERS, optional=True),
    "mixer_nonneg": Key("function that makes weights non-negative", tuple(NONNEG), optional=True),
    "mixer_activation": Key("activation between two layers", tuple(ACTIVATIONS), optional=True),
    "mixer_elu_alpha": Key("alpha of elu", WEIGHT, optional=True),
}
