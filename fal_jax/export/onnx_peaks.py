"""`peaks.py` as an ONNX graph: where in the window around the highest cell the peak lies.

Windows are (B, K, d * d) float32, row by row, -inf beyond the map; positions are (B, K, 2) float32,
(x, y) in heatmap px from the window's centre cell.
"""

import numpy as np
import onnx

from fal_jax import peaks
from fal_jax.export.onnx_graph import Graph, Tensor


def windows(
  graph: Graph, heatmaps: Tensor, row: Tensor, column: Tensor, *, map_size: int, size: int
) -> Tensor:
  """Writes `peaks.windows`: cells of a map that has a margin of -inf.

  Args:
    graph: where to.
    heatmaps: (B, K, H, H) float32.
    row: (B, K, 1) int64, of the centre cells.
    column: (B, K, 1) int64.
    map_size: H.
    size: odd side d of a window.

  Returns:
    (B, K, d * d) float32.
  """
  graph = graph.inside(f"window{size}")
  margin = size // 2
  width = map_size + 2 * margin
  pads = [0, 0, margin, margin] * 2
  padded = graph.add("Pad", heatmaps, pads, -np.inf, name="padded_map")
  flat = graph.add("Reshape", padded, [0, 0, -1], name="flat_map")

  # In the padded map, the centre's own row and column are those of the window's first cell.
  first = graph.add("Mul", row, np.array(width), name="first_of_row")
  first = graph.add("Add", first, column, name="first_cell")
  rows, columns = np.mgrid[:size, :size]
  cells = graph.add("Add", first, (rows * width + columns).ravel(), name="cells")
  return graph.add("GatherElements", flat, cells, name="heat", axis=2)


def softmax_mean(graph: Graph, heat: Tensor, *, size: int, temperature: float) -> Tensor:
  """Writes `peaks.softmax_mean`.

  Args:
    graph: where to.
    heat: (B, K, size * size) float32.
    size: side of the window, or of the whole map.
    temperature: tau of Eq. 4.

  Returns:
    (B, K, 2) float32.
  """
  graph = graph.inside("softargmax")
  logits = graph.add("Mul", heat, float(temperature), name="logits")
  share = graph.add("Softmax", logits, name="share", axis=-1)
  return graph.add("MatMul", share, _cells(size).T, name="mean")


def higher_neighbour(graph: Graph, heat: Tensor) -> Tensor:
  """Writes `peaks.higher_neighbour`.

  Args:
    graph: where to.
    heat: (B, K, 9) float32.

  Returns:
    (B, K, 2) float32: -1, 0 or 1.
  """
  graph = graph.inside("neighbours")
  after = graph.add("Gather", heat, [5, 7], name="right_and_below", axis=2)
  before = graph.add("Gather", heat, [3, 1], name="left_and_above", axis=2)
  slope = graph.add("Sub", after, before, name="slope")
  side = graph.add("Sign", slope, name="side")
  inside = _is_finite(graph, slope, name="inside")
  return graph.add("Where", inside, side, 0.0, name="higher")


def log_parabola(graph: Graph, heat: Tensor) -> Tensor:
  """Writes `peaks.log_parabola`.

  Args:
    graph: where to.
    heat: (B, K, 9) float32.

  Returns:
    (B, K, 2) float32, at most one cell to either side.
  """
  graph = graph.inside("dark")
  add = graph.add

  # Slopes along x and y, curvatures along x and y, and the mixed one, as differences of cells.
  differences = np.zeros((5, 3, 3))
  differences[0, 1] = -0.5, 0, 0.5
  differences[1, :, 1] = -0.5, 0, 0.5
  differences[2, 1] = 1, -2, 1
  differences[3, :, 1] = 1, -2, 1
  differences[4, ::2, ::2] = (0.25, -0.25), (-0.25, 0.25)
  log = add("Log", add("Max", heat, 1e-10, name="positive"), name="log")
  derivatives = add("MatMul", log, differences.reshape(5, 9).T, name="derivatives")
  slope, curvature, mixed = graph.split(
    derivatives, [2, 2, 1], axis=2, names="slope_inside curvature_inside mixed_inside"
  )

  # An axis with a neighbour beyond the map keeps its cell; the other axis is read alone.
  one_side = add("Gather", heat, [3, 1], name="left_and_above", axis=2)
  other_side = add("Gather", heat, [5, 7], name="right_and_below", axis=2)
  lower = add("Min", one_side, other_side, name="lower_neighbour")
  open_axis = add("IsInf", lower, name="open", detect_positive=0)
  open_x, open_y = graph.split(open_axis, [1, 1], axis=2, names="open_x open_y")
  slope = add("Where", open_axis, 0.0, slope, name="slope")
  curvature = add("Where", open_axis, -1.0, curvature, name="curvature")
  mixed = add("Where", add("Or", open_x, open_y, name="open_any"), 0.0, mixed, name="mixed")

  # Newton's step to the summit, by Cramer's rule: (mixed dy - dyy dx, mixed dx - dxx dy) / det.
  dxx, dyy = graph.split(curvature, [1, 1], axis=2, names="dxx dyy")
  product = add("Mul", dxx, dyy, name="product")
  determinant = add("Sub", product, add("Mul", mixed, mixed, name="squared"), name="determinant")
  other_slope = add("Gather", slope, [1, 0], name="other_slope", axis=2)
  other_curvature = add("Gather", curvature, [1, 0], name="other_curvature", axis=2)
  across = add("Mul", mixed, other_slope, name="across")
  along = add("Mul", other_curvature, slope, name="along")
  numerator = add("Sub", across, along, name="numerator")

  positive = add("Greater", determinant, 0.0, name="definite")
  summit = add("And", positive, add("Less", dxx, 0.0, name="downwards"), name="summit")
  step = add("Div", numerator, add("Where", summit, determinant, 1.0, name="divisor"), name="step")
  return add("Where", summit, add("Clip", step, -1.0, 1.0, name="near"), 0.0, name="offset")


def gaussian_fit(graph: Graph, heat: Tensor, start: Tensor, *, size: int, sigma: float) -> Tensor:
  """Writes `peaks.gaussian_fit`, its steps one after another.

  Images and landmarks are the last axes inside, so that runtimes compute long rows of numbers, and
  cells or quantities the first ones.

  Args:
    graph: where to.
    heat: (B, K, d * d) float32.
    start: (B, K, 2) float32, a first estimate.
    size: d, at least 3.
    sigma: width the network was taught, heatmap px.

  Returns:
    (B, K, 2) float32, at most (d - 1) / 2 cells to either side.
  """
  graph = graph.inside("fit")
  patch = graph.add("Transpose", heat, name="patch", perm=[2, 0, 1])
  inside = _is_finite(graph, patch, name="inside")
  known = graph.add("Where", inside, patch, 0.0, name="heat")
  mask = graph.add("Cast", inside, name="mask", to=onnx.TensorProto.FLOAT)

  # State: x, y and log(width / sigma), (3, 1, B, K).
  state = graph.add("Transpose", start, name="start", perm=[2, 0, 1])
  state = graph.add("Pad", state, [0, 0, 0, 1, 0, 0], name="start_and_width")
  state = graph.add("Unsqueeze", state, [1], name="state")
  for number in range(peaks.FIT_STEPS):
    step = graph.inside(f"step{number}")
    state = _fit_step(step, known, mask, state, size=size, sigma=sigma)

  centre = graph.add("Slice", state, [0], [2], [0], name="centre")
  centre = graph.add("Squeeze", centre, [1], name="centre_by_axis")
  return graph.add("Transpose", centre, name="centre_by_landmark", perm=[1, 2, 0])


def _fit_step(
  graph: Graph, heat: Tensor, mask: Tensor, state: Tensor, *, size: int, sigma: float
) -> Tensor:
  """One step of Gauss-Newton.

  Args:
    graph: where to.
    heat: (d * d, B, K) float32, 0 beyond the map.
    mask: (d * d, B, K) float32, 1 inside the map and 0 beyond.
    state: (3, 1, B, K) float32, x, y and log(width / sigma).
    size: d.
    sigma: as of `gaussian_fit`.

  Returns:
    The next state.
  """
  add = graph.add

  def total(values: Tensor, *, name: str) -> Tensor:
    """Sum over the window, (n, 1, B, K)."""
    return add("ReduceSum", values, [1], name=name)

  # Model: a Gaussian of height 1 at (x, y) and of the current width, (1, d * d, B, K).
  position, log_width = graph.split(state, [2, 1], axis=0, names="position log_width")
  narrowing = add("Exp", add("Mul", log_width, -2.0, name="log_narrowing"), name="narrowing")
  precision = add("Mul", narrowing, 1 / sigma**2, name="precision")
  distance = add("Sub", _cells(size)[..., None, None], position, name="distance")
  squares = add("Mul", distance, distance, name="squares")
  squared = add("ReduceSum", squares, [0], name="distance_squared")
  exponent = add("Mul", add("Mul", precision, -0.5, name="rate"), squared, name="exponent")
  shape = add("Mul", add("Exp", exponent, name="gaussian"), mask, name="shape")
  weight = add("Mul", shape, shape, name="weight")

  # The model is linear in its height: solve for it, and remove it from residual and slopes.
  weighted = add("Mul", weight, shape, name="weighted_shape")
  norm = total(add("Mul", weight, weight, name="weighted_square"), name="norm")
  amount = total(add("Mul", weighted, heat, name="weighted_heat"), name="amount")
  height = add("Max", add("Div", amount, norm, name="any_height"), 1e-6, name="height")
  residual = add("Sub", add("Div", heat, height, name="scaled_heat"), shape, name="residual")

  directions = add("Concat", distance, squared, name="directions", axis=0)
  steepness = add("Mul", shape, precision, name="steepness")
  slopes = add("Mul", steepness, directions, name="slopes_and_height")
  amounts = total(add("Mul", weighted, slopes, name="weighted_slopes"), name="amounts")
  shares = add("Div", amounts, norm, name="shares_of_height")
  slopes = add("Sub", slopes, add("Mul", shape, shares, name="heights"), name="slopes")

  # Normal equations, their nine different entries in the order of _ENTRIES; the width is damped.
  slopes_and_residual = add("Concat", slopes, residual, name="slopes_and_residual", axis=0)
  weights = add("Mul", weight, slopes, name="weights_of_slopes")
  left = add("Gather", weights, [i for i, _ in _ENTRIES], name="left_factors", axis=0)
  right = add("Gather", slopes_and_residual, [j for _, j in _ENTRIES], name="right", axis=0)
  system = total(add("Mul", left, right, name="products"), name="undamped_system")
  of_width, to_zero = np.zeros((2, len(_ENTRIES), 1, 1, 1))
  of_width[_ENTRIES.index((2, 2))] = peaks.WIDTH_DAMPING
  to_zero[_ENTRIES.index((2, 3))] = -peaks.WIDTH_DAMPING
  damping = add("Add", add("Mul", log_width, to_zero, name="to_zero"), of_width, name="damping")
  change = _solve_symmetric(graph, add("Add", system, damping, name="system"))

  # Short steps within the window: far from the peak the equations are not to be trusted.
  reach = (size - 1) / 2
  longest = np.reshape([0.5, 0.5, 0.2], (3, 1, 1, 1))
  limit = np.reshape([reach, reach, peaks.MAX_LOG_WIDTH], (3, 1, 1, 1))
  change = add("Max", add("Min", change, longest, name="at_most"), -longest, name="change")
  moved = add("Add", state, change, name="moved")
  return add("Max", add("Min", moved, limit, name="below"), -limit, name="state")


# Rows and columns of a symmetric 3 x 3 matrix and, in column 3, the right-hand side.
_ENTRIES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3))


def _solve_symmetric(graph: Graph, system: Tensor) -> Tensor:
  """Writes `peaks._solve_symmetric`.

  Args:
    graph: where to.
    system: (9, 1, B, K) float32, in the order of _ENTRIES.

  Returns:
    (3, 1, B, K) float32, 0 where the matrix is singular.
  """
  add = graph.add

  def entry(i: int, j: int) -> int:
    return _ENTRIES.index((i % 3, j % 3) if i % 3 <= j % 3 else (j % 3, i % 3))

  def factor(down: int, right: int, *, name: str) -> Tensor:
    """The entry that stands so far below and beside each one of the matrix, (6, 1, B, K)."""
    indices = [entry(i + down, j + right) for i, j in _ENTRIES[:6]]
    return add("Gather", system, indices, name=name, axis=0)

  # The adjugate, of which the upper right half is enough.
  first = add("Mul", factor(1, 1, name="a"), factor(2, 2, name="b"), name="first_product")
  second = add("Mul", factor(1, 2, name="c"), factor(2, 1, name="d"), name="second_product")
  adjugate = add("Sub", first, second, name="adjugate")

  # Its rows times the right-hand side, and its first row times the matrix's: the determinant.
  rows = [[entry(i, j) for j in range(3)] for i in (0, 1, 2, 0)]
  columns = [[6, 7, 8]] * 3 + [[entry(0, j) for j in range(3)]]
  left = add("Gather", adjugate, np.array(rows), name="adjugate_rows", axis=0)
  right = add("Gather", system, np.array(columns), name="columns", axis=0)
  products = add("ReduceSum", add("Mul", left, right, name="terms"), [1], name="sums", keepdims=0)
  scaled, determinant = graph.split(products, [3, 1], axis=0, names="scaled_solution determinant")

  regular = add("Greater", determinant, 1e-12, name="regular")
  quotient = add(
    "Div", scaled, add("Where", regular, determinant, 1.0, name="divisor"), name="quotient"
  )
  return add("Where", regular, quotient, 0.0, name="solution")


def _is_finite(graph: Graph, x: Tensor, *, name: str) -> Tensor:
  """Where a tensor is neither infinite nor NaN, bool of its shape."""
  size = graph.add("Abs", x, name=f"{name}_size")
  return graph.add("Less", size, np.inf, name=name)


def _cells(size: int) -> np.ndarray:
  """(2, size * size) float64, x and y of a window's cells from its middle, row by row."""
  rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
  return np.stack([columns.ravel(), rows.ravel()])
