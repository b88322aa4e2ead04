"""Keys of every kind of critic."""

from utils.keys import COUNT, Key

ENSEMBLE_SIZE = Key("number of critics, and of target critics", COUNT)
