from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer

# Stock has no registry here and its learners import the classes; constructors differ (VDN takes no arguments).
REGISTRY = {
    "qmix": QMixer,
    "vdn": VDNMixer,
}
