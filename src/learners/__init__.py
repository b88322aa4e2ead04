from learners.bc_learner import BCLearner
from learners.comadice_learner import ComaDICELearner
from learners.matd3_learner import MATD3Learner
from learners.q_learner import QLearner
from learners.spacql_learner import SPaCQLLearner

REGISTRY = {
    "bc_learner": BCLearner,
    "comadice_learner": ComaDICELearner,
    "matd3_learner": MATD3Learner,
    "q_learner": QLearner,
    "spacql_learner": SPaCQLLearner,
}
