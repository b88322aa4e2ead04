"""What a run writes of itself into `run.json`, before its first step."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sacred.run import Run

from components.scheme import Scheme, build_scheme, extend_scheme
from datasets.card import prey_of
from datasets.hdf5 import row_blocks
from loops.build import Parts
from loops.declared import declarations
from loops.described import POLICY_KEYS
from loops.simulators import simulator_of
from utils.checkpoint import find_checkpoint
from utils.config import SOURCE
from utils.description import find_description, plain_values, read_description
from utils.redact import redacted, redacted_command
from utils.settings import Settings
from utils.versions import SIMULATORS, code_state, installed, installed_imports, packages_of

# What `resolve` and `run_settings` add to the configuration's keys. `env_args.seed` is the key `seed`.
DERIVED = ("device", "unique_token", "results", "n_agents", "n_actions", "state_shape", "action_low", "action_high")


def describe(parts: Parts, sacred_run: Run, continues: Path | None = None) -> dict[str, Any]:
    """The description of a run whose parts are built; plain JSON values without credentials.

    config: every key, with `auto` replaced by what it became. given: the replaced ones as the command gave them, by
    which the run is continued. env_info, scheme: sizes, dtypes, action bounds and agent count. available:
    `available_of`, where known. input_statistics: what the networks' inputs are standardised by. dataset: name, path,
    checksum and card. environment: its arguments and the simulators' versions. declared: `declarations`. code: the
    commit, whether files differed from it, and the SHA-256 of every source file that was imported. versions: those
    of all imported packages.
    sacred: where Sacred keeps the run. continues: the step directory that the run goes on from. identity: by which a
    sweep knows the run again.
    """
    args = parts.args
    description = {
        "name": args.unique_token,
        "algorithm": args.name,
        "config": configuration(args),
        "given": given_keys(args, getattr(sacred_run, "config", {})),
        "env_info": plain_values({key: value for key, value in parts.env_info.items() if key != "available"}),
        "scheme": scheme_of(parts),
        **({} if (available := available_of(parts)) is None else {"available": available}),
        "input_statistics": statistics_of(parts),
        "dataset": dataset_of(parts),
        "environment": environment_of(args, {} if parts.runner is None else parts.runner.get_env_info()),
        "declared": declarations(parts),
        "code": {**code_state(), "sources": sources()},
        "versions": installed_imports(),
        "sacred": sacred_place(sacred_run),
        "continues": None if continues is None else str(continues.resolve()),
        "identity": getattr(sacred_run, "info", {}).get("run", {}).get("identity"),
    }
    found: dict[str, Any] = redacted(description)
    return found


def configuration(args: Settings) -> dict[str, Any]:
    """The configuration that makes the same settings again."""
    config = {key: value for key, value in vars(args).items() if key not in DERIVED}
    env_args = {key: value for key, value in args.env_args.items() if key != "seed"}
    found: dict[str, Any] = plain_values({**config, "env_args": env_args})
    return found


def given_keys(args: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the command gave for keys that building the run has replaced: `auto`, and what a valued policy sets.

    config: the configuration before that. `policy_step` is not among them: another newest step is another policy.
    """
    return {
        key: plain_values(config[key]) for key in POLICY_KEYS if key in config and config[key] != getattr(args, key)
    }


def scheme_of(parts: Parts) -> dict[str, Any]:
    """Shape, dtype and group of every entry of a time step."""
    scheme, _, preprocess = build_scheme(parts.env_info, parts.args)
    whole: Scheme = extend_scheme(scheme, preprocess)
    return {
        key: {
            "shape": [field["vshape"]] if isinstance(field["vshape"], int) else list(field["vshape"]),
            "dtype": str(field.get("dtype", "torch.float32")).removeprefix("torch."),
            "group": field.get("group"),
        }
        for key, field in whole.items()
    }


def statistics_of(parts: Parts) -> str:
    """Where the numbers come from that standardise the networks' inputs; where a policy is valued, also its own's."""
    if getattr(parts.learner, "FIXED_POLICY", False):
        own = read_description(_description_of_policy(parts.args))["input_statistics"]
        return f"critics: {_own_statistics(parts)}; the policy keeps its own: {own}"
    return _own_statistics(parts)


def _description_of_policy(args: Settings) -> Path:
    """The description of the run whose policy is valued, which `fixed_policy` has read."""
    path = find_description(find_checkpoint(args.policy_path, args.policy_step, "policy_path"))
    assert path is not None
    return path


def _own_statistics(parts: Parts) -> str:
    """Where the numbers of the networks come from that the run makes."""
    if parts.args.load_weights:  # they go with the weights
        return f"weights {parts.args.load_weights}, and for networks that start anew the dataset"
    if parts.args.input_norm == "running":
        return "everything that was played in training"
    if parts.args.input_norm == "none" or parts.dataset is None:
        return "none"
    return f"dataset {parts.dataset.card['checksum']}"


def available_of(parts: Parts) -> str | list[list[int]] | None:
    """Which actions agents had in training: "all", N lists of A zeros and ones if always the same, else "varies".

    None where the environment that is learned in does not say.
    """
    if parts.dataset is None:
        found = parts.env_info.get("available")
        return found if found is None or isinstance(found, str) else [[int(own) for own in agent] for agent in found]
    masks, offsets = parts.dataset.arrays.get("avail_actions"), parts.dataset.episode_offsets
    if masks is None:
        return "all"
    acted = np.ones(int(offsets[-1]), bool)  # (R,)
    acted[offsets[1:] - 1] = False  # nobody acts on final rows, where an environment may leave one action
    first: np.ndarray = np.asarray(masks[:1] != 0)  # (1, N, A)
    for start, stop in row_blocks(masks):
        if ((masks[start:stop] != 0) != first)[acted[start:stop]].any():
            return "varies"
    return "all" if first.all() else first[0].astype(int).tolist()


def dataset_of(parts: Parts) -> dict[str, Any] | None:
    """What the run learns from."""
    if parts.dataset is None:
        return None
    card = parts.dataset.card
    return {
        "name": parts.args.dataset,
        "path": str(parts.dataset.path),
        "checksum": card["checksum"],
        "card": plain_values(card),
    }


def environment_of(args: Settings, env_info: Mapping[str, Any]) -> dict[str, Any] | None:
    """The environment that scores the policy, with what determines its numbers."""
    if args.env is None:
        return None
    env_args = {key: value for key, value in args.env_args.items() if key != "seed"}
    # `package:EnvId`: with the runner `parallel` only other processes import the package.
    own = packages_of(str(env_args.get("key")).partition(":")[0])
    versions = installed((*SIMULATORS, *own))
    return {"env": args.env, "env_args": plain_values(env_args), "versions": versions, **simulator_of(env_info)}


@functools.cache
def _real_path(file: str) -> str:
    """Where a file is, links followed: of some thousand files a run asks twice."""
    return os.path.realpath(file)


def sources() -> dict[str, str]:
    """SHA-256 of every source file that was imported, by its path below src/: learner, modules and controller."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    places = {_real_path(file) for file in files if file}
    own = sorted(Path(place) for place in places if place.startswith(f"{SOURCE}{os.sep}"))
    return {
        file.relative_to(SOURCE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in own
        if file.is_file()
    }


def sacred_place(sacred_run: Run) -> dict[str, Any]:
    """The run's id, the directory where its file observer writes, and the collections of databases that record it."""
    directories = [observer.dir for observer in sacred_run.observers if getattr(observer, "dir", None)]
    collections = [getattr(getattr(observer, "runs", None), "full_name", None) for observer in sacred_run.observers]
    databases = [name for name in collections if isinstance(name, str)]
    return {
        "id": plain_values(sacred_run._id),
        "directory": str(Path(directories[0]).resolve()) if directories else "",
        **({"databases": databases} if databases else {}),
    }


def point_to(sacred_run: Run, description: Path | None) -> None:
    """Have the Sacred run say which description is of it, or of the policy that it plays; None: there is none."""
    if description is not None:
        sacred_run.info["run_description"] = str(description.resolve())
        sacred_run.add_artifact(str(description), name="description.json")  # Sacred has a run.json of its own


def declare(sacred_run: Run, parts: Parts) -> None:
    """Put into `info["run"]` what a report compares: `declared`, the command, checksums of the data, code and prey."""
    data = dataset_of(parts)
    listed = "".join(f"{name} {digest}\n" for name, digest in sorted(sources().items()))
    sacred_run.info.setdefault("run", {}).update(
        declared=declarations(parts),
        checksum=None if data is None else data["checksum"],
        sources=hashlib.sha256(listed.encode()).hexdigest()[:16],
        prey=prey_of(None if parts.runner is None else parts.runner.get_env_info()),
        command=command_line(),
    )


def command_line() -> str | None:
    """The command of this process, for people, without credentials; None where it was no run of `main.py`."""
    script = Path(sys.argv[0])
    if script.name not in ("main.py", "epymarl-offline"):
        return None
    return f"python src/main.py {redacted_command(sys.argv[1:])}"
