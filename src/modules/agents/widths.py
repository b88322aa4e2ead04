from types import SimpleNamespace


def output_width(args: SimpleNamespace) -> int:
    """How many numbers an agent's network puts out: one an action, and two (mean, log-deviation) for `gaussian`."""
    n_actions = int(args.n_actions)
    return 2 * n_actions if getattr(args, "agent_output_type", "q") == "gaussian" else n_actions
