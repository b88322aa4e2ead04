"""Every form of Sacred's flags and verbs: it works, or it is refused in one sentence before a run exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import main
from utils.command_line import Command, parse
from utils.errors import ConfigError, UserError
from utils.flags import FOR_SACRED, TAKEN_OVER, checked_flags
from utils.observers import RunDirectoryObserver

FLAGS = main.sacred_flags()
VERBS = [*dict(main.ex.gather_commands()), "help"]
START = ["main.py", "--config=random", "--env-config=mpe"]
# A value that each flag takes.
VALUES = {
    "--loglevel": "WARNING", "--comment": "some words", "--beat-interval": "2.5", "--priority": "3", "--id": "run-7",
    "--name": "mine", "--capture": "sys", "--mongo_db": "localhost:27017:sacred", "--file_storage": "folder",
    "--sql": "sqlite:///x.db", "--s3": "s3://bucket/path", "--tiny_db": "folder",
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """These runs cannot be built, for want of a learner or of an environment; it is their words that are tested."""
    monkeypatch.setattr(main, "rehearse", lambda config: None)


def read(*words: str) -> Command:
    return parse([*START, *words], FLAGS, VERBS)


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


# -- before a run exists -----------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that does not exist, and an experiment without observers."""
    monkeypatch.setattr(main.ex, "observers", [])
    monkeypatch.setattr(main.ex, "configurations", [])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def prepare(results: Path, *words: str) -> Command:
    return main.prepare([*START, "with", f"local_results_path={results}", *words])


NO_RUN: dict[str, tuple[tuple[str, ...], str]] = {
    "database without its package": (("--sql=sqlite:///x.db",), "-s (--sql) needs the package"),
    "bucket without its package": (("-S", "s3://a/b"), "-S (--s3) needs the package"),
    "small database without its package": (("-tfolder",), "-t (--tiny_db) needs the package"),
    "glued address": (("-mlocalhost:1:db",), "no MongoDB answers at localhost:1"),
    "address of no database": (("-m", "a b"), "no MongoDB address"),
    "key of no database": (("mongo=a b",), "no MongoDB address"),
    "place of the user's": (("-F", "~nosuchuser/x"), "no such user"),
    "place that cannot be": (("-F", "/proc/x"), "nothing can be written"),
    "empty place": (("-F", ""), "is empty"),
    "database for a place": (("-F", "mongodb://me:word@host/db"), "-F=mongodb://me:***@host/db: this is an address"),
    "database for the results": (("local_results_path=mongodb://host/db",), "a MongoDB's address follows -m"),
    "id that leads out": (("--id=../x",), "a run's directory has this name"),
    "name that leads out": (("name=../x",), "runs are filed under it"),
    "over-long name": (("name=" + "x" * 200,), "at most 100"),
    "dataset of no user": (("dataset=~nosuchuser/x.h5",), "dataset=~nosuchuser"),
    "dataset with an escape code": (("dataset=a\x1b[2J.h5",), "control characters"),
    "over-long dataset": (("dataset=" + "x" * 300,), "file name too long"),
    "almost over-long dataset": (("dataset=" + "x" * 254,), "file name too long"),
    "destination of dots": (("collect=True", "collect_to=.."), "names no file"),
    "over-long destination": (("collect_to=" + "x" * 240,), "longer than"),
    "replay of no user": (("replay_to=~nosuchuser/x.h5",), "replay_to=~nosuchuser"),
    "checkpoint of no user": (("checkpoint_path=~nosuchuser",), "checkpoint_path=~nosuchuser"),
    "checkpoint with a newline": (("checkpoint_path=a\nb",), "control characters"),
    "results of no user": (("local_results_path=~nosuchuser",), "local_results_path=~nosuchuser"),
    "empty results": (("local_results_path=",), "local_results_path= is empty"),
    "picture of no user": (("env_args.replay_path=~nosuchuser/x.gif",), "env_args.replay_path=~nosuchuser"),
    "picture that is a number": (("env_args.replay_path=3",), "must be a path"),
    "seed of 400 digits": (("seed=" + "9" * 400,), "more than 64 bits"),
    "complex seed": (("seed=1+2j",), "cannot be recorded"),
    "infinite rate": (("lr=1e999",), "no finite number"),
    "size beyond its type": (("buffer_size=1e30",), "within 64 bits"),
    "set for a name": (("runner={1, 2}",), "cannot be recorded"),
    "bytes for an argument": (("env_args.key=b'x'",), "cannot be recorded"),
    "mapping that is no environment's": (("env_args={1: 2}",), "is not text"),
    "object": (("env_args.x={'py/object': 'os.system'}",), "cannot be a key"),
}


@pytest.mark.parametrize("case", NO_RUN)
def test_what_is_refused_leaves_nothing_behind(results: Path, case: str) -> None:
    words, said = NO_RUN[case]
    with pytest.raises(UserError) as refusal:
        prepare(results, *words)
    assert said in str(refusal.value) and str(refusal.value).isprintable()
    assert main.ex.observers == [] and not results.exists() and list(results.parent.iterdir()) == []


@pytest.mark.parametrize(
    "key", ["../../x", "..", ".", "/etc/x", "a/../../../x", "x" * 300, "a\nb", "a\0b"[:1], "~", ""]
)
@pytest.mark.parametrize("name", ["env_args.key", "env_args.map_name"])
def test_records_stay_within_the_results(results: Path, name: str, key: str) -> None:
    prepare(results, f"{name}={key!r}", "--force")
    (observer,) = main.ex.observers
    folder = Path(observer.basedir).resolve()
    assert folder.is_relative_to(results / "sacred" / "random") and folder != results / "sacred" / "random"
    assert folder.is_dir()


def test_a_further_place_and_an_id_are_honoured(results: Path) -> None:
    command = prepare(results, "-Felsewhere", "--id", "run-7")
    assert [Path(observer.basedir).name for observer in main.ex.observers] == ["simple_spread", "elsewhere"]
    assert all(isinstance(observer, RunDirectoryObserver) for observer in main.ex.observers)
    assert command.flags["--id"] == "run-7"


@pytest.mark.parametrize("words", [("print_config",), ("save_config",), ("print_dependencies",), ("-u",)])
def test_what_is_unobserved_makes_no_folder(results: Path, words: tuple[str, ...]) -> None:
    main.prepare([*START, *words, "with", f"local_results_path={results}"])
    assert main.ex.observers == [] and not results.exists()


def test_numbers_of_every_spelling_are_recorded_as_numbers(results: Path) -> None:
    updates = prepare(
        results, "seed=1e3", "t_max='1_000'", "batch_size_run=10.0", "lr='1e-4'", "env_args.time_limit=2e1"
    ).updates
    assert updates | {"local_results_path": ""} == {
        "local_results_path": "", "seed": 1000, "t_max": 1000, "batch_size_run": 10, "lr": 1e-4,
        "env_args": {"time_limit": 20},
    }  # fmt: skip
    assert {type(updates[key]) for key in ("seed", "t_max", "batch_size_run")} == {int}
    assert type(updates["env_args"]["time_limit"]) is int


FILES = {
    "x.json": True, "x.yaml": True, "x.yml": True, "sub/x.json": True, "x.pickle": False, "x": False, "": False,
    "~nosuchuser/x.json": False, "/proc/x.json": False, "x\n.json": False, "x" * 260 + ".json": False, ".json": False,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_save_config_writes_where_it_is_told(results: Path, name: str) -> None:
    words = ["save_config", *START[1:], "with", f"config_filename={name!r}"]
    if not FILES[name]:
        with pytest.raises(ConfigError, match="config_filename"):
            main.prepare(["main.py", *words])
        return
    assert main.prepare(["main.py", *words]).updates == {"config_filename": name}
    main.save_config({"lr": 0.1, "config_filename": name}, main.ex.logger, name)
    assert (results.parent / name).is_file()


def test_a_clean_checkout_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for changed, said in ((["a.py"], "a.py differs from the commit"), (None, "needs a git checkout")):
        monkeypatch.setattr("utils.flags.changed_files", lambda changed=changed: changed)
        with pytest.raises(ConfigError, match=f"-e.*{said}"):
            checked_flags({"--enforce_clean": True})
    monkeypatch.setattr("utils.flags.changed_files", list)
    assert checked_flags({"--enforce_clean": True}) == {"--enforce_clean": True}


def test_an_observer_that_cannot_be_made_is_the_flags_fault(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.flags.PACKAGES", dict.fromkeys(FOR_SACRED, ()))
    for word in ("-ssqlite:///x", "-Ss3:nothing", "-S", "-tfolder"):
        with pytest.raises(ConfigError, match=f"^{word[:2]}"):
            prepare(results, word, *(["s3://x/y"] if word == "-S" else []))
    with pytest.raises(ConfigError) as refusal:
        prepare(results, "-s", "postgresql://me:hidden@host/db")
    assert "hidden" not in str(refusal.value) and not results.exists()
