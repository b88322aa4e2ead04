"""Errors a user can mend. Each carries one sentence that names the key, file or shape at fault and the remedy."""


class UserError(Exception):
    """Bad input; `main.py` prints the message as one line and exits with status 1."""


class ConfigError(UserError):
    """A configuration key, name or combination that cannot work."""


class DatasetError(UserError):
    """A dataset file that is missing, damaged or does not fit the run."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or belongs to another run."""


class EnvError(UserError):
    """An environment that is unknown, not installed or does not fit the run."""


class TrainingError(UserError):
    """Training that cannot go on, such as a non-finite loss."""
