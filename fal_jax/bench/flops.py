"""Floating-point operations and bytes that each part of the work needs, counted by hand.

Measured times are compared with them. An addition and a multiplication count as two operations. The
network's count is that of its convolutions; BatchNorm, ReLU, pooling and sums add a few
thousandths. Bytes are the minimum that must pass through memory, in float32.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

STEM_STRIDE = 2  # crop px per px of the first convolution's result
STRIDE = 4  # crop px per heatmap px


def forward(config: ConfigDict) -> int:
  """FLOPs of the network on one image."""
  return sum(
    2 * side**2 * inputs * outputs * kernel**2
    for side, inputs, outputs, kernel in _convolutions(config)
  )


def train_step(config: ConfigDict) -> int:
  """FLOPs of one image in all its views: forward, and backward to the inputs and to the weights."""
  return 3 * config.siamese.num_views * forward(config)


def encode(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's heatmaps: one product of two profiles per cell."""
  cells = _cells(config)
  return cells, 4 * cells


def decode(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's heatmaps: each cell is read and compared."""
  cells = _cells(config)
  return cells, 4 * cells


def warp(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of pulling back all heatmaps of one image's views.

  Per cell four products and four sums, one read and one write.
  """
  cells = config.model.num_stacks * config.siamese.num_views * _cells(config)
  return 8 * cells, 8 * cells


def warp_with_gradient(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of `warp` and its transpose."""
  operations, size = warp(config)
  return 2 * operations, 2 * size


def render(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's views.

  Per value the warp's eight operations and about fifteen for colour.
  """
  values = 3 * config.siamese.num_views * config.crop.size**2
  return 23 * values, 4 * values + 3 * config.crop.stored_size**2


def _heatmap_side(config: ConfigDict) -> int:
  """Cells along either side of a heatmap."""
  return config.crop.size // STRIDE


def _cells(config: ConfigDict) -> int:
  """Cells of all heatmaps of one image."""
  return _heatmap_side(config) ** 2 * config.data.markup


def _convolutions(config: ConfigDict) -> Iterator[tuple[int, int, int, int]]:
  """Every convolution: side of its result, channels in and out, side of its kernel.

  Of a depthwise one, each channel of the result is made from one.
  """
  return _mobile_unet(config) if config.model.name == "mobile_unet" else _fan(config)


def _fan(config: ConfigDict) -> Iterator[tuple[int, int, int, int]]:
  """Those of FAN; follows the published layer list rather than `hourglass.py`."""
  features = config.model.features
  landmarks = config.data.markup
  half = config.crop.size // STEM_STRIDE
  side = _heatmap_side(config)

  # ---- Stem
  yield half, 3, features // 4, 7
  yield from _block(half, features // 4, features // 2)
  yield from _block(side, features // 2, features // 2)
  yield from _block(side, features // 2, features)

  for stack in range(config.model.num_stacks):
    # ---- Hourglass
    for level in range(config.model.depth):
      yield from _block(side >> level, features, features)  # skip connection
      yield from _block(side >> level + 1, features, features)  # on the way down
      yield from _block(side >> level + 1, features, features)  # on the way up
    yield from _block(side >> config.model.depth, features, features)  # at the bottom
    yield from _block(side, features, features)  # on top

    # ---- Heatmaps, and their way into the next stack
    yield side, features, features, 1
    yield side, features, landmarks, 1
    if stack + 1 < config.model.num_stacks:
      yield side, features, features, 1
      yield side, landmarks, features, 1


def _block(side: int, inputs: int, outputs: int) -> Iterator[tuple[int, int, int, int]]:
  """The convolutions of one residual block, as in `_convolutions`."""
  yield side, inputs, outputs // 2, 3
  yield side, outputs // 2, outputs // 4, 3
  yield side, outputs // 4, outputs // 4, 3
  if inputs != outputs:
    yield side, inputs, outputs, 1


def _mobile_unet(config: ConfigDict) -> Iterator[tuple[int, int, int, int]]:
  """Those of MobileUNet."""
  features, expansion = config.model.features, config.model.expansion
  stem = features // 2
  side = _heatmap_side(config)

  yield 2 * side, 3, stem, 4
  yield from _inverted_residual(2 * side, stem, stem, expansion=1)
  yield from _inverted_residual(side, stem, features, expansion=expansion, halves=True)

  width = features
  for _ in range(config.model.depth):
    wider = width + stem
    yield from _inverted_residual(side, width, width, expansion=expansion)
    yield from _inverted_residual(side // 2, width, wider, expansion=expansion, halves=True)
    yield from _inverted_residual(side // 2, wider, width, expansion=expansion)  # on the way up
    side, width = side // 2, wider
  yield from _inverted_residual(side, width, width, expansion=expansion)  # at the bottom

  yield from _inverted_residual(
    _heatmap_side(config), features, config.data.markup, expansion=expansion
  )


def _inverted_residual(
  side: int, inputs: int, outputs: int, *, expansion: int, halves: bool = False
) -> Iterator[tuple[int, int, int, int]]:
  """The convolutions of one inverted residual, as in `_convolutions`."""
  hidden = expansion * inputs
  if expansion > 1:
    yield (2 * side if halves else side), inputs, hidden, 1
  yield side, 1, hidden, 4 if halves else 3
  yield side, hidden, outputs, 1
