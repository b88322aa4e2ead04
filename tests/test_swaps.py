"""Learners swapped as users do it, `with learner=...` in another algorithm's configuration, and other combinations.

Each either trains, which moves the policy's weights and evaluates it, or is refused in one sentence.
"""

from __future__ import annotations

import json

import pytest

from tests.command_line import CommandLine, status

SHORT = ("t_max=20", "test_interval=20", "test_nepisode=4", "batch_size=4", "save_model_interval=20", "hidden_dim=8",
         "log_interval=20", "use_cuda=False", "learner_log_interval=5")  # fmt: skip
ONLINE = (*SHORT, "batch_size_run=2", "env_args.time_limit=5", "updates_per_run=1", "runner_log_interval=5")
OFFLINE = (*SHORT, "batch_size_run=4")
DISCRETE = "env_args.continuous_actions=False"
VALUES = (DISCRETE, "learner=q_learner", "agent_output_type=q", "action_selector=epsilon_greedy")
EPISODES = ("window=None", "mac=basic_mac", "agent=rnn")
NOT_OFFLINE = ("offline=False", "actor_update_interval=1")
BURNT_IN = ("window=3", "burn_in=4", "mac=basic_mac", "agent=rnn", "obs_last_action=True")

# what is given: algorithm, overrides, whether its data and environment are discrete
TRAIN = {
    "value learner on a dataset": ("qmix", (*OFFLINE, DISCRETE, "offline=True"), True),
    "unshared value learner on a dataset": ("iql_ns", (*OFFLINE, DISCRETE, "offline=True"), True),
    "cloning's configuration, value learner": ("bc_discrete", (*OFFLINE, *VALUES), True),
    "spacql's configuration, value learner": ("spacql", (*OFFLINE, *VALUES), True),
    "spacql on discrete data": ("spacql", (*OFFLINE, DISCRETE), True),
    "spacql_discrete": ("spacql_discrete", (*OFFLINE, DISCRETE), True),
    "spacql_discrete, recurrent, episodes": ("spacql_discrete", (*OFFLINE, DISCRETE, *EPISODES), True),
    "spacql, recurrent, burn-in": ("spacql", (*OFFLINE, *BURNT_IN), False),
    "spacql_discrete, recurrent, burn-in": ("spacql_discrete", (*OFFLINE, DISCRETE, *BURNT_IN), True),
    "comadice": ("comadice", OFFLINE, False),
    "comadice on discrete data, recurrent, q": (
        "comadice", (*OFFLINE, DISCRETE, *EPISODES, "value_loss=semi_dataset", "mixer=qmix"), True),
    "comadice_discrete, burn-in": ("comadice_discrete", (*OFFLINE, DISCRETE, *BURNT_IN, "advantage=mixed"), True),
    "comadice online": ("comadice", (*ONLINE, *NOT_OFFLINE[:1]), False),
    "implicit_q with a mixer, recurrent, burn-in": ("implicit_q", (*OFFLINE, *BURNT_IN, "mixer=vdn"), False),
    "omiga": ("omiga", OFFLINE, False),
    "icq": ("icq", OFFLINE, False),
    "icq on discrete data, recurrent": ("icq", (*OFFLINE, DISCRETE, *EPISODES), True),
    "icq_discrete, recurrent, burn-in": ("icq_discrete", (*OFFLINE, DISCRETE, *BURNT_IN), True),
    "optdice on discrete data, recurrent": ("optdice", (*OFFLINE, DISCRETE, *EPISODES, "advantage=joint"), True),
    "bcq": ("bcq", OFFLINE, False),
    "bcq on discrete data": ("bcq", (*OFFLINE, DISCRETE, "mixer=None"), True),
    "bc on discrete data": ("bc", (*OFFLINE, DISCRETE), True),
    "bc, gaussian": ("bc", (*OFFLINE, "agent_output_type=gaussian"), False),
    "spacql's configuration, cloning": ("spacql", (*OFFLINE, "learner=bc_learner"), False),
    "spacql online": ("spacql", (*ONLINE, *NOT_OFFLINE, "action_selector=gaussian"), False),
    "spacql_discrete online": ("spacql_discrete", (*ONLINE, DISCRETE, *NOT_OFFLINE), True),
    "macql": ("macql", (*OFFLINE, "penalty_samples=policies"), False),
    "omar, elites": ("omar", (*OFFLINE, "search_elites=5"), False),
    "qmix_cql": ("qmix_cql", (*OFFLINE, DISCRETE), True),
    "iql_cql, a network for each agent": (
        "iql_cql", (*OFFLINE, DISCRETE, "mac=non_shared_mac", "agent=rnn_ns"), True),
    "matd3 on a dataset": ("matd3", (*OFFLINE, "offline=True"), False),
    "value learner, another mixer": ("vdn", (*ONLINE, DISCRETE, "mixer=monotone", "mixer_layers=1"), True),
}  # fmt: skip


@pytest.mark.parametrize("what", TRAIN)
def test_these_train(what: str, cli: CommandLine, discrete_cli: CommandLine) -> None:
    config, updates, discrete = TRAIN[what]
    used = discrete_cli if discrete else cli
    result = used.run(*updates, config=config)
    assert result.returncode == 0, result.stderr
    run = used.runs()[0]
    assert status(run) == "COMPLETED"
    logged = json.loads((run / "metrics.json").read_text())
    assert logged["test_return_mean"]["steps"] == [0, 20]
    losses = [values for key, values in logged.items() if key.endswith("_loss")]
    assert losses and all(loss["values"] for loss in losses)


REFUSED = {
    "cloning's configuration, value learner": (
        "bc_discrete", (*OFFLINE, DISCRETE, "learner=q_learner"), True,
        "set agent_output_type=q action_selector=epsilon_greedy"),
    "value learner on continuous data": ("spacql", (*OFFLINE, "learner=q_learner"), False, "handles discrete actions"),
    "value learner in a continuous environment": ("qmix", ONLINE, False, "handles discrete actions"),
    "matd3 in a discrete environment": ("matd3", (*ONLINE, DISCRETE), True, "handles continuous actions"),
    "cloning's configuration, spacql": ("bc", (*OFFLINE, "learner=spacql_learner"), False, "use --config=spacql"),
    "value learner's configuration, spacql": (
        "qmix", (*ONLINE, DISCRETE, "learner=spacql_learner"), True, "use --config=spacql_discrete"),
    "spacql's configuration, matd3": ("spacql", (*OFFLINE, "learner=matd3_learner"), False, "use --config=matd3"),
    "spacql with continuous data in a discrete environment": ("spacql", (*OFFLINE, DISCRETE), False, "continuous"),
    "mixers of individual rewards": ("qmix", (*ONLINE, DISCRETE, "common_reward=False"), True, "common_reward=True"),
    "recurrent agents on transitions": (
        "spacql_discrete", (*OFFLINE, DISCRETE, "mac=basic_mac", "agent=rnn"), True, "set window=None"),
    "spacql's configuration, comadice": ("spacql", (*OFFLINE, "learner=comadice_learner"), False, "--config=comadice"),
    "spacql's configuration, implicit Q-learning": (
        "spacql", (*OFFLINE, "learner=implicit_q_learner"), False, "use --config=implicit_q"),
    "omiga without one weight per agent": (
        "omiga", (*OFFLINE, "mixer_layers=2"), False, "set mixer_layers=1"),
    "bcq's configuration, cloning": ("bcq", (*OFFLINE, "learner=bc_learner"), False, "use --config=bcq"),
    "cloning without data": ("bc", (*ONLINE, "offline=False"), False, "imitates the actions of a dataset, and online"),
    "online value learner, behaviour cloning": (
        "qmix", (*ONLINE, DISCRETE, "learner=bc_learner"), True, "set offline=True and dataset=..."),
    "bcq, recurrent": ("bcq", (*OFFLINE, "agent=rnn_ns", "window=None"), False, "set agent=bcq_ns"),
    "a mixer that is not convex": (
        "qmix", (*ONLINE, DISCRETE, "mixer=monotone", "mixer_activation=tanh"), True, "tanh: this is not convex"),
    "spacql's configuration, fitted Q evaluation": (
        "spacql", (*OFFLINE, "learner=fqe_learner"), False, "set policy_path to the directory of its run"),
    "the file for discrete actions on continuous data": (
        "spacql_discrete", OFFLINE, False, "these are continuous: choose --config=spacql"),
    "a relative with outputs for discrete actions": (
        "cfcql", (*OFFLINE, "agent_output_type=pi_logits"), False, "set it and action_selector to auto"),
    "omar on discrete data": ("omar", (*OFFLINE, DISCRETE), True, "handles continuous actions"),
    "value learner's configuration, with a penalty": (
        "qmix", (*OFFLINE, DISCRETE, "offline=True", "learner=q_cql_learner"), True, "use --config=qmix_cql"),
    "an unknown mixer": ("qmix", (*ONLINE, DISCRETE, "mixer=qplex"), True, "qmix"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_these_are_refused_in_one_sentence(what: str, cli: CommandLine, discrete_cli: CommandLine) -> None:
    config, updates, discrete, sentence = REFUSED[what]
    result = (discrete_cli if discrete else cli).run(*updates, config=config)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert result.returncode == 1 and len(errors) == 1, result.stderr
    assert sentence in errors[0] and "Traceback" not in result.stderr
