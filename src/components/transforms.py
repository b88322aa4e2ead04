"""Preprocessing of batch entries, such as `actions` to `actions_onehot`, the encoding for networks."""

import torch as th
from torch import Tensor


class Transform:
    """Interface of stock EPyMARL: a function of a tensor, and the shape and dtype of its result."""

    def transform(self, tensor: Tensor) -> Tensor:
        raise NotImplementedError

    def infer_output_info(self, vshape_in: tuple[int, ...], dtype_in: th.dtype) -> tuple[tuple[int, ...], th.dtype]:
        raise NotImplementedError


class OneHot(Transform):
    """Encoding of integer actions (..., 1) as one-hot vectors (..., out_dim), float32."""

    def __init__(self, out_dim: int) -> None:
        self.out_dim = out_dim

    def transform(self, tensor: Tensor) -> Tensor:
        encoded = tensor.new_zeros(*tensor.shape[:-1], self.out_dim, dtype=th.float32)
        return encoded.scatter_(-1, tensor.long(), 1.0)

    def infer_output_info(self, vshape_in: tuple[int, ...], dtype_in: th.dtype) -> tuple[tuple[int, ...], th.dtype]:
        return (self.out_dim,), th.float32
