"""A guard for code that must run on a GPU without waiting for it."""

from __future__ import annotations

from typing import Any

import torch as th
from torch.utils._python_dispatch import TorchDispatchMode


class NoDeviceReads(TorchDispatchMode):
    """Raises at any operation whose result or size the host must wait for, however it was asked for."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "_unique2")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.READS, f"{name} reads the device"
        indices = args[1] if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple) else ()
        assert not any(i is not None and i.dtype == th.bool for i in indices), "a mask as an index reads the device"
        assert not (name == "_to_copy" and (kwargs or {}).get("device") is not None), "a tensor changes device"
        return func(*args, **(kwargs or {}))
