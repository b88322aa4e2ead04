"""Bad input on the command line: one clear sentence, a non-zero exit, no traceback."""

from __future__ import annotations

import pytest

from tests.command_line import MAIN, ROOT, CommandLine
from tests.fork_server import run_script

SPACQL = ["--config=spacql", "--env-config=mpe", "with"]
WRONG = {
    "unknown config": (["--config=spacl", "--env-config=mpe"], "did you mean 'spacql'"),
    "unknown environment config": (["--config=spacql", "--env-config=mp"], "did you mean 'mpe'"),
    "nothing named": (["with", "seed=1"], "such as --config=spacql --env-config=mpe"),
    "missing config": (["--env-config=mpe"], "--config=NAME is missing"),
    "space for equals sign": (["--config", "spacql"], "with an equals sign"),
    "unknown key": ([*SPACQL, "alpha_cq=1"], "did you mean 'alpha_cql'"),
    "wrong kind": ([*SPACQL, "critic_lr=high"], "'critic_lr' is a number"),
    "bad size": ([*SPACQL, "batch_size=0"], "batch_size=0: this must be a whole number of at least 1"),
    "fraction of an update": ([*SPACQL, "actor_update_interval=2.5"], "must be a whole number"),
    "null": ([*SPACQL, "window=null"], "this is text, 'window' is a number (such as 1); null is written None here"),
    "nothing alike": ([*SPACQL, "zzz=1"], "nothing similar is known"),
    "no number": ([*SPACQL, "load_step=None"], "must be a whole number of at least 0"),
    "out of range": ([*SPACQL, "gamma=2"], "gamma=2: this must be a number of at least 0 and at most 1"),
    "bad seed": ([*SPACQL, "seed=-1"], "seed=-1: this must be"),
    "unknown choice": ([*SPACQL, "reward_scaling=center"], "choose one of none, centre, standardise"),
    "name that is a path": ([*SPACQL, "name=../x"], "runs are filed under it"),
    "unwritable results": ([*SPACQL, "local_results_path=/proc/nothing"], "nothing can be written to"),
    "text that is a number": ([*SPACQL, "mongo=3"], "mongo=3: this must be text, or None"),
    "no results directory": ([*SPACQL, "local_results_path=None"], "local_results_path=None: this must be text"),
    "arguments that are none": ([*SPACQL, "env_args=3", "--force"], "env_args=3: set its entries"),
    "two modes": ([*SPACQL, "evaluate=True", "collect=True"], "exclude each other"),
    "missing checkpoint": ([*SPACQL, "checkpoint_path=/no/such/place"], "there is no such directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_before_a_run_is_one_sentence(case: str) -> None:
    arguments, words = WRONG[case]
    result = run_script(MAIN, arguments)
    assert result.returncode == 1
    assert words in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


RUN_ERRORS = {
    "unknown dataset": (("dataset=mpe/simple_spread/random-10k",), "did you mean mpe/simple_spread/random"),
    "dataset with a recipe": (
        ("dataset=mpe/simple_spread/random",),
        "make it with: sh offline_data/recipes/simple_spread.sh random",
    ),
    "unknown environment": (("env_args.key=simple_sprad",), "did you mean 'simple_spread'?"),
    "unknown environment argument": (("env_args.kee=1",), "kee"),
    "other environment": (("env_args.key=simple_spread_v3",), "key is simple_spread there and simple_spread_v3 here"),
    "no time limit": (("env_args.time_limit=None",), "must be a whole number of at least 1"),
    "other time limit": (("env_args.time_limit=50",), "env_args.time_limit is 25 there and 50 here"),
    "unknown selector": (("action_selector=determinstic",), "did you mean 'deterministic'"),
    "selector of discrete actions": (("action_selector=epsilon_greedy",), "cannot choose continuous actions"),
    "agents that do not fit": (("mac=basic_mac",), "takes agent=mlp or rnn"),
    "recurrent agents on transitions": (("mac=basic_mac", "agent=rnn", "input_norm=none"), "set window=None"),
    "unknown learner": (("learner=spaql_learner",), "did you mean 'spacql_learner'"),
    "evaluation without a checkpoint": (("evaluate=True",), "needs checkpoint_path"),
    "unknown mac": (("mac=basic_max",), "did you mean 'basic_mac'"),
    "unknown agent": (("agent=mpl_ns",), "did you mean 'mlp_ns'"),
    "unknown runner": (("runner=vectr",), "did you mean 'vector'"),
    "a step of nothing": (("load_step=20",), "load_step=20 chooses a step of checkpoint_path or load_weights"),
    "no learner": (("learner=None",), "learner=None: a run of spacql trains nothing"),
    "weights that are not there": (("load_weights=/no/such/place",), "there is no such directory"),
    "held out all": (("validation_share=0.001",), "validation_share=0.001 holds out 0 of"),
    "one episode at a time": (("runner=episode",), "set batch_size_run=1"),
}


@pytest.mark.parametrize("case", RUN_ERRORS)
def test_what_cannot_be_built_is_one_sentence_and_takes_no_number(cli: CommandLine, case: str) -> None:
    updates, words = RUN_ERRORS[case]
    if "recipe" in case and (ROOT / "offline_data/mpe/simple_spread/random.h5").exists():
        pytest.skip("the full dataset has been made here")
    result = cli.run(*updates)
    assert result.returncode == 1
    assert words in result.stderr and "Traceback" not in result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")][0] == result.stderr.splitlines()[
        -1
    ]
    assert not list(cli.results.glob("sacred/*/*/*"))
