from learners.spacql_learner import SPaCQLLearner

REGISTRY = {
    "spacql_learner": SPaCQLLearner,
}
