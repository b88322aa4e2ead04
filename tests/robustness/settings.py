"""Inputs for the readers of settings: YAML and JSON files, words of the command line, the layers' own files."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from datasets.sources.xor import generate_xor
from learners import REGISTRY
from tests.robustness.damage import BYTES, edited, misplaced, number, text, value
from tests.robustness.harness import Call, Generator, Target
from tests.robustness.readers import TINY
from tests.robustness.server import ROOT
from utils.config import layered_config
from utils.validation import keys_of

CONFIG = ROOT / "src" / "config"
ALG, ENV = "--config=bc_discrete", "--env-config=matrix_game"
# Whose size is time, not memory: a large value is a long run, and allowed.
LENGTHS = ("t_max", "test_nepisode", "batch_size_run", "updates_per_run", "collect_episodes")
# Those that mean other runs, places and services than what is tried here.
ELSEWHERE = ("local_results_path", "mongo", "collect", "collect_to", "replay_to", "offline", "compile", "dataset",
             "use_tensorboard", "evaluate", "render", "save_model", "use_cuda")  # fmt: skip


@functools.cache
def keys() -> dict[str, Any]:
    """Every key of the configuration that is tried, with its value."""
    return layered_config("bc_discrete", "matrix_game", {})


def sound(rng: random.Random) -> dict[str, Any]:
    """Settings that are accepted."""
    chosen = rng.sample(sorted(keys()), rng.choice((1, 3, 8)))
    return {key: keys()[key] for key in chosen} | {"t_max": 100, "env_args": {"key": "xor"}}


def printed(folder: Path, *words: str, **limits: Any) -> list[Call]:
    return [Call("main", ("print_config", ALG, ENV, "with", *words), **limits)]


def put_settings(rng: random.Random, folder: Path) -> Path:
    path = folder / "settings" / f"own.{rng.choice(('yaml', 'yaml', 'yml', 'json'))}"
    path.parent.mkdir()
    document = sound(rng)
    path.write_text(json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document))
    return path


def damaged(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        path = put_settings(rng, folder)
        path.write_bytes(change(rng, path.read_bytes()))
        return printed(folder, str(path))

    return generate


def elsewhere(rng: random.Random, folder: Path) -> list[Call]:
    path = put_settings(rng, folder)
    return printed(folder, str(path), unprivileged=misplaced(rng, path))


def documents(rng: random.Random, folder: Path) -> list[Call]:
    """Files whose values are of all kinds."""
    path = put_settings(rng, folder)
    document = edited(rng, sound(rng) | {"env_args": {"key": "xor", "episode_limit": 50}})
    if path.suffix == ".json":
        path.write_text(json.dumps(document))
    else:
        path.write_text(yaml.dump(document, allow_unicode=rng.random() < 0.5), encoding="utf-8")
    return printed(folder, str(path))


def texts(rng: random.Random, folder: Path) -> list[Call]:
    """What YAML and JSON can say beyond plain values."""
    path = put_settings(rng, folder)
    levels = rng.choice((3, 9, 30))
    laughs = "\n".join(
        ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))]
    )
    key = rng.choice(("lr", "t_max", "label", "env_args", "gamma", "dataset", "x"))
    said = (
        "&x [*x]", "&x {a: *x}", "2024-13-45", "2024-02-30", "2024-02-29 25:61:61", "!!set {a, b}", "!!binary aGk=",
        "!!python/object/apply:os.system ['touch canary']", "!!timestamp x", "!!int abc", "!!float x", "!unknown x",
        "? [a, b]\n  : c", "<<: 5", "*nowhere", "1e999", ".inf", ".nan", "-.inf", "0x" + "f" * 400, "9" * 5000,
        "[" * 5000, "{" * 3000, "'", '"\\ud800"', '"\\x00"', "|\n  a\n  b", "1_000", "0o17", "1:30", "0b1", "~", "=",
        "\t x", "a: b: c", "!!omap [a: 1]", "!!pairs [a: 1]", "!!null x", "1e3", "1+2j", '"a\\x1b[2Jb"', "%YAML 9.9",
    )  # fmt: skip
    body = rng.choice((*(f"{key}: {each}\n" for each in said), laughs, f"{laughs}\n{key}: *a{levels - 1}\n",
                       f"{key}: 1\n{key}: 2\n", f"1: {key}\n", f"[1]: {key}\n", f"? {{a: 1}}\n: {key}\n",
                       "--- a\n--- b\n", f"{key}:\n\t- 1\n", "\ufeffseed: 1\n", f'{{"{key}": 1, "{key}": 2}}',
                       '{"lr": NaN, "x": [' * 900))  # fmt: skip
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "latin-1"))
    path.write_bytes((body + ("# ä\n" if encoding == "latin-1" else "")).encode(encoding, "replace"))
    return printed(folder, str(path))


def word(rng: random.Random) -> str:
    """A word after `with`: a key and a value, both of all kinds."""
    key = rng.choice((rng.choice(sorted(keys())), rng.choice(sorted(keys())), f"env_args.{text(rng)}", "env_args.key",
                      "env_args.episode_limit", "seed", text(rng)))  # fmt: skip
    made = value(rng)
    said = rng.choice((repr(made), repr(made), str(made), json.dumps(made), text(rng), "[" * 300, "{1, 2}", "1+2j",
                       "b'x'", "...", "lambda: 1", "__import__('os').system('touch canary')", "1e3", "0x10", "(1,)",
                       "{'a': {1, 2}}", "9" * 5000, "-" * 300 + "1", "'" * 7, "f'{1}'", "1 if 1 else 2"))  # fmt: skip
    form = rng.choice(("{}={}", "{}={}", "{}={}", "{}={}", "{} = {}", "{}=", "={1}", "{}", "{}=={}", "{0}={1}={1}"))
    return form.format(key, said).replace("\0", "") or "="


def words(rng: random.Random, folder: Path) -> list[Call]:
    return printed(folder, *(word(rng) for _ in range(rng.choice((1, 1, 2, 4)))))


def names(rng: random.Random, folder: Path) -> list[Call]:
    """Algorithm, environment and verb of other names."""
    odd = text(rng).replace("\0", "")
    lines = (("print_config", f"--config={odd}", ENV), ("print_config", ALG, f"--env-config={odd}"), (odd, ALG, ENV),
             ("print_config", ALG, ENV, odd), ("print_config", ALG, ENV, f"--{odd}"), ("print_config", "--config", odd),
             ("print_config", ALG, ENV, "with", odd), ("print_config", ALG, ENV, ENV))  # fmt: skip
    return [Call("main", rng.choice(lines))]


def runs(rng: random.Random, folder: Path) -> list[Call]:
    """One key of a real run set to a value of any kind; sizes are small, or such as no machine has room for."""
    generate_xor("AB,BA", folder / "xor.h5", episodes=4)
    declared = keys_of(REGISTRY["bc_learner"])
    key = rng.choice(sorted(set(declared) & set(keys()) - {*LENGTHS, *ELSEWHERE}))
    choices = declared[key].allowed if isinstance(declared[key].allowed, tuple) else ()
    sizes = (1, 2, 3, 0.5, 10**8, 10**10, 10**18)
    made = rng.choice((rng.choice((*choices, *sizes)), rng.choice(sizes), number(rng), value(rng), text(rng)))
    fixed = [each for each in TINY if each.partition("=")[0] != key]
    own = (f"dataset={folder / 'xor.h5'}", f"local_results_path={folder / 'results'}", "test_interval=100")
    said = f"{key}={made!r}".replace("\0", "")
    return [Call("main", ("-u", ALG, ENV, "with", *fixed, *own, said), writes=("results",), keeps=("results/",))]


def layers(rng: random.Random, folder: Path) -> list[Call]:
    """Files of the layers, which users add and edit, damaged as text or in their values."""
    copy = Path(shutil.copytree(CONFIG, folder / "config"))
    path = copy / rng.choice(("default.yaml", "algs/bc.yaml", "algs/bc_discrete.yaml", "envs/matrix_game.yaml"))
    kind = rng.randrange(4)
    if kind == 0:
        path.write_text(yaml.dump(edited(rng, yaml.safe_load(path.read_text()))), encoding="utf-8")
    elif kind == 1:
        return [Call("configured", (str(copy), ALG, ENV), unprivileged=misplaced(rng, path))]
    elif kind == 2:
        path.write_text(
            path.read_text()
            + rng.choice(
                (
                    "base: bc_discrete\n",
                    "base: [1]\n",
                    "base: ../x\n",
                    "x: &x [*x]\n",
                    "a: !!python/name:os.system\n",
                    "\x00",
                    "t: 2024-02-30\n",
                )
            )
        )
    else:
        path.write_bytes(rng.choice(sorted(BYTES.items()))[1](rng, path.read_bytes()))
    return [Call("configured", (str(copy), ALG, ENV))]


SETTINGS = Target(
    "settings",
    {**{name: damaged(change) for name, change in BYTES.items()}, "places": elsewhere, "documents": documents,
     "texts": texts, "words": words, "names": names, "runs": runs, "layers": layers},
)  # fmt: skip
