"""Formats that datasets are written in for other programs. A format's file is imported when it is used."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from datasets.dataset import OfflineDataset
from utils.errors import DatasetError, nearest

Export = Callable[[OfflineDataset, Path, bool], list[str]]


@dataclass(frozen=True)
class Target:
    """A format. module: of this folder, whose `export` does the work. writes: what it makes, for the command's help."""

    module: str
    writes: str


REGISTRY: dict[str, Target] = {
    "omar": Target("omar", "a folder of OMAR's npy files for each agent, of one of its four tasks"),
    "pymarl": Target("pymarl", "one .h5 file of padded episodes, as PyMARL and OffPyMARL read it"),
    "minari": Target("minari", "a folder that Minari loads, an entry an agent in its spaces"),
}


def export_dataset(name: str, dataset: OfflineDataset, out: Path, replace: bool = False) -> list[str]:
    """Write a dataset to `out` in the format `name`; return what the format keeps in another form, one sentence each.

    An import of what is written gives the same arrays again. replace: whether a file at `out` is replaced; a folder
    never is. Raises DatasetError for an unknown format and for a dataset that it cannot hold, OutputError where `out`
    cannot be written. Nothing is left or replaced then.
    """
    if name not in REGISTRY:
        raise DatasetError(f"'{name}' is no format to export to; {nearest(name, REGISTRY)}")
    export: Export = import_module(f"datasets.exporters.{REGISTRY[name].module}").export
    return export(dataset, out, replace)
