"""How many floating-point operations and bytes each part of the work needs, by hand: what a
measured time is held against.

An addition and a multiplication count as two. The network's count is that of its convolutions;
BatchNorm, ReLU, pooling and sums are a few thousandths more. Bytes are the least that must pass
through memory, float32.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

STEM, STRIDE = 2, 4  # of the crop's side, after the first convolution and after the first pooling


def forward(config: ConfigDict) -> int:
  """Of the network on one image."""
  return sum(
    2 * side**2 * inputs * outputs * kernel**2
    for side, inputs, outputs, kernel in _convolutions(config)
  )


def train_step(config: ConfigDict) -> int:
  """Of one image in all its views: forward, and backward once to the inputs and once to the
  weights.
  """
  return 3 * config.siamese.num_views * forward(config)


def encode(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's heatmaps: one product of two profiles for each cell."""
  cells = _cells(config)
  return cells, 4 * cells


def decode(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's heatmaps: each cell is compared, each is read."""
  cells = _cells(config)
  return cells, 4 * cells


def warp(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of all heatmaps of one image's views, pulled back: four products and sums each
  cell, one read, one write.
  """
  cells = config.model.num_stacks * config.siamese.num_views * _cells(config)
  return 8 * cells, 8 * cells


def warp_with_gradient(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of `warp` and its transpose."""
  return tuple(2 * number for number in warp(config))  # type: ignore[return-value]


def render(config: ConfigDict) -> tuple[int, int]:
  """FLOPs and bytes of one image's views: the warp of three channels, about fifteen operations for
  colour.
  """
  values = 3 * config.siamese.num_views * config.crop.size**2
  return 23 * values, 4 * values + 3 * config.crop.stored_size**2


def _cells(config: ConfigDict) -> int:
  return (config.crop.size // STRIDE) ** 2 * config.data.markup


def _convolutions(config: ConfigDict) -> Iterator[tuple[int, int, int, int]]:
  """Side of the result, channels in and out, side of the kernel; after the published layer list,
  not after `hourglass.py`.
  """
  features, landmarks = config.model.features, config.data.markup
  half, side = config.crop.size // STEM, config.crop.size // STRIDE
  yield half, 3, features // 4, 7
  yield from _block(half, features // 4, features // 2)
  yield from _block(side, features // 2, features // 2)
  yield from _block(side, features // 2, features)
  for stack in range(config.model.num_stacks):
    for level in range(config.model.depth):
      yield from _block(side >> level, features, features)  # beside
      yield from _block(side >> level + 1, features, features)  # on the way down
      yield from _block(side >> level + 1, features, features)  # on the way up
    yield from _block(side >> config.model.depth, features, features)  # at the bottom
    yield from _block(side, features, features)  # on top
    yield side, features, features, 1
    yield side, features, landmarks, 1
    if stack + 1 < config.model.num_stacks:
      yield side, features, features, 1
      yield side, landmarks, features, 1


def _block(side: int, inputs: int, outputs: int) -> Iterator[tuple[int, int, int, int]]:
  yield side, inputs, outputs // 2, 3
  yield side, outputs // 2, outputs // 4, 3
  yield side, outputs // 4, outputs // 4, 3
  if inputs != outputs:
    yield side, inputs, outputs, 1
