"""Formats of foreign datasets. A format's file is imported when it is used, as it may need a package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets.importers.options import BOUNDS, N_ACTIONS
from datasets.importers.source import Importer, Source


@dataclass(frozen=True)
class Format:
    """A format that is imported when it is used; itself an `Importer`.

    module: of this folder, whose `IMPORTER` does the work. holds: what the format is, for the command's help. options:
    of the command line that it takes, by their names (`length` is --length), with their help.
    """

    module: str
    holds: str
    options: Mapping[str, str] = field(default_factory=dict)

    def recognise(self, path: Path) -> str | None:
        return self._importer().recognise(path)

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        return self._importer().open(path, options)

    def _importer(self) -> Importer:
        importer: Importer = import_module(f"datasets.importers.{self.module}").IMPORTER
        return importer


FORMATS: dict[str, Format] = {
    "omar": Format(
        "omar",
        "a folder of OMAR's npy files for each agent, or of its seed_0_data, seed_1_data, ...",
        {
            "length": "steps of an episode (25; HalfCheetah 1000)",
            "prey": "file of the prey that was chased, or none where nobody has it (the bundled one)",
        },
    ),
    "omiga-mujoco": Format("omiga_mujoco", "an hdf5 file of OMIGA's and ComaDICE's robots"),
    "numpy": Format("npz", "an .npz file with one array an agent (docs/your-data.md)"),
    "alberdice": Format("alberdice", "a folder of AlberDICE's npy buffers of the XOR game or Bridge"),
    "pymarl": Format(
        "pymarl",
        "padded episodes of PyMARL, EPyMARL, ICQ, OffPyMARL or CFCQL in .h5, .npz or a folder of parts",
        {"n_actions": N_ACTIONS, "bounds": BOUNDS},
    ),
    "minari": Format(
        "minari",
        "a Minari dataset in HDF5, an entry an agent in its spaces",
        {"n_actions": N_ACTIONS, "bounds": BOUNDS},
    ),
    "og-marl": Format("og_marl", "a folder of OG-MARL's vaults with metadata.json in it", {"bounds": BOUNDS}),
    "omiga-smac": Format(
        "omiga_smac",
        "a folder of OMIGA's SMAC episodes, one file of torch's an episode",
        {"rewards": "raw, or to-go for returns to go, where the first episodes do not show it"},
    ),
}
REGISTRY: dict[str, Importer] = {**FORMATS}
