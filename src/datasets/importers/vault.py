"""Flashbax vaults: arrays (B, T, ...) in a tensorstore, their names and shapes in metadata.json beside it.

The package tensorstore reads them; JAX and Flashbax are not needed. The layout is that of Flashbax 0.1's vault.py: zarr
arrays in an OCDBT store, named by the places in the experience, each with a dot behind it.
"""

import json
import math
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.declared import check_expansion
from utils.errors import DatasetError, printable

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("truncations", "infos.state", "infos.legals")
_LARGEST_METADATA = 1 << 20
_MOST_CHUNK = 1 << 28  # bytes
_MOST_ROW = 1 << 26  # bytes of one row of all arrays
_MISSING = "a vault is read by the package tensorstore; install it: pip install 'epymarl-offline[vault]'"


@dataclass(frozen=True)
class Vault:
    """An open vault.

    stores: tensorstores by names; n_rows: of each of the n_streams; padded: (N, O) bool; names: all that it holds.
    """

    folder: Path
    stores: Mapping[str, Any]
    n_streams: int
    n_rows: int
    discrete: bool
    padded: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def n_agents(self) -> int:
        return int(self.stores["observations"].shape[2])

    def rows(self, key: str, stream: int, start: int, stop: int) -> np.ndarray:
        """Rows of one array in memory. Raises DatasetError where the store is damaged."""
        try:
            found = np.asarray(self.stores[key][stream, start:stop].read().result())
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise _damage(self.folder, key, error) from error
        return found.astype(np.uint8) if found.dtype == np.bool_ else found


def read_metadata(path: Path) -> dict[str, Any] | None:
    """The vault's metadata; None where the file is no mapping in JSON."""
    file = path / "metadata.json"
    try:
        if file.stat().st_size > _LARGEST_METADATA:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their names, joined by dots."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and prefix.count(".") < 3:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def open_vault(path: Path) -> Vault:
    """Open a vault and read its first row. Raises DatasetError where it is none, or not sound, as far as it shows."""
    metadata = read_metadata(path)
    if metadata is None:
        uids = sorted(file.parent.name for file in path.glob("*/metadata.json")) if path.is_dir() else []
        hint = f"; name one of its datasets: {', '.join(uids[:10])}" if uids else ""
        raise DatasetError(f"{path} holds no metadata.json of a vault, or a damaged one{hint}")
    version = metadata.get("version")
    shapes = metadata.get("structure_shape")
    if not isinstance(version, int | float) or version // 1 != 1 or not isinstance(shapes, dict):
        raise DatasetError(f"{path / 'metadata.json'} is not of a vault's version 1; write it with a newer flashbax")
    stated = _shapes(path, leaves(shapes))
    for key in REQUIRED:
        if key not in stated:
            raise DatasetError(f"{path} lacks '{key}'; a vault of OG-MARL's has {', '.join(REQUIRED)}")
    try:
        import tensorstore
    except ImportError as error:
        raise DatasetError(_MISSING) from error
    held = _bytes_of(path)
    stores = {}
    for key in [*(key for key in (*REQUIRED, *OPTIONAL) if key in stated), "vault_index"]:
        base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{path.resolve()}/"}}
        name = key if key == "vault_index" else f"{key}."
        try:
            spec = {"driver": "zarr", "kvstore": {**base, "path": name}}
            stores[key] = tensorstore.open(spec, open=True, read=True).result()
        except (ValueError, OSError, RuntimeError) as error:
            raise _damage(path, key, error) from error
    try:
        n_rows = int(stores.pop("vault_index").read().result()[0])
    except (ValueError, OSError, RuntimeError, IndexError) as error:
        raise _damage(path, "vault_index", error) from error
    row_bytes = _check_stores(path, stores, stated, n_rows)
    check_expansion(path, row_bytes * n_rows * int(stores["actions"].shape[0]), held)
    discrete = stores["actions"].dtype.numpy_dtype.kind in "biu"
    vault = Vault(path, stores, int(stores["actions"].shape[0]), n_rows, discrete, np.zeros(0, bool))
    first = vault.rows("observations", 0, 0, 1)[0]  # (N, O)
    return replace(vault, padded=np.isneginf(first), names=tuple(stated))


def _shapes(path: Path, stated: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes that metadata state as texts such as "(1, 1000, 3)"."""
    found = {}
    for key, text in stated.items():
        try:
            shape = literal_eval(text) if isinstance(text, str) and len(text) < 200 else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            shape = None
        if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise DatasetError(f"{path / 'metadata.json'}: the shape of '{printable(key)[:40]}' is no tuple of sizes")
        found[key] = shape
    return found


def _bytes_of(path: Path) -> int:
    """Bytes of the vault's files. Raises DatasetError where one of them is a link that leads out of the folder."""
    root, held = path.resolve(), 0
    for file in root.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise DatasetError(f"{file} is a link that leads out of {path}; copy what it leads to into the folder")
        held += file.stat().st_size if file.is_file() else 0
    return held


def _check_stores(path: Path, stores: Mapping[str, Any], stated: Mapping[str, tuple[int, ...]], n_rows: int) -> int:
    """Bytes of one row. Raises DatasetError unless the arrays are numbers of axes and sizes that belong together."""
    obs = tuple(int(size) for size in stores["observations"].shape)
    if len(obs) != 4 or n_rows < 2:
        raise DatasetError(f"'observations' in {path} has {n_rows} rows of shape {obs[2:]}; (agents, size) is needed")
    agents, row_bytes = obs[2], 0
    wanted: dict[str, tuple[Any, ...]] = {
        "actions": (agents,) if len(stores["actions"].shape) == 3 else (agents, None), "rewards": (agents,),
        "terminals": (agents,), "truncations": (agents,), "infos.state": (None,), "infos.legals": (agents, None),
    }  # fmt: skip
    for key, store in stores.items():
        shape = tuple(int(size) for size in store.shape)
        kind = store.dtype.numpy_dtype
        if kind.kind not in "biuf":
            raise DatasetError(f"'{key}' in {path} is of type {kind}; arrays of numbers are needed")
        axes = wanted.get(key, (agents, None))
        if len(shape) > 1 and shape[1] < n_rows:
            raise DatasetError(
                f"'{key}' in {path} has {shape[1]} rows, and vault_index says {n_rows}, so the vault is cut short; "
                "fetch it anew"
            )
        fits = len(shape) == 2 + len(axes) and shape[0] == obs[0] and shape[1] >= n_rows and 0 not in shape
        if not fits or any(want not in (None, have) for have, want in zip(shape[2:], axes, strict=True)):
            raise DatasetError(
                f"'{key}' in {path} has rows of shape {shape[2:]}; beside observations of {obs[2:]} it must be "
                f"({', '.join('size' if want is None else str(want) for want in axes)})"
            )
        if shape[2:] != stated[key][2:]:
            raise DatasetError(f"'{key}' in {path} has rows of {shape[2:]}, metadata.json says {stated[key][2:]}")
        row_bytes += math.prod(shape[2:]) * kind.itemsize
        if math.prod(int(size) for size in store.chunk_layout.read_chunk.shape) * kind.itemsize > _MOST_CHUNK:
            raise DatasetError(f"'{key}' in {path} is stored in chunks that are larger than memory should hold")
    if row_bytes > _MOST_ROW:
        raise DatasetError(f"{path} declares rows of {row_bytes} bytes, more than a dataset can have")
    return row_bytes


def _damage(path: Path, key: str, error: Exception) -> DatasetError:
    words = printable(" ".join(str(error).split()))[:160]
    return DatasetError(
        f"'{key}' in {path} cannot be read: the vault is damaged or incomplete; fetch it anew ({words})"
    )
