from .value import ValueCritic

REGISTRY = {}
REGISTRY["value_critic"] = ValueCritic
