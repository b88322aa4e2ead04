"""Every form of Sacred's flags and verbs: it is read as Sacred reads it, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.utils.words import FLAGS, VERBS, read
from utils.errors import ConfigError
from utils.flags import FOR_SACRED, TAKEN_OVER, checked_flags

# A value that each flag takes.
VALUES = {
    "--loglevel": "WARNING", "--comment": "some words", "--beat-interval": "2.5", "--priority": "3", "--id": "run-7",
    "--name": "mine", "--capture": "sys", "--mongo_db": "localhost:27017:sacred", "--file_storage": "folder",
    "--sql": "sqlite:///x.db", "--s3": "s3://bucket/path", "--tiny_db": "folder",
}  # fmt: skip


def test_the_table_is_sacreds() -> None:
    assert {flag.long for flag in FLAGS if flag.takes_value} == VALUES.keys()
    assert {
        "--help",
        "--force",
        "--unobserved",
        "--queue",
        "--pdb",
        "--debug",
        "--enforce_clean",
        "--print-config",
    } == {flag.long for flag in FLAGS if not flag.takes_value}
    assert set(TAKEN_OVER) <= VALUES.keys() and set(FOR_SACRED) <= set(TAKEN_OVER)


def forms(flag: Any) -> list[list[str]]:
    """Every way to write a flag: short, long, glued, with = and with a space, and abbreviated."""
    longs = [other.long for other in FLAGS] + ["--config", "--env-config"]
    short_enough = (flag.long[:end] for end in range(3, len(flag.long)))
    abbreviations = [part for part in short_enough if [long.startswith(part) for long in longs].count(True) == 1]
    if not flag.takes_value:
        return [[flag.short], [flag.long], *([part] for part in abbreviations)]
    value = VALUES[flag.long]
    glued = [[f"{flag.short}{value}"], [f"{flag.long}={value}"], *([f"{part}={value}"] for part in abbreviations)]
    return [*glued, [flag.short, value], [flag.long, value], *([part, value] for part in abbreviations)]


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: str(flag.long))
def test_every_form_of_a_flag_means_the_same_at_every_place(flag: Any) -> None:
    value: Any = VALUES.get(flag.long, True)
    for form in forms(flag):
        for words in (form, ["print_config", *form], ["with", "lr=1", *form, "gamma=0.5"], [*form, "with", "lr=1"]):
            command = read(*words)
            assert command.flags == {flag.long: value}, words
            assert command.updates == ({"lr": 1} if "with" in words else {}) | (
                {"gamma": 0.5} if "gamma=0.5" in words else {}
            )
            assert command.verb == ("print_config" if "print_config" in words else None)
            assert (command.config, command.env_config) == ("random", "mpe")


def test_short_flags_may_be_joined() -> None:
    assert read("-ufd").flags == {"--unobserved": True, "--force": True, "--debug": True}
    assert read("-ufc", "a b").flags == {"--unobserved": True, "--force": True, "--comment": "a b"}
    assert read("-ufcab").flags == {"--unobserved": True, "--force": True, "--comment": "ab"}
    assert read("-c", "-x").flags == {"--comment": "-x"}  # as Sacred reads it


def test_every_verb_is_known() -> None:
    for verb in VERBS:
        assert read(verb, "with", "a=1").verb == verb
        assert read("help", verb).topic == verb
    assert read("with").updates == {} == read("", "with", "").updates


REFUSED = {
    "misspelt flag": (["--unobservd"], "no flag --unobservd; did you mean --unobserved?"),
    "misspelt flag with a value": (["--mongodb=x:1:y"], "did you mean --mongo_db?"),
    "ambiguous flag": (["--p"], "--p may be --pdb or --"),
    "abbreviated option of EPyMARL": (["--conf=spacql"], "no flag --conf; did you mean --config?"),
    "one dash": (["-config=spacql"], "-config=spacql has one dash; did you mean --config?"),
    "one dash, flag": (["-unobserved"], "did you mean --unobserved?"),
    "one dash, misspelt": (["-unobservd"], "did you mean --unobserved?"),
    "key as a flag": (["--seed=1"], "--seed=1: this is a key and no flag; write: with seed=1"),
    "unknown letter": (["-x"], "no flag -x"),
    "unknown letter among others": (["-uxf"], "no flag -x, as in -uxf"),
    "no value": (["-c"], "-c needs a value"),
    "no value, long": (["--comment"], "--comment needs a value"),
    "no value, before dashes": (["-c", "--"], "-c needs a value"),
    "value of a flag without one": (["--force=yes"], "takes no value"),
    "flag twice": (["-c", "a", "--comment=b"], "given twice"),
    "two dashes": (["--"], "has no meaning"),
    "configuration after a space": (["--config", "spacql"], "write --config=NAME with an equals sign"),
    "environment after a space": (["--env-config", "mpe"], "write --env-config=NAME with an equals sign"),
    "configuration twice": (["--config=spacql"], "--config is given twice"),
    "override before with": (["lr=1"], "does not stand after `with`; write: with lr=1"),
    "override after a verb": (["print_config", "lr=1"], "does not stand after `with`"),
    "misspelt verb": (["print_confg"], "no verb of this program; did you mean 'print_config'"),
    "two verbs": (["print_config", "save_config"], "'save_config' has no meaning after print_config"),
    "help for nothing": (["help", "me"], "there is no such verb"),
    "file that is not there": (["with", "no/such.yaml"], "'no/such.yaml' after `with`: there is no such file"),
    "with twice": (["with", "lr=1", "with"], "'with' after `with` is no override"),
    "verb after with": (["with", "print_config"], "'print_config' after `with` is no override"),
    "spaces around =": (["with", "lr", "=", "1"], "'lr' after `with` is no override"),
    "another encoding": (["-c", "\udce9"], "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_word_without_meaning_is_refused(case: str) -> None:
    words, said = REFUSED[case]
    with pytest.raises(ConfigError) as refusal:
        read(*words)
    assert said in str(refusal.value) and str(refusal.value).isprintable() and len(str(refusal.value)) < 300


WRONG_VALUES = {
    "-l": ["loud", "1.5", "-3", "", "9999999"], "-b": ["x", "nan", "inf", "-1", "0", "1e300", "1e999", ""],
    "-P": ["x", "nan", "1e999", "1j"], "-C": ["yes", "", "FD"],
    "-i": ["../x", "..", "/tmp/x", "a/b", "", " ", "x" * 300, "a\nb", "\0", "-x"], "-c": ["\0"], "-n": ["\0"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "value"), [(flag, value) for flag, values in WRONG_VALUES.items() for value in values]
)
def test_a_value_that_cannot_work_is_refused(flag: str, value: str) -> None:
    with pytest.raises(ConfigError, match=flag if flag not in ("-c", "-n") else "zero byte") as refusal:
        checked_flags(read(flag, value).flags)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 300


def test_values_that_work_reach_sacred() -> None:
    given = {"--loglevel": "debug", "--beat-interval": "1e-1", "--capture": "no", "--id": "7", "--priority": "-1"}
    assert checked_flags(given) == {**given, "--loglevel": "DEBUG"}
    assert checked_flags({"--loglevel": "30"}) == {"--loglevel": "30"}


@given(
    st.lists(
        st.sampled_from(["-", "--", "-u", "-c", "with", "a=1", "--con", "=", "-1", "help", "", "x", "-uc=", "--b=2"])
    )
)
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        read(*words)
    except ConfigError as refusal:
        assert str(refusal).isprintable()


def test_a_clean_checkout_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for changed, said in ((["a.py"], "a.py differs from the commit"), (None, "needs a git checkout")):
        monkeypatch.setattr("utils.flags.changed_files", lambda changed=changed: changed)
        with pytest.raises(ConfigError, match=f"-e.*{said}"):
            checked_flags({"--enforce_clean": True})
    monkeypatch.setattr("utils.flags.changed_files", list)
    assert checked_flags({"--enforce_clean": True}) == {"--enforce_clean": True}
