import torch as th

from .epsilon_schedules import DecayThenFlatSchedule


class MultinomialActionSelector:
    def __init__(self, args):
        self.schedule = DecayThenFlatSchedule(args.epsilon_start, args.epsilon_finish, args.epsilon_anneal_time)
        self.epsilon, self.greedy = self.schedule.eval(0), getattr(args, "test_greedy", True)

    def select_action(self, agent_inputs, avail_actions, t_env, test_mode=False):
        probabilities = agent_inputs * (avail_actions > 0)
        self.epsilon = self.schedule.eval(t_env)
        if test_mode and self.greedy:
            return probabilities.argmax(-1)
        return th.distributions.Categorical(probabilities).sample()


class EpsilonGreedyActionSelector:
    def __init__(self, args):
        self.args = args
        self.schedule = DecayThenFlatSchedule(args.epsilon_start, args.epsilon_finish, args.epsilon_anneal_time)
        self.epsilon = self.schedule.eval(0)

    def select_action(self, agent_inputs, avail_actions, t_env, test_mode=False):
        self.epsilon = self.args.evaluation_epsilon if test_mode else self.schedule.eval(t_env)
        best = agent_inputs.masked_fill(avail_actions == 0, -float("inf")).argmax(-1)
        uniform = th.distributions.Categorical(avail_actions.float()).sample()
        return th.where(th.rand(best.shape) < self.epsilon, uniform, best)


REGISTRY = {"multinomial": MultinomialActionSelector, "epsilon_greedy": EpsilonGreedyActionSelector}
