"""The same work in PyTorch, which `--mode=bench` runs beside ours, written as is usual there.

Network, views, Siamese loss and decoder. The network is declared anew from the published layer
list. Tensors are (B, C, H, W) in channels_last memory.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict
from torch import nn
from torch.nn import functional as F

from fal_jax import affine, build
from fal_jax.augment import ColourMode

STRIDE = 4  # crop px per heatmap px; declared anew like the network


class Block(nn.Module):
  """Three pre-activated 3x3 convolutions whose raw outputs are concatenated, and a residual."""

  def __init__(self, inputs: int, outputs: int):
    super().__init__()
    half, quarter = outputs // 2, outputs // 4
    self.bn1 = nn.BatchNorm2d(inputs)
    self.conv1 = nn.Conv2d(inputs, half, 3, padding=1, bias=False)
    self.bn2 = nn.BatchNorm2d(half)
    self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
    self.bn3 = nn.BatchNorm2d(quarter)
    self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)

    self.downsample: nn.Module = nn.Identity()
    if inputs != outputs:
      self.downsample = nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """(B, inputs, H, W) to (B, outputs, H, W)."""
    first = self.conv1(F.relu(self.bn1(x)))
    second = self.conv2(F.relu(self.bn2(first)))
    third = self.conv3(F.relu(self.bn3(second)))
    return torch.cat([first, second, third], 1) + self.downsample(x)


class Hourglass(nn.Module):
  """Keeps (B, features, H, W); blocks have the names of the published state dicts."""

  def __init__(self, depth: int, features: int, pool: nn.Module):
    super().__init__()
    self.depth = depth
    self.pool = pool
    names = [f"b{branch}_{level}" for level in range(1, depth + 1) for branch in (1, 2, 3)]
    for name in (*names, "b2_plus_1"):
      self.add_module(name, Block(features, features))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """(B, features, H, W) to the same shape."""
    return self._level(self.depth, x)

  def _level(self, level: int, x: torch.Tensor) -> torch.Tensor:
    low = self.get_submodule(f"b2_{level}")(self.pool(x))
    low = self._level(level - 1, low) if level > 1 else self.get_submodule("b2_plus_1")(low)
    up = F.interpolate(self.get_submodule(f"b3_{level}")(low), scale_factor=2, mode="nearest")
    return self.get_submodule(f"b1_{level}")(x) + up


class FAN(nn.Module):
  """The network of `fal_jax.hourglass`, under the names of the published state dicts."""

  def __init__(self, config: ConfigDict):
    super().__init__()
    features = config.model.features
    landmarks = config.data.markup
    self.stacks = config.model.num_stacks

    self.pool = nn.AvgPool2d(2) if config.model.pool == "avg" else nn.MaxPool2d(2)
    self.conv1 = nn.Conv2d(3, features // 4, 7, stride=2, padding=3)
    self.bn1 = nn.BatchNorm2d(features // 4)
    self.conv2 = Block(features // 4, features // 2)
    self.conv3 = Block(features // 2, features // 2)
    self.conv4 = Block(features // 2, features)

    for i in range(self.stacks):
      self.add_module(f"m{i}", Hourglass(config.model.depth, features, self.pool))
      self.add_module(f"top_m_{i}", Block(features, features))
      self.add_module(f"conv_last{i}", nn.Conv2d(features, features, 1))
      self.add_module(f"bn_end{i}", nn.BatchNorm2d(features))
      self.add_module(f"l{i}", nn.Conv2d(features, landmarks, 1))
      if i < self.stacks - 1:
        self.add_module(f"bl{i}", nn.Conv2d(features, features, 1))
        self.add_module(f"al{i}", nn.Conv2d(landmarks, features, 1))

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) to heatmaps (S, B, K, H / 4, W / 4)."""
    layer = self.get_submodule
    x = F.relu(self.bn1(self.conv1(images)))
    x = self.conv4(self.conv3(self.pool(self.conv2(x))))

    heatmaps = []
    for i in range(self.stacks):
      y = layer(f"conv_last{i}")(layer(f"top_m_{i}")(layer(f"m{i}")(x)))
      y = F.relu(layer(f"bn_end{i}")(y))
      heatmaps.append(layer(f"l{i}")(y))
      if i < self.stacks - 1:
        x = x + layer(f"bl{i}")(y) + layer(f"al{i}")(heatmaps[-1])
    return torch.stack(heatmaps)


def theta(src_from_dst: np.ndarray, *, source: int, result: int, device: str) -> torch.Tensor:
  """Maps between pixels as `F.affine_grid` wants them, which counts from -1 to 1 along either side.

  Args:
    src_from_dst: (N, 2, 3) float, px of the result to px of the source.
    source: side of the source, px.
    result: side of the result, px.
    device: where to put it.

  Returns:
    (N, 2, 3) float32.
  """

  def unit_from_px(side: int) -> np.ndarray:
    return np.array([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1]])

  dst_from_unit = affine.invert(unit_from_px(result))
  unit_from_dst = affine.compose(unit_from_px(source), src_from_dst.astype(np.float64))
  unit_from_unit = affine.compose(unit_from_dst, dst_from_unit)
  return torch.from_numpy(unit_from_unit.astype(np.float32)).to(device)


def sample(images: torch.Tensor, theta: torch.Tensor, size: int) -> torch.Tensor:
  """`fal_jax.affine.warp` of a batch.

  Args:
    images: (N, C, H, W) float.
    theta: (N, 2, 3) float32, as the function of that name returns it.
    size: side of the result, px.

  Returns:
    (N, C, size, size) float.
  """
  grid = F.affine_grid(theta, [len(images), images.shape[1], size, size], align_corners=False)
  return sample_grid(images, grid)


def sample_grid(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
  """Bilinear samples with zeros outside.

  Args:
    images: (N, C, H, W) float.
    grid: (N, rows, columns, 2) float32, as `F.affine_grid` returns it.

  Returns:
    (N, C, rows, columns) float.
  """
  return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def render(
  stored: torch.Tensor,
  theta: torch.Tensor,
  colour: torch.Tensor,
  size: int,
  *,
  colour_mode: ColourMode,
) -> torch.Tensor:
  """Views of stored crops, as `fal_jax.augment.render_view`.

  Args:
    stored: (N, 3, Hs, Hs) uint8.
    theta: (N, 2, 3) float32.
    colour: (N, 3) float32, factors.
    size: side of a view, px.
    colour_mode: what the factors are of, see `augment.ViewRange`.

  Returns:
    (N, 3, size, size) float32 in [0, 1].
  """
  images = sample(stored.float(), theta, size) / 255
  if colour_mode == "channel_gain":
    return (images * colour[:, :, None, None]).clamp(0, 1)

  brightness, contrast, saturation = (colour[:, i, None, None, None] for i in range(3))
  images = (images * brightness).clamp(0, 1)

  mean = images.mean((2, 3), keepdim=True)
  images = ((images - mean) * contrast + mean).clamp(0, 1)

  # The saturation of HSV times a factor, at most 1: the brightest channel stays, and the distances
  # of the others to it grow in proportion.
  value = images.amax(1, keepdim=True)
  max_factor = value / (value - images.amin(1, keepdim=True)).clamp(min=1e-12)
  factor = torch.minimum(saturation, max_factor)
  return (value - (value - images) * factor).clamp(0, 1)


def decode(heatmaps: torch.Tensor, window: int, temperature: float) -> torch.Tensor:
  """Local soft-argmax of all heatmaps at once.

  Args:
    heatmaps: (B, K, H, W) float.
    window: side of the window, cells, odd.
    temperature: tau.

  Returns:
    (B, K, 2) crop px.
  """
  batch, landmarks, height, width = heatmaps.shape
  flat = heatmaps.flatten(2)
  cell = flat.argmax(-1)
  x, y = cell % width, cell // width

  # The window around the highest cell; what it has outside the map gets no weight.
  offset = torch.arange(window, device=heatmaps.device) - window // 2
  rows, columns = y[..., None] + offset, x[..., None] + offset
  row_inside = (rows >= 0) & (rows < height)
  column_inside = (columns >= 0) & (columns < width)
  inside = row_inside[..., :, None] & column_inside[..., None, :]
  row_start = rows.clamp(0, height - 1)[..., :, None] * width
  index = row_start + columns.clamp(0, width - 1)[..., None, :]
  patch = flat.gather(2, index.flatten(2)).view(batch, landmarks, window, window)

  logits = torch.where(inside, temperature * patch, -torch.inf)
  weight = logits.flatten(2).softmax(-1).view_as(patch)
  px = x + (weight.sum(-2) * offset).sum(-1)
  py = y + (weight.sum(-1) * offset).sum(-1)
  return (torch.stack([px, py], -1) + 0.5) * STRIDE - 0.5


def decode_one_by_one(heatmaps: torch.Tensor, window: int, temperature: float) -> torch.Tensor:
  """`decode` as it is often written: a loop over images and landmarks.

  Args:
    heatmaps: (B, K, H, W) float.
    window: side of the window, cells, odd.
    temperature: tau.

  Returns:
    (B, K, 2) crop px.
  """
  positions = torch.empty(*heatmaps.shape[:2], 2)
  reach = window // 2
  for image, maps in enumerate(heatmaps):
    for landmark, heat in enumerate(maps):
      y, x = divmod(int(heat.argmax()), heat.shape[1])
      top, left = max(0, y - reach), max(0, x - reach)
      patch = heat[top : y + reach + 1, left : x + reach + 1]
      weight = (temperature * patch).flatten().softmax(0).view_as(patch)

      columns = torch.arange(left, left + patch.shape[1], device=heat.device)
      rows = torch.arange(top, top + patch.shape[0], device=heat.device)
      px, py = (weight.sum(0) * columns).sum(), (weight.sum(1) * rows).sum()
      positions[image, landmark, 0] = (px + 0.5) * STRIDE - 0.5
      positions[image, landmark, 1] = (py + 0.5) * STRIDE - 0.5
  return positions


def autocast(device: str, bfloat16: bool) -> contextlib.AbstractContextManager:
  """A context in which a network computes in bfloat16, or in which nothing changes."""
  return torch.autocast(device, torch.bfloat16) if bfloat16 else contextlib.nullcontext()


def training_loss(
  config: ConfigDict,
  batch: Mapping[str, np.ndarray],
  views: Mapping[str, np.ndarray],
  device: str,
  *,
  bfloat16: bool = False,
) -> Callable[..., Any]:
  """The loss of a training step on a batch and its views.

  Everything after the uint8 crops happens on the device.

  Args:
    config: a config with the head "heatmaps", no `view_loss` and no `window_loss`.
    batch: `image` (B, Hs, Hs, 3) uint8 and `landmarks` (B, K, 2) float32 crop px, all annotated.
    views: `view_from_crop` (V, B, 2, 3) float32 px, `mirrored` (V, B) bool and `colour` (V, B, 3)
      float32 factors.
    device: "cpu" or "cuda".
    bfloat16: whether the network computes in bfloat16, by autocast.

  Returns:
    A function of the network that returns its loss, a scalar tensor.
  """
  rule = build.crop_rule(config)
  size, side = rule.size, rule.size // STRIDE
  num_views, count = views["mirrored"].shape

  # ---- Maps: from the stored crops to the views, and back from their heatmaps
  view_from_crop = views["view_from_crop"].astype(np.float64).reshape(-1, 2, 3)
  stored_from_crop = affine.invert(rule.crop_from_stored)
  stored_from_view = affine.compose(stored_from_crop, affine.invert(view_from_crop))
  view_maps = theta(stored_from_view, source=rule.stored_size, result=size, device=device)
  small_view_from_crop = affine.at_stride(view_from_crop, STRIDE)
  back = theta(small_view_from_crop, source=side, result=side, device=device)

  # ---- Constants on the device
  def on_device(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(device)

  stored = torch.from_numpy(batch["image"]).to(device).permute(0, 3, 1, 2)
  landmarks = on_device(batch["landmarks"])
  colour = on_device(views["colour"].reshape(-1, 3))
  mirrored = on_device(views["mirrored"].reshape(-1, 1, 1, 1))
  flip = on_device(np.array(build.markup(config).flip, np.int64))
  cells = torch.arange(float(side), device=device)
  ones = torch.ones(len(view_maps), 1, side, side, device=device)

  def loss(network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    repeated = stored.repeat(num_views, 1, 1, 1)
    images = render(repeated, view_maps, colour, size, colour_mode=config.augment.colour_mode)
    images = images.contiguous(memory_format=torch.channels_last)
    with autocast(device, bfloat16):
      heatmaps = network(images)
    heatmaps = heatmaps.float()

    # Combine the views in the crop's frame.
    pulled = torch.stack(
      [sample(torch.where(mirrored, maps[:, flip], maps), back, side) for maps in heatmaps]
    )
    total = pulled.unflatten(1, (num_views, count)).sum(1)
    seen = sample(ones, back, side).unflatten(0, (num_views, count)).sum(0)
    if config.siamese.reduce == "mean":
      total = total / seen.clamp(min=1e-6)

    # Compare with Gaussians around the landmarks.
    centre = (landmarks + 0.5) / STRIDE - 0.5
    distances = (cells - centre[..., i, None] for i in (0, 1))
    x, y = (torch.exp(-0.5 * (distance / config.codec.sigma) ** 2) for distance in distances)
    target = y[..., :, None] * x[..., None, :]
    if config.siamese.target_scale is not None:
      target = config.siamese.target_scale * target
    elif config.siamese.reduce == "sum":
      target = seen * target
    return (seen.clamp(max=1) * (total - target) ** 2).sum() / landmarks[..., 0].numel()

  return loss


def train_step(
  config: ConfigDict, network: nn.Module, loss: Callable[..., Any], *, compiled: bool
) -> Callable[[], torch.Tensor]:
  """A function that takes one step of Adam each time it is called.

  Args:
    config: gives the learning rate.
    network: the one to train.
    loss: from `training_loss`.
    compiled: whether the network goes through `torch.compile`; renderer and loss stay as they are.

  Returns:
    The function; it returns the loss before the step, a scalar tensor.
  """
  optimiser = torch.optim.Adam(network.parameters(), lr=config.optimizer.learning_rate)
  network.train()
  forward = torch.compile(network) if compiled else network

  def step() -> torch.Tensor:
    optimiser.zero_grad(set_to_none=True)
    value = loss(forward)
    value.backward()
    optimiser.step()
    return value.detach()

  return step
