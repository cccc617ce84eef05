"""FAN in PyTorch, declared independently: what fal_jax.hourglass must match in every layer.

It follows the published layer list and shares no code with the published package; the names of its
modules are those of its state dicts.
"""

import io
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

LANDMARKS = 5  # of `small`


class Block(nn.Module):
  """Three pre-activated 3x3 convolutions whose raw outputs are concatenated, and a residual."""

  def __init__(self, inputs: int, outputs: int):
    super().__init__()
    widths = (inputs, outputs // 2, outputs // 4, outputs // 4)

    for i in (1, 2, 3):
      self.add_module(f"bn{i}", nn.BatchNorm2d(widths[i - 1]))
      self.add_module(f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], 3, padding=1, bias=False))

    if inputs != outputs:
      self.downsample = nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """(B, inputs, H, W) to (B, outputs, H, W)."""
    first = self.conv1(F.relu(self.bn1(x)))
    second = self.conv2(F.relu(self.bn2(first)))
    third = self.conv3(F.relu(self.bn3(second)))

    residual = self.downsample(x) if hasattr(self, "downsample") else x
    return torch.cat([first, second, third], 1) + residual


class Hourglass(nn.Module):
  """Blocks b1, b2, b3 at each level, and b2_plus at the lowest."""

  def __init__(self, depth: int, features: int, pool: nn.Module):
    super().__init__()
    self.depth = depth
    self.pool = pool

    for level in range(1, depth + 1):
      for branch in (1, 2, 3):
        self.add_module(f"b{branch}_{level}", Block(features, features))
    self.b2_plus_1 = Block(features, features)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """(B, features, H, W) to the same."""

    def at(level: int, x: torch.Tensor) -> torch.Tensor:
      low = getattr(self, f"b2_{level}")(self.pool(x))
      low = self.b2_plus_1(low) if level == 1 else at(level - 1, low)
      low = getattr(self, f"b3_{level}")(low)
      return getattr(self, f"b1_{level}")(x) + F.interpolate(low, scale_factor=2, mode="nearest")

    return at(self.depth, x)


class FAN(nn.Module):
  """(B, 3, H, W) to (S, B, K, H / 4, W / 4)."""

  def __init__(
    self, stacks: int, landmarks: int, *, features: int = 256, depth: int = 4, pool: str = "avg"
  ):
    super().__init__()
    self.stacks = stacks
    self.pool = nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2)

    self.conv1 = nn.Conv2d(3, features // 4, 7, stride=2, padding=3)
    self.bn1 = nn.BatchNorm2d(features // 4)
    self.conv2 = Block(features // 4, features // 2)
    self.conv3 = Block(features // 2, features // 2)
    self.conv4 = Block(features // 2, features)

    for i in range(stacks):
      self.add_module(f"m{i}", Hourglass(depth, features, self.pool))
      self.add_module(f"top_m_{i}", Block(features, features))
      self.add_module(f"conv_last{i}", nn.Conv2d(features, features, 1))
      self.add_module(f"bn_end{i}", nn.BatchNorm2d(features))
      self.add_module(f"l{i}", nn.Conv2d(features, landmarks, 1))
      if i < stacks - 1:
        self.add_module(f"bl{i}", nn.Conv2d(features, features, 1))
        self.add_module(f"al{i}", nn.Conv2d(landmarks, features, 1))

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    x = F.relu(self.bn1(self.conv1(images)))
    x = self.conv4(self.conv3(self.pool(self.conv2(x))))

    stacks = []
    for i in range(self.stacks):
      y = getattr(self, f"top_m_{i}")(getattr(self, f"m{i}")(x))
      y = F.relu(getattr(self, f"bn_end{i}")(getattr(self, f"conv_last{i}")(y)))
      stacks.append(getattr(self, f"l{i}")(y))
      if i < self.stacks - 1:
        x = x + getattr(self, f"bl{i}")(y) + getattr(self, f"al{i}")(stacks[-1])

    return torch.stack(stacks)


def small(stacks: int = 2) -> FAN:
  """A random network of few weights, in evaluation mode."""
  return randomise(FAN(stacks, LANDMARKS, features=8, depth=1))


def saved(state_dict: dict[str, Any], *, zipped: bool) -> bytes:
  """The file that `torch.save` writes of it, in the new format or the old one."""
  file = io.BytesIO()
  torch.save(state_dict, file, _use_new_zipfile_serialization=zipped)
  return file.getvalue()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
  """The state dict of `small` with some keys replaced, or left out where the value is None."""
  state_dict = dict(small().state_dict()) | changes
  return {key: value for key, value in state_dict.items() if value is not None}


def randomise(model: FAN) -> FAN:
  """Gives all weights and BatchNorm statistics values that no layer can hide behind.

  None stays as it was initialised.

  Returns:
    The model, in evaluation mode.
  """
  generator = torch.Generator().manual_seed(0)

  def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
    tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

  with torch.no_grad():
    for module in model.modules():
      if isinstance(module, nn.Conv2d):
        spread = (3 * module.weight[0].numel()) ** -0.5  # that of PyTorch's own initialisation
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * spread)
        if module.bias is not None:
          uniform(module.bias, -0.5, 0.5)

      if isinstance(module, nn.BatchNorm2d):
        uniform(module.weight, 0.5, 1.5)
        uniform(module.bias, -0.5, 0.5)
        uniform(module.running_mean, -0.5, 0.5)
        uniform(module.running_var, 0.5, 1.5)

  return model.eval()
