"""PyTorch's side of the bench: `torch_peer` on the same images, views and heatmaps as ours."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from ml_collections import ConfigDict
from torch.nn import functional as F

from fal_jax import affine, build
from fal_jax.bench import torch_reference, work
from fal_jax.bench.timing import Task
from fal_jax.bench.work import Count
from fal_jax.errors import InputError

LOOPED = 8  # images of the decoder that goes landmark by landmark


def check(config: ConfigDict) -> None:
  """Raises InputError for configs that the peer does not know."""
  if config.head != "heatmaps" or config.siamese.view_loss or config.codec.amplitude != "peak_one":
    raise InputError(
      "The PyTorch of the bench knows head=heatmaps, siamese.view_loss=0 and codec.amplitude=peak_one only: leave torch out of "
      "--parts."
    )


def tasks(
  config: ConfigDict,
  pairs: int,
  *,
  parts: set[str],
  decoded: np.ndarray | None,
  warped: np.ndarray | None,
  compiled: bool,
) -> tuple[dict[str, Task], dict[str, Count]]:
  """The tasks that have a counterpart among ours, under the same names.

  Args:
    config: of the run.
    pairs: batch size.
    parts: of the bench, as in `--parts`.
    decoded: (B, H, W, K), what our decoder reads.
    warped: (N, H, W, K), what our warp takes.
    compiled: the network alone through `torch.compile`, forward and in the training step, and
      nothing else.

  Returns:
    The tasks, without those that do not fit into the memory beside JAX, and what they do where it
    is not what ours does.

  Raises:
    InputError: JAX computes on an accelerator that PyTorch does not see.
  """
  device = {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend(), "")
  if not device or (device == "cuda" and not torch.cuda.is_available()):
    raise InputError(
      f"PyTorch does not see the {jax.default_backend()}: install a build of it that does, or leave torch out of --parts."
    )
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as JAX does
  torch.backends.cudnn.benchmark = True  # chooses kernels by trial, as XLA does
  narrow = build.precision(config) == "bfloat16"

  def repeated(call: Callable[[], Any]) -> Task:
    def task(repeats: int) -> None:
      for _ in range(repeats):
        call()
      if device == "cuda":
        torch.cuda.synchronize()

    return task

  def on_device(array: np.ndarray) -> torch.Tensor:  # (N, H, W, C) as channels_last
    return torch.from_numpy(np.array(array)).to(device).permute(0, 3, 1, 2)

  found: dict[str, Task] = {}
  rng = np.random.default_rng(1)
  if "forward" in parts:
    count = pairs * config.siamese.num_views
    images = on_device(
      rng.uniform(size=(count, config.crop.size, config.crop.size, 3)).astype(np.float32)
    )
    network = _network(config, device).eval()
    called = torch.compile(network) if compiled else network

    def forward() -> None:
      with (
        torch.inference_mode(),
        torch.autocast(device, torch.bfloat16) if narrow else contextlib.nullcontext(),
      ):
        called(images)

    found["forward"] = repeated(forward)
  if "step" in parts:
    drawn = work.views_of(config, pairs)
    views = {
      name: np.asarray(getattr(drawn, name)) for name in ("view_from_crop", "mirrored", "colour")
    }
    loss = torch_reference.peer_loss(
      config, work.random_batch(config, pairs), views, device, narrow=narrow
    )
    found["step"] = repeated(
      torch_reference.train_step(config, _network(config, device), loss, compiled=compiled)
    )
  if decoded is not None and not compiled:
    options = config.codec.window, config.codec.temperature
    heatmaps = on_device(decoded)  # as its network gives them
    contiguous = (
      heatmaps.contiguous()
    )  # each heatmap in one piece: the layout that is fastest to decode
    found["decode"] = repeated(lambda: torch_reference.decode(heatmaps, *options))
    found["decode, contiguous"] = repeated(lambda: torch_reference.decode(contiguous, *options))
    found["decode, one by one"] = repeated(
      lambda: torch_reference.decode_one_by_one(contiguous[:LOOPED], *options)
    )
  if warped is not None and not compiled:
    side = config.crop.size // build.STRIDE
    crop_from_view = np.asarray(work.heatmap_maps(config, work.views_of(config, pairs)))
    source = torch_reference.theta(
      affine.invert(crop_from_view.astype(np.float64)), source=side, result=side, device=device
    )
    grid = F.affine_grid(source, [len(source), config.data.markup, side, side], align_corners=False)
    plain = on_device(warped)
    cotangent = plain.clone()

    def warp(images: torch.Tensor) -> torch.Tensor:
      return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def warp_only() -> None:
      with torch.inference_mode():
        warp(plain)

    def warp_and_gradient() -> None:
      leaf = plain.detach().requires_grad_()
      warp(leaf).backward(cotangent)

    found |= {"warp": repeated(warp_only), "warp and gradient": repeated(warp_and_gradient)}
  if device == "cuda":
    found = {name: task for name, task in found.items() if _fits(task)}
  looped = Count(LOOPED * config.data.markup, "heatmaps", 0)
  return found, {"decode, one by one": looped} if "decode, one by one" in found else {}


def _fits(task: Task) -> bool:
  """Whether the card has the memory, of which JAX holds its share already; the report then lacks
  the part and not all others.
  """
  try:
    task(1)
  except torch.OutOfMemoryError:
    torch.cuda.empty_cache()
    return False
  return True


def _network(config: ConfigDict, device: str) -> torch_reference.FAN:
  network: Any = torch_reference.FAN(config).to(
    device
  )  # Any: PyTorch's own types do not know of the memory format
  return network.to(memory_format=torch.channels_last)
