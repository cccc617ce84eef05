"""A builder of ONNX graphs: one node per line of code, every constant stored once.

The operators are those of ONNX's standard set, see https://onnx.ai/onnx/operators; their inputs and
attributes are named there.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18  # onnxruntime 1.14 and later
# Of the file format, as old as that opset: readers refuse files that are newer than they are.
IR_VERSION = 8

# A value of the graph, by its name.
Tensor = str
# What a node reads: a tensor, or a constant.
Input = Tensor | np.ndarray | float | Sequence[int]


class Graph:
  """A graph under construction.

  Every node has one name, which its result carries too: `add("Relu", x, name="relu")` is the tensor
  "relu", and "bn1/relu" if it is added to `graph.inside("bn1")`.
  """

  def __init__(self) -> None:
    self._path = ""
    self._nodes: list[onnx.NodeProto] = []
    self._inputs: list[onnx.ValueInfoProto] = []
    self._outputs: list[onnx.ValueInfoProto] = []
    self._constants: dict[tuple[Any, ...], onnx.TensorProto] = {}
    self._names: set[str] = set()

  def inside(self, name: str) -> "Graph":
    """The same graph for a part of it, whose nodes' names begin with the part's."""
    part = copy.copy(self)  # which shares all lists
    part._path = f"{self._path}{name}/"
    return part

  def input(self, name: str, dtype: type, shape: Sequence[int | str], *, doc: str) -> Tensor:
    """Declares an input.

    Args:
      name: its name, by which it is fed.
      dtype: NumPy's type of its elements.
      shape: its axes, text for those of any length.
      doc: what it is.

    Returns:
      The tensor.
    """
    tensor = self._new(name)
    self._inputs.append(_value_info(tensor, dtype, shape, doc))
    return tensor

  def output(self, name: Tensor, dtype: type, shape: Sequence[int | str], *, doc: str) -> None:
    """Declares that a tensor of the graph is an output; arguments as of `input`."""
    self._outputs.append(_value_info(name, dtype, shape, doc))

  def add(self, op: str, *inputs: Input, name: str, **attributes: Any) -> Tensor:
    """Adds a node with one result.

    Args:
      op: the operator.
      inputs: tensors of the graph; constants: arrays, of which float64 ones are stored as float32,
        float scalars, or lists of int64.
      name: of the node and its result.
      attributes: of the operator.

    Returns:
      The result.
    """
    (result,) = self._add(op, inputs, name, [name], attributes)
    return result

  def split(self, x: Tensor, sizes: Sequence[int], *, axis: int, names: str) -> list[Tensor]:
    """Cuts a tensor along an axis.

    Args:
      x: what to cut.
      sizes: lengths of the pieces.
      axis: along which.
      names: of the pieces, with blanks in between.

    Returns:
      The pieces.
    """
    name = "split_" + "_".join(names.split())
    return self._add("Split", (x, list(sizes)), name, names.split(), {"axis": axis})

  def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
    """The finished graph as a model, checked.

    Args:
      metadata: of the file, text by key.

    Returns:
      The model.
    """
    graph = helper.make_graph(
      self._nodes,
      "fal_jax",
      self._inputs,
      self._outputs,
      initializer=list(self._constants.values()),
    )
    model = helper.make_model(
      graph,
      opset_imports=[helper.make_opsetid("", OPSET)],
      ir_version=IR_VERSION,
      producer_name="fal_jax",
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model

  def _add(
    self,
    op: str,
    inputs: Sequence[Input],
    name: str,
    results: Sequence[str],
    attributes: dict[str, Any],
  ) -> list[Tensor]:
    names = [
      value if isinstance(value, str) else self._constant(value, f"{name}.{number}")
      for number, value in enumerate(inputs)
    ]
    outputs = [self._new(result) for result in results]
    node = helper.make_node(op, names, outputs, name=self._path + name, **attributes)
    self._nodes.append(node)
    return outputs

  def _constant(self, value: Input, name: str) -> Tensor:
    """Stores a constant; small ones are named after their value, others after their first user."""
    array = np.asarray(value)
    if array.dtype == np.float64:
      array = array.astype(np.float32)
    key = (array.dtype.str, array.shape, array.tobytes())
    if key not in self._constants:
      if array.size <= 4:
        name = f"{array.dtype}_{array.tolist()}".replace(" ", "")
        self._names.add(name)
      else:
        name = self._new(name)
      self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(array), name)
    return self._constants[key].name

  def _new(self, name: str) -> str:
    """A name in this part, which nothing else in the graph may have."""
    name = self._path + name
    if name in self._names:
      raise ValueError(f"{name!r} is in the graph already")
    self._names.add(name)
    return name


def _value_info(
  name: str, dtype: type, shape: Sequence[int | str], doc: str
) -> onnx.ValueInfoProto:
  element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
  return helper.make_tensor_value_info(name, element, shape, doc_string=doc)
