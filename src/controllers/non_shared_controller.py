"""A controller whose agents have parameters of their own (agents `mlp_ns`, `rnn_ns`)."""

from controllers.basic_controller import BasicMAC


class NonSharedMAC(BasicMAC):
    """Each agent has its own network, fed with its own statistics."""

    unshared = True
