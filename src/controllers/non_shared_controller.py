"""A controller for agents with one network each (agents `mlp_ns` and `rnn_ns`)."""

from controllers.basic_controller import BasicMAC


class NonSharedMAC(BasicMAC):
    """A controller whose agents each have their own network and input statistics."""

    unshared = True
