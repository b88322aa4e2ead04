"""Sacred's flags and verbs by the real command line, and credentials in what runs leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from tests.command_line import MAIN, ROOT, CommandLine, status
from tests.fork_server import run_script

RANDOM = ["--config=random", "--env-config=mpe"]
BC = ["--config=bc", "--env-config=mpe"]
HIDDEN = "s3cr3t-w0rd"


@pytest.mark.parametrize("numbers", [("seed=1e3", "t_max=1_000", "batch_size_run=2.0")])
def test_numbers_of_other_spellings_run(cli: CommandLine, tmp_path: Path, numbers: tuple[str, ...]) -> None:
    updates = ("collect=True", "collect_episodes=1e0", f"collect_to={tmp_path / 'x.h5'}", *numbers)
    result = cli.run(*updates, config="random")
    assert result.returncode == 0, result.stderr
    recorded = json.loads((cli.runs()[0] / "config.json").read_text())
    assert (recorded["seed"], recorded["t_max"], recorded["batch_size_run"]) == (1000, 1000, 2)


def test_a_queued_run_with_every_flag_that_describes_it(tmp_path: Path) -> None:
    flags = [
        "-q",
        "-P",
        "3",
        "-cwhy",
        "--nam=mine",
        "--id",
        "run-7",
        "-l",
        "warning",
        "-C",
        "sys",
        "--beat-int=5",
        "-p",
    ]
    result = run_script(
        MAIN, [*BC, *flags, "with", f"local_results_path={tmp_path}", "actor_lr=0.1", "-F", str(tmp_path / "more")]
    )
    assert result.returncode == 0, result.stderr
    for run in (tmp_path / "sacred" / "bc" / "simple_spread" / "run-7", tmp_path / "more" / "run-7"):
        recorded = json.loads((run / "run.json").read_text())
        assert (recorded["status"], recorded["meta"]["comment"], recorded["meta"]["priority"]) == ("QUEUED", "why", 3)
        assert recorded["meta"]["config_updates"]["actor_lr"] == 0.1 and recorded["experiment"]["name"] == "mine"
    assert "lr = 0.1" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["help"], "usage: main.py"), (["-h"], "usage: main.py"), (["--hel"], "usage: main.py"),
        (["help", "save_config"], "save_config"), ([*RANDOM, "--help"], "--beat-interval"),
        (["print_dependencies", *RANDOM], "Dependencies:"), (["print_named_configs", *RANDOM], "No named configs"),
        (["print_config", *RANDOM, "with", "t_max=1e3"], "t_max = 1000"),
    ],
)  # fmt: skip
def test_what_only_prints(words: list[str], said: str) -> None:
    result = run_script(MAIN, words)
    assert result.returncode == 0 and said in result.stdout, result.stderr
    assert "Traceback" not in result.stderr


def test_save_config_saves_what_can_be_read_again(tmp_path: Path) -> None:
    for suffix in ("json", "yaml"):
        file = tmp_path / f"saved.{suffix}"
        saved = run_script(MAIN, ["save_config", *RANDOM, "with", f"config_filename={file}", "lr=1e-5", "seed=4"])
        assert saved.returncode == 0 and "Traceback" not in saved.stderr
        shown = run_script(MAIN, ["print_config", *RANDOM, "with", str(file)])
        assert shown.returncode == 0 and "lr = 1e-05" in shown.stdout and "seed = 4" in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*BC, "-x"], "no flag -x"), ([*BC, "--unobservd"], "did you mean --unobserved"),
        ([*BC, "-s", f"postgresql://me:{HIDDEN}@host/db"], "-s"), ([*BC, "lr=1"], "with lr=1"),
        ([*BC, "-m", f"mongodb://me:{HIDDEN}@host/db"], "me:***@host"),
        ([*BC, "with", f"mongo=me:{HIDDEN}@host:1:db", "label='"], "me:***@host"),
        ([*BC, "with", "seed=" + "9" * 400], "64 bits"),
        ([*BC, "with", "env_args.key=b'x'"], "cannot be recorded"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_without_credentials(tmp_path: Path, words: list[str], said: str) -> None:
    results = [f"local_results_path={tmp_path / 'results'}"]
    result = run_script(MAIN, [*words, *(results if "with" in words else ["with", *results])])
    assert result.returncode == 1 and said in result.stderr
    assert len(result.stderr.splitlines()) == 1 and HIDDEN not in result.stderr and not (tmp_path / "results").exists()


ADDRESS = f"mongodb://user:{HIDDEN}@127.0.0.1:1/db"  # where no server is


@pytest.mark.parametrize(
    "words",
    [
        ["-m", ADDRESS], [f"-m{ADDRESS}"], [f"-m={ADDRESS}"], ["--mongo_db", ADDRESS], [f"--mongo_db={ADDRESS}"],
        [f"--mongo={ADDRESS}"], ["-pm", ADDRESS], ["-q", "-m", ADDRESS], [f"-mongo_db={ADDRESS}"],
        ["--mongodb", ADDRESS], ["-F", ADDRESS], [f"--file_storage={ADDRESS}"],
        [f"--debug={ADDRESS}"], [ADDRESS], [f"mongo={ADDRESS}"], ["with", f"mongo={ADDRESS}"],
        ["with", f"mongp={ADDRESS}"],
        ["with", "FILE"], ["with", f"checkpoint_path={ADDRESS}"], ["with", f"dataset={ADDRESS}"],
    ],
)  # fmt: skip
def test_a_database_that_does_not_answer_is_refused_without_its_password(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "mine.yaml").write_text(f"mongo: {ADDRESS}\n")
    given = [word.replace("FILE", str(tmp_path / "mine.yaml")) for word in words]
    results = f"local_results_path={tmp_path / 'results'}"
    result = run_script(MAIN, [*BC, *given, *([results] if "with" in words else ["with", results])])
    assert result.returncode == 1 and HIDDEN not in result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "results").exists()


def test_an_unobserved_run_and_a_saved_configuration_hold_no_password(cli: CommandLine, tmp_path: Path) -> None:
    """A run that asks no database keeps the address nevertheless: beside its checkpoints, in what it prints."""
    saved = cli.results / "saved.yaml"
    verbs = (("-u", "-p"), ("save_config",), ("print_config",))
    for verb in verbs:
        more = (f"config_filename={saved}",) if verb == ("save_config",) else ()
        result = cli.run(f"mongo={ADDRESS}", "t_max=2", *more, config="bc", verb=verb)
        assert result.returncode == 0, result.stderr
        assert HIDDEN not in result.stdout + result.stderr and ("user:***@" in result.stdout or more)
    assert cli.checkpoints() and "user:***@" in saved.read_text()
    holding = [file for file in cli.results.rglob("*") if file.is_file() and HIDDEN.encode() in file.read_bytes()]
    assert not holding


SCRIPTS: dict[str, list[list[str]]] = {
    "track": [["push", "RUN", "-m", ADDRESS], ["push", ADDRESS, "-m", "sacred"], ["columns", f"-x={ADDRESS}"],
              ["columns", f"--mongo={ADDRESS}"], [ADDRESS], ["columns", "--mongodb", "x"], ["-m", "x", "columns"]],
    "dataset": [[ADDRESS], ["inspect", ADDRESS], ["inspekt", "x"], ["inspect", "x", "--sed=1"], ["--json", "list"]],
    "policy": [["export", ADDRESS, "--to", "onnx", "-o", "OUT"], ["export", "x", "--too", "onnx", "-o", "OUT"],
               ["exprt", "x"], ["--to", "onnx", "export", "x"], ["play", "x", "with", "seed=1"]],
    "search": [["run", "--config", "bc", "--sedes", "1-5"], ["--configs", "bc", "run"], ["ran"], ["run", ADDRESS]],
    "report": [["--resluts"], ["a", "b", "--to", ADDRESS], [f"--{ADDRESS}"]],
    "stock/plug_into": [[], ["x", "--undoo"], ["x", ADDRESS]],
}  # fmt: skip


@pytest.mark.parametrize(("script", "words"), [(name, words) for name, cases in SCRIPTS.items() for words in cases])
def test_the_other_commands_refuse_in_one_sentence_without_credentials(
    tmp_path: Path, script: str, words: list[str]
) -> None:
    given = [word.replace("RUN", str(tmp_path / "none")).replace("OUT", str(tmp_path / "out")) for word in words]
    result = run_script(ROOT / "src" / f"{script}.py", given)
    assert result.returncode in (1, 2) and result.stdout == ""
    assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1, result.stderr
    assert HIDDEN not in result.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--configs=bc", "--env-config=mpe"], "did you mean --config"),
        (["--config=bc", "--env_config=mpe"], "did you mean --env-config"),
        ([*BC, "--seed=1"], "--seed"), ([*BC, "wiht", "seed=1"], "'seed=1' does not stand after `with`"),
        ([*BC, "seed=1", "with"], "write: with seed=1"), (["with", "t_max=1", "-config=bc"], "did you mean --config"),
        ([*BC, "with", "print_config"], "print_config"), ([*BC, "prnt_config"], "print_config"),
        ([*BC, "print_config", "save_config"], "no meaning after print_config"),
        ([*BC, "with", "--t_max=1"], "--t_max"),
        ([*BC, "-i"], "needs a value"),
        (["--config=bc", *BC], "given twice"), ([*BC, "with", "seed", "1"], "seed"),
    ],
)  # fmt: skip
def test_a_misspelt_or_misplaced_word_is_one_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    result = run_script(MAIN, words)
    assert result.returncode == 1 and result.stdout == ""
    assert said in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_words_of_another_encoding_are_refused() -> None:
    command = [sys.executable.encode(), b"-W", b"ignore", str(MAIN).encode(), *(word.encode() for word in RANDOM)]
    result = subprocess.run([*command, b"with", b"label=\xe9"], capture_output=True, cwd=ROOT, timeout=60)
    assert result.returncode == 1 and result.stderr.count(b"\n") == 1 and b"not UTF-8" in result.stderr


def test_nothing_that_a_run_leaves_behind_holds_a_credential(cli: CommandLine, tmp_path: Path) -> None:
    """Records, checkpoints, datasets, the console: nothing has the password that the command line had."""
    secret = (f"label=mongodb://me:{HIDDEN}@host/db", f"hypergroup=token={HIDDEN}")
    made = tmp_path / "made.h5"
    collected = cli.run("collect=True", "collect_episodes=4", f"collect_to={made}", *secret, config="random")
    trained = run_script(MAIN, [*cli.arguments(*secret, "t_max=5"), "-c", f"password={HIDDEN}", "-p"])
    for result in (collected, trained):
        assert result.returncode == 0, result.stderr
        assert HIDDEN not in result.stderr + result.stdout
    assert status(cli.runs()[-1]) == "COMPLETED" and cli.checkpoints()
    for file in (made, *cli.results.rglob("*")):
        if file.is_file() and "_sources" not in file.parts:
            assert HIDDEN.encode() not in file.read_bytes(), file
    with h5py.File(made) as data:
        assert HIDDEN not in json.dumps({key: str(value) for key, value in data.attrs.items()})
    assert "me:***@host" in (cli.runs()[-1] / "config.json").read_text()
