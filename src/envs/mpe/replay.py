"""Animated GIFs of episodes."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.errors import EnvError

FRAMES_PER_SECOND = 10


def write_gif(path: str | Path, frames: Sequence[np.ndarray]) -> None:
    """Writes uint8 frames (height, width, 3) to `path`, replacing it only once the new file is complete.

    Raises `EnvError` if there are no frames or the folder cannot be written to.
    """
    if not frames:
        raise EnvError("There are no frames to save: reset the environment and play an episode first.")
    target = Path(path)
    images = [Image.fromarray(frame) for frame in frames]
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        images[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=1000 // FRAMES_PER_SECOND,
            loop=0,
        )
        os.replace(partial, target)
    except OSError as error:
        raise EnvError(f"The replay cannot be written to {target}: {error.strerror or error}.") from error
