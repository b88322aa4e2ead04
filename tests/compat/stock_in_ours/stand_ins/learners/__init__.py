from .onehot_learner import OneHotLearner
from .policy_learner import PolicyLearner
from .value_learner import ValueLearner

REGISTRY = {}
REGISTRY["value_learner"] = ValueLearner
REGISTRY["policy_learner"] = PolicyLearner
REGISTRY["onehot_learner"] = OneHotLearner
