from .parallel_runner import ParallelRunner


class EpisodeRunner(ParallelRunner):
    def __init__(self, args, logger):
        assert args.batch_size_run == 1
        super().__init__(args, logger)
        self.env = self.envs[0]
