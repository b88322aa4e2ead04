"""Between the command line and a run: what is refused leaves nothing behind, what is not finds its place."""

from __future__ import annotations

from pathlib import Path

import pytest

import main
from tests.utils.words import START
from utils.command_line import Command
from utils.errors import ConfigError, UserError
from utils.flags import FOR_SACRED
from utils.observers import RunDirectoryObserver


@pytest.fixture(autouse=True)
def without_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """These runs cannot be built, for want of a learner or of an environment; it is their words that are tested."""
    monkeypatch.setattr(main, "rehearse", lambda config: None)


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
    "two databases": (("-m", "host:1:a", "mongo=host:1:b"), "-m host:1:a and mongo=host:1:b are two databases"),
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


def test_an_observer_that_cannot_be_made_is_the_flags_fault(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.flags.PACKAGES", dict.fromkeys(FOR_SACRED, ()))
    for word in ("-ssqlite:///x", "-Ss3:nothing", "-S", "-tfolder"):
        with pytest.raises(ConfigError, match=f"^{word[:2]}"):
            prepare(results, word, *(["s3://x/y"] if word == "-S" else []))
    with pytest.raises(ConfigError) as refusal:
        prepare(results, "-s", "postgresql://me:hidden@host/db")
    assert "hidden" not in str(refusal.value) and not results.exists()
