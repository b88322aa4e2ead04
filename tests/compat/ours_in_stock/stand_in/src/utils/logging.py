import logging
from collections import defaultdict


class Logger:
    def __init__(self, console_logger):
        self.console_logger, self.stats = console_logger, defaultdict(list)
        self.use_tb = self.use_wandb = self.use_sacred = False

    def setup_sacred(self, run):
        self._run, self.use_sacred = run, True

    def log_stat(self, key, value, t, to_sacred=True):
        self.stats[key].append((t, value))
        if self.use_sacred and to_sacred:
            self._run.info.setdefault(f"{key}_T", []).append(t)
            self._run.info.setdefault(key, []).append(value)
            self._run.log_scalar(key, value, t)

    def print_recent_stats(self):
        self.console_logger.info(f"Recent Stats {self.stats['episode'][-1]}")

    def finish(self):
        pass


def get_logger():
    logging.basicConfig(level="INFO")
    return logging.getLogger()
