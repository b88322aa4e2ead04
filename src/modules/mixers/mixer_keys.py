"""The keys that mixers read."""

from modules.mixers.monotone import ACTIVATIONS, NONNEG
from utils.keys import COUNT, WEIGHT, Key, Range

LAYERS = Range(1, 2, whole=True)
MIXER_KEYS = {
    "mixing_embed_dim": Key("width of the two-layer mixer", COUNT, optional=True),
    "hypernet_layers": Key("layers of the networks that make the mixing weights from the state", LAYERS, optional=True),
    "hypernet_embed": Key("their width where they have two", COUNT, optional=True),
    "mixer_layers": Key("monotone: layers of the mixer", LAYERS, optional=True),
    "mixer_nonneg": Key("monotone: what makes weights non-negative", tuple(NONNEG), optional=True),
    "mixer_activation": Key("monotone, two layers: the activation between them", tuple(ACTIVATIONS), optional=True),
    "mixer_elu_alpha": Key("monotone, elu: its alpha, at most 1", WEIGHT, optional=True),
}
