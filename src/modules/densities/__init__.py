from modules.densities.categorical_density import CategoricalDensity
from modules.densities.mixture_density import MixtureDensity

REGISTRY = {
    "categorical": CategoricalDensity,
    "mixture": MixtureDensity,
}
