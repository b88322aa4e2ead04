"""A function of tensors as a list of torch operations: recorded once, then repeated on other values.

What Python, modules, autograd and `vmap` do in between is left out, and what `lane_passes` finds needless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from learners.lane_passes import Operation, View, folded, needed, overwrite, replace_thin, shared


class _Recorder(TorchDispatchMode):
    """Notes what is done below autograd and `vmap`, where all tensors are plain ones."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bases: list[Tensor] = []
        self.views: dict[int, View] = {}  # by the tensor's id; all tensors are kept, so that no id comes twice
        self.kept: list[Tensor] = []
        self.of_memory: dict[int, int] = {}
        self.operations: list[Operation] = []
        for tensor in known:
            self.view(tensor)

    def view(self, tensor: Tensor) -> View:
        """Where a tensor lies; memory that was not known before becomes a base."""
        if id(tensor) not in self.views:
            memory = tensor.untyped_storage()._cdata
            if memory not in self.of_memory or self.bases[self.of_memory[memory]].dtype != tensor.dtype:
                self.of_memory[memory] = len(self.bases)
                self.bases.append(tensor)
            place = tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset())
            self.views[id(tensor)] = View(self.of_memory[memory], *place)
            self.kept.append(tensor)
        return self.views[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, form = tree_flatten(list(args))
        operands = tree_unflatten([self.view(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves], form)
        assert not any(isinstance(leaf, Tensor) for leaf in tree_flatten(kwargs)[0]), func
        result = func(*args, **kwargs)
        operation = Operation(func, operands, kwargs, [])
        if func._schema.is_mutable:
            operation.changes = [self.view(args[0]).base]
        before = len(self.bases)
        for made in result if isinstance(result, tuple | list) else (result,):
            base = self.view(made).base if isinstance(made, Tensor) else -1
            operation.results.append(base if base >= before else None)
        if operation.changes or any(base is not None for base in operation.results):  # a view makes nothing
            self.operations.append(operation)
        return result


class Recording:
    """The operations of a function of `inputs`, which change, and `fixed`, which stay where they are.

    fixed: tensors whose memory is the same in every call, while the numbers in it may change between calls. The
    function must do the same operations whatever the numbers are: Python's numbers and choices are part of the record.
    """

    def __init__(self, function: Callable[[], Any], inputs: Sequence[Tensor], fixed: Sequence[Tensor]) -> None:
        recorder = _Recorder([*inputs, *fixed])
        with recorder:
            result = function()
        outputs, self._form = tree_flatten(result)
        views = [recorder.view(output) for output in outputs]
        self._bases = recorder.bases
        self._inputs = [recorder.view(tensor).base for tensor in inputs]
        stays = {recorder.view(tensor).base for tensor in fixed}
        operations, constants = folded(recorder.operations, {*self._inputs, *stays}, len(self._bases))
        operations, views = shared(operations, views)
        operations = needed(operations, {view.base for view in views})
        replace_thin(operations, self._bases)
        overwrite(operations, {*self._inputs, *stays, *constants, *(view.base for view in views)}, self._bases)
        self._values: list[Any] = [None] * (len(self._bases) + 1)
        self._none = len(self._bases)  # the place of a value that stays None
        for base in stays | constants:
            self._values[base] = self._bases[base]
        self._places: dict[View, int] = {}
        self._program: list[tuple[Any, ...]] = []
        for operation in operations:
            self._add(operation)
        self._outputs = [self._place(view) for view in views]
        self._forget({*self._inputs, *stays, *constants, *self._outputs})
        del self._bases, self._places

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        """The function's result for other inputs of the same sizes and layout."""
        values = self._values.copy()
        for place, tensor in zip(self._inputs, inputs, strict=True):
            values[place] = tensor
        for call, operands, filled, options, results, dead in self._program:
            given = operands.copy()
            for place, source in filled:
                given[place] = values[source] if type(source) is int else [values[each] for each in source]
            made = call(*given, **options)
            if type(results) is int:
                values[results] = made
            elif results is not None:
                for result, value in zip(results, made, strict=True):
                    if result is not None:
                        values[result] = value
            for each in dead:
                values[each] = None
        return tree_unflatten([values[place] for place in self._outputs], self._form)

    def _place(self, view: View) -> int:
        """Where a view's tensor will be, in `values`; one that is new is made by a step of its own, or now."""
        base = self._bases[view.base]
        if (tuple(base.shape), tuple(base.stride()), base.storage_offset()) == (view.size, view.stride, view.offset):
            return view.base
        if view not in self._places:
            place = self._places[view] = len(self._values)
            stays = self._values[view.base]
            self._values.append(None)
            if stays is not None:
                self._values[place] = stays.as_strided(view.size, view.stride, view.offset)
            else:
                operands = [None, view.size, view.stride, view.offset]
                self._program.append((Tensor.as_strided, operands, [(0, view.base)], {}, place))
        return self._places[view]

    def _add(self, operation: Operation) -> None:
        operands = list(operation.operands)
        filled: list[tuple[int, int | tuple[int, ...]]] = []  # positions, and the places of what belongs there
        for place, operand in enumerate(operands):
            if isinstance(operand, View):
                filled.append((place, self._place(operand)))
            elif isinstance(operand, list) and any(isinstance(each, View) for each in operand):
                # An index has None for each dimension that is taken whole.
                assert all(each is None or isinstance(each, View) for each in operand), operation.call
                filled.append((place, tuple(self._none if each is None else self._place(each) for each in operand)))
        results: Any = operation.results
        if len(results) == 1:
            results = results[0]
        self._program.append((operation.call, operands, filled, operation.options, results))

    def _forget(self, kept: set[int]) -> None:
        """Note after which step each value is not needed any more, so that its memory serves again."""
        last: dict[int, int] = {}
        for number, (_, _, filled, _, results) in enumerate(self._program):
            made = results if isinstance(results, list) else [results]
            read = [each for _, source in filled for each in ([source] if isinstance(source, int) else source)]
            last |= dict.fromkeys([place for place in (*made, *read) if place is not None], number)
        dead: dict[int, list[int]] = {}
        for place, number in last.items():
            if place not in kept and self._values[place] is None:
                dead.setdefault(number, []).append(place)
        self._program = [(*step, dead.get(number, ())) for number, step in enumerate(self._program)]
