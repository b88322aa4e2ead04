from runners.episode_runner import EpisodeRunner
from runners.parallel_runner import ParallelRunner
from runners.vector_runner import VectorRunner

REGISTRY = {
    "episode": EpisodeRunner,
    "parallel": ParallelRunner,
    "vector": VectorRunner,
}
