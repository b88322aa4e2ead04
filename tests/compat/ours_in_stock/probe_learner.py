"""A learner that writes down what stock's loop trains it on: put into a checkout by the tests, not imported by them."""

from __future__ import annotations

from typing import Any

import torch as th


class ProbeLearner:
    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Any, args: Any) -> None:
        self.args, self.statistics = args, {"scheme": scheme["obs"]["mean"], "agent": mac.agent.normaliser.mean.clone()}
        self.batches: list[dict[str, th.Tensor]] = []

    def train(self, batch: Any, t_env: int, episode_num: int) -> None:
        terminated = batch["terminated"][:, :-1].float()
        mask = batch["filled"][:, :-1].float()
        mask[:, 1:] = mask[:, 1:] * (1 - terminated[:, :-1])
        kept = {key: value.clone() for key, value in batch.data.transition_data.items()}
        self.batches.append({"mask": mask, "t_env": th.tensor(t_env), **kept})
        th.save({"batches": self.batches, "statistics": self.statistics}, self.args.probe_to)

    def cuda(self) -> None:
        pass

    def save_models(self, path: str) -> None:
        pass

    def load_models(self, path: str) -> None:
        pass
