from types import SimpleNamespace

TWO_NUMBERS = frozenset({"gaussian", "tanh_gaussian"})  # mean and log-deviation


def output_width(args: SimpleNamespace) -> int:
    """How many numbers an agent's network puts out: one an action, and two (mean, log-deviation) for Gaussians."""
    n_actions = int(args.n_actions)
    return 2 * n_actions if getattr(args, "agent_output_type", "q") in TWO_NUMBERS else n_actions
