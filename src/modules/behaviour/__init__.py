from modules.behaviour.categorical_density import CategoricalDensity
from modules.behaviour.mixture_density import MixtureDensity

REGISTRY = {
    "categorical": CategoricalDensity,
    "mixture": MixtureDensity,
}
