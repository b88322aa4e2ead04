from learners.bc_learner import BCLearner
from learners.spacql_learner import SPaCQLLearner

REGISTRY = {
    "bc_learner": BCLearner,
    "spacql_learner": SPaCQLLearner,
}
