"""Policies as files of other programs' formats, each checked against the policy before it is written."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from torch import Tensor
from torch.jit._trace import TracerWarning

from deployment.exactness import Trial, difference, trial
from deployment.loaded import LoadedPolicy
from deployment.lone_agent import LoneAgent, metadata
from utils.errors import OutputError, PolicyError, cause, one_line
from utils.files import output_error, writing_file

METADATA = "policy.json"  # name of the description inside the file
TOLERANCE = 1e-6  # of the largest value
_END = slice(-200, None)  # of torch's long errors, which say last what is wrong
Run = Callable[[tuple[np.ndarray, ...]], list[np.ndarray]]  # inputs of an exported agent to its outputs


def export_policy(policy: LoadedPolicy, to: str, folder: Path, replace: bool = False) -> list[str]:
    """Write one file per agent, `agent_0.pt` or `agent_0.onnx` and so on; returns lines for the console.

    to: torchscript or onnx. Every file's content is run on `Trial` first: where one differs from the policy by more
    than `TOLERANCE` of the largest value, none is written.

    Raises PolicyError for an agent that cannot be traced or that differs, a missing package and an existing file, and
    OutputError where the disk refuses.
    """
    write, read, suffix = FORMATS[to]
    files = [folder / f"agent_{i}.{suffix}" for i in range(policy.n_agents)]
    for file in files:
        if file.is_dir():
            raise PolicyError(f"{file} is a folder; choose another folder to export to")
        if file.exists() and not replace:
            raise PolicyError(f"{file} exists already; choose another folder, or add --force")
    tried, contents, lines = trial(policy), [], []
    for i, file in enumerate(files):
        agent = LoneAgent(policy, i)
        with _tracing(policy.args.agent):
            content = write(agent, metadata(policy, agent))
        gap = _checked(tried, i, agent, content, read)
        contents.append(content)
        lines.append(f"{file}: differs by at most {gap:.1e} of the largest value, {tried.n_observations} observations")
    _write_all(dict(zip(files, contents, strict=True)), replace)
    return [*lines, f"takes {_text(agent.inputs())}", f"gives {_text(agent.outputs())}"]


def _checked(tried: Trial, index: int, agent: LoneAgent, content: bytes, read: Callable[[bytes], Run]) -> float:
    """The largest difference over the trial. Raises PolicyError where it is above the tolerance."""
    try:
        gap = difference(tried, index, agent, read(content))
    except RuntimeError as error:  # a size that tracing has made a constant
        raise PolicyError(
            f"agent {index} as exported cannot be run ({one_line(error, _END)}), so nothing was written; the forward "
            f"of agent={agent.args.agent} may use no tensor's length as a number"
        ) from error
    if not gap <= TOLERANCE:  # nor where it is no number
        raise PolicyError(
            f"agent {index} as exported differs from the policy by {gap:.1e} of the largest value, more than "
            f"{TOLERANCE:.0e}, so nothing was written; agent={agent.args.agent} computes something that tracing loses"
        )
    return gap


@contextmanager
def _tracing(name: str) -> Iterator[None]:
    """Turn what tracing says of an agent that it cannot follow into one sentence."""
    advice = "its forward may branch on no tensor's value and must return tensors"
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("ignore")  # both tracers are called deprecated; the new one takes 5 s per agent
            warnings.simplefilter("always", TracerWarning)
            yield
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise PolicyError(f"agent={name} cannot be traced ({one_line(error, _END)}); {advice}") from error
    if said:
        raise PolicyError(f"agent={name} cannot be traced ({one_line(said[0].message, _END)}); {advice}")


# -- TorchScript -------------------------------------------------------------------------------------------------------


def _torchscript(agent: LoneAgent, about: dict[str, Any]) -> bytes:
    agent.requires_grad_(False)  # the agent's networks are copies; its answers are plain tensors then
    with th.no_grad():
        traced = th.jit.trace(agent, agent.example(), check_trace=False)  # `_checked` checks more
    stream = io.BytesIO()
    th.jit.save(traced, stream, _extra_files={METADATA: json.dumps(about, indent=1)})
    return stream.getvalue()


def _run_torchscript(content: bytes) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = th.jit.load(io.BytesIO(content))

    def run(inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        with th.no_grad():
            results: tuple[Tensor, ...] = module(*map(th.from_numpy, inputs))
        return [result.numpy() for result in results]

    return run


# -- ONNX --------------------------------------------------------------------------------------------------------------


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise PolicyError(
            f"--to onnx needs the package {error.name}, which is not installed: "
            "pip install -c constraints.txt -e '.[onnx]'"
        ) from error


def _onnx(agent: LoneAgent, about: dict[str, Any]) -> bytes:
    with _extra():
        import onnx
    names, results = list(agent.inputs()), list(agent.outputs())
    with th.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agent.onnx"
        th.onnx.export(
            agent, agent.example(), str(file), input_names=names, output_names=results, dynamo=False,
            dynamic_axes={name: {0: "batch"} for name in (*names, *results)},
        )  # fmt: skip
        model = onnx.load(file)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    content: bytes = model.SerializeToString()
    return content


def _run_onnx(content: bytes) -> Run:
    with _extra():
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, NotImplemented
    refusals = (Fail, InvalidArgument, InvalidGraph, NotImplemented)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise RuntimeError(str(error)) from error
    taken = [node.name for node in session.get_inputs()]
    names = [node.name for node in session.get_outputs()]

    def run(inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        try:
            results: list[np.ndarray] = session.run(names, dict(zip(taken, inputs, strict=True)))
        except refusals as error:
            raise RuntimeError(str(error)) from error
        return results

    return run


FORMATS: dict[str, tuple[Callable[[LoneAgent, dict[str, Any]], bytes], Callable[[bytes], Run], str]] = {
    "torchscript": (_torchscript, _run_torchscript, "pt"),
    "onnx": (_onnx, _run_onnx, "onnx"),
}


# -- files -------------------------------------------------------------------------------------------------------------


def _write_all(contents: dict[Path, bytes], replace: bool) -> None:
    """Write every file, or none where the disk refuses one: files of before stay. Raises OutputError.

    Where the disk takes all contents and then refuses a name, files of before may have been replaced; the error names
    them.
    """
    named: list[Path] = []
    try:
        _write([*contents.items()], replace, named)
    except OutputError as error:
        if not replace:
            _remove(named)
        elif named:
            new = ", ".join(sorted(file.name for file in named))
            raise OutputError(f"{error}; {new} are the new policy's already: export again") from error
        raise


def _write(pending: Sequence[tuple[Path, bytes]], replace: bool, named: list[Path]) -> None:
    """Write the first file and all others; each gets its name when all are on the disk. named: those that have one."""
    (file, content), *others = pending
    try:
        with writing_file(file, replace) as temporary:
            temporary.write_bytes(content)
            if others:
                _write(others, replace, named)
    except FileExistsError as error:
        raise OutputError(f"{file} cannot be written ({cause(error)}); choose another folder") from error
    except OSError as error:
        raise output_error(file, error) from error
    named.append(file)


def _remove(files: list[Path]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink()


def _text(shapes: dict[str, list[Any]]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())
