import torch as th


class Transform:
    def transform(self, tensor):
        raise NotImplementedError

    def infer_output_info(self, vshape_in, dtype_in):
        raise NotImplementedError


class OneHot(Transform):
    def __init__(self, out_dim):
        self.out_dim = out_dim

    def transform(self, tensor):
        return th.nn.functional.one_hot(tensor.squeeze(-1).long(), self.out_dim).float()

    def infer_output_info(self, vshape_in, dtype_in):
        return (self.out_dim,), th.float32
