"""What the command's options, and files of ours, mean to the importer of PyMARL's padded episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.exporters import export_dataset
from tests.datasets.importers.foreign import imported, refused, set_on_disk
from tests.datasets.importers.padded import batch, write_h5

OFFERED = ("avail_actions", "actions_onehot")


def floats(path: Path, *left_out: str) -> Path:
    """The batch with actions as floats, without some arrays."""
    arrays = {key: array for key, array in batch().items() if key not in left_out}
    return write_h5(path, arrays | {"actions": arrays["actions"].astype(np.float32)})


def test_a_number_of_actions_makes_whole_floats_discrete(tmp_path: Path) -> None:
    found = imported("pymarl", floats(tmp_path / "a.h5", *OFFERED), tmp_path, n_actions="5")
    assert found.card["action_space"] == "discrete" and found.card["n_actions"] == 5
    assert found.arrays["actions"].dtype == np.int64 and "action_low" not in found.card
    np.testing.assert_array_equal(found.arrays["actions"][:3, :, 0], batch()["actions"][0, :3, :, 0])
    arrays = batch()
    arrays = {key: array for key, array in arrays.items() if key not in OFFERED}
    source = write_h5(tmp_path / "b.h5", arrays | {"actions": arrays["actions"] + np.float32(0.5)})
    refused("pymarl", source, tmp_path, "'actions' is no whole number on row 0, as discrete actions are", n_actions="5")
    source = write_h5(tmp_path / "c.h5", arrays | {"actions": np.zeros((*arrays["actions"].shape[:3], 2), np.float32)})
    refused("pymarl", source, tmp_path, "--n-actions is '5', and 'actions' in .* are continuous; leave", n_actions="5")


@pytest.mark.parametrize("left_out", [(), OFFERED[:1], OFFERED[1:]])
def test_options_that_contradict_the_file_are_refused(left_out: tuple[str, ...], tmp_path: Path) -> None:
    source = floats(tmp_path / "a.h5", *left_out)
    refused("pymarl", source, tmp_path, "--n-actions is '4', and .* tells of 5 actions; leave it out", n_actions="4")
    refused("pymarl", source, tmp_path, "--bounds is '-2,2', and 'actions' in .* are discrete", bounds="-2,2")
    assert imported("pymarl", source, tmp_path, n_actions="5").card["n_actions"] == 5


def test_options_that_contradict_our_export_are_refused(tmp_path: Path) -> None:
    for name, folder in (("pymarl", "out.h5"), ("minari", "out-v0")):
        for kind, message in (("continuous", "states its own"), ("discrete", "are discrete")):
            place = tmp_path / kind
            place.mkdir(exist_ok=True)
            export_dataset(name, set_on_disk(place / f"{name}-set.h5", kind), place / folder)
            refused(name, place / folder, place, f"--bounds is '-2,2', and .* {message}; leave it out", bounds="-2,2")
    source = tmp_path / "continuous" / "out.h5"
    refused("pymarl", source, tmp_path, "--n-actions is '3', and 'actions' in .* are continuous", n_actions="3")


def test_a_dataset_of_ours_needs_no_import(tmp_path: Path) -> None:
    path = set_on_disk(tmp_path / "a.h5").path
    refused("pymarl", path, tmp_path, "is a dataset of this project already, which needs no import; use it as it is")
