"""Animated GIFs of episodes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.errors import EnvError
from utils.files import writing_file

FRAMES_PER_SECOND = 10


def write_gif(path: str | Path, frames: Sequence[np.ndarray]) -> None:
    """Write uint8 frames (height, width, 3) to `path`; an existing file is replaced once the new one is complete.

    Raises `EnvError` where there are no frames or the folder cannot be written to.
    """
    if not frames:
        raise EnvError("there are no frames to save: reset the environment and play an episode first")
    try:
        save_gif(Path(path), frames)
    except OSError as error:
        raise EnvError(
            f"the replay cannot be written to {path} ({error.strerror or error}); set another env_args.replay_path"
        ) from error


def save_gif(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write at least one uint8 frame (height, width, 3) to `path`. Raises OSError where it cannot be written."""
    images = map(Image.fromarray, frames)  # one at a time: each is a copy of its frame
    with writing_file(path) as temporary:
        next(images).save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images,
            duration=1000 // FRAMES_PER_SECOND,
            loop=0,
        )
