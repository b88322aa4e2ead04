from modules.critics.ensemble_critic import EnsembleCritic

REGISTRY = {
    "ensemble_q": EnsembleCritic,
}
