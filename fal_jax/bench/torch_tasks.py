"""PyTorch's side of the bench: `torch_reference` on the same images, views and heatmaps as ours."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from ml_collections import ConfigDict
from torch.nn import functional as F

from fal_jax import affine, build
from fal_jax.bench import torch_reference, work
from fal_jax.bench.rates import Count
from fal_jax.bench.timing import Task
from fal_jax.errors import InputError

LOOPED = 8  # images for the decoder that goes landmark by landmark

Calls = dict[str, Callable[[], Any]]  # by name, what a task repeats


def check(config: ConfigDict) -> None:
  """Raises InputError for configs that the reference does not support."""
  options = config.siamese
  is_eq_6 = options.frame == "crop" and not (options.view_loss or options.window_loss)
  is_plain_fan = config.model.name == "fan" and config.head == "heatmaps"
  if not is_plain_fan or not is_eq_6 or config.codec.amplitude != "peak_one":
    raise InputError(
      "The PyTorch of the bench supports only model.name=fan, head=heatmaps, siamese.frame=crop, "
      "siamese.view_loss=0, siamese.window_loss=0 and codec.amplitude=peak_one: leave torch "
      "out of --parts."
    )


def make_tasks(
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
    config: the run's config.
    pairs: batch size, B.
    parts: parts of the bench, as in `--parts`.
    decoded: (N, H, W, K) float32, what our decoder reads; None leaves the decoders out.
    warped: (S * V * B, H, W, K) float32, what our warp takes; None leaves the warps out.
    compiled: whether to measure `torch.compile` instead: the network goes through it, forward and
      in the training step, and nothing else is measured.

  Returns:
    The tasks, without those that do not fit into the memory beside JAX; and counts for those whose
    work is not that of ours.

  Raises:
    InputError: JAX computes on an accelerator that PyTorch does not see.
  """
  device = _device()
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as JAX does
  torch.backends.cudnn.benchmark = True  # chooses kernels by trial, as XLA does

  calls: Calls = {}
  if "forward" in parts:
    calls["forward"] = _forward(config, pairs, device, compiled=compiled)
  if "step" in parts:
    calls["step"] = _step(config, pairs, device, compiled=compiled)
  if decoded is not None and not compiled:
    calls |= _decoders(config, decoded, device)
  if warped is not None and not compiled:
    calls |= _warps(config, pairs, warped, device)

  tasks = {name: _repeated(call, device) for name, call in calls.items()}
  if device == "cuda":
    tasks = {name: task for name, task in tasks.items() if _fits(task)}

  looped = Count(LOOPED * config.data.markup, "heatmaps", 0)
  counts = {name: looped for name in tasks if name == "decode, one by one"}
  return tasks, counts


def _device() -> str:
  """PyTorch's name of the device that JAX computes on."""
  backend = jax.default_backend()
  device = {"cpu": "cpu", "gpu": "cuda"}.get(backend, "")
  if not device or (device == "cuda" and not torch.cuda.is_available()):
    raise InputError(
      f"PyTorch does not see the {backend}: install a build of it that does, or leave torch out of "
      "--parts."
    )
  return device


def _forward(config: ConfigDict, pairs: int, device: str, *, compiled: bool) -> Callable[[], Any]:
  """The network alone, on as many images as a training step has views."""
  size = config.crop.size
  shape = pairs * config.siamese.num_views, size, size, 3
  images = _on_device(np.random.default_rng(1).uniform(size=shape).astype(np.float32), device)
  bfloat16 = build.precision(config) == "bfloat16"
  network = _network(config, device).eval()
  apply = torch.compile(network) if compiled else network

  def forward() -> None:
    with torch.inference_mode(), torch_reference.autocast(device, bfloat16):
      apply(images)

  return forward


def _step(config: ConfigDict, pairs: int, device: str, *, compiled: bool) -> Callable[[], Any]:
  """Training steps on the images and views of ours."""
  sampled = work.sample_views(config, pairs)
  names = ("view_from_crop", "mirrored", "colour")
  views = {name: np.asarray(getattr(sampled, name)) for name in names}
  bfloat16 = build.precision(config) == "bfloat16"
  loss = torch_reference.training_loss(
    config, work.random_batch(config, pairs), views, device, bfloat16=bfloat16
  )
  network = _network(config, device)
  return torch_reference.train_step(config, network, loss, compiled=compiled)


def _decoders(config: ConfigDict, decoded: np.ndarray, device: str) -> Calls:
  """Decoders of heatmaps (N, H, W, K) float32, in two layouts and landmark by landmark."""
  options = config.codec.window, config.codec.temperature
  as_network = _on_device(decoded, device)
  contiguous = as_network.contiguous()  # each heatmap in one piece: the fastest layout to decode
  some = contiguous[:LOOPED]
  return {
    "decode": lambda: torch_reference.decode(as_network, *options),
    "decode, contiguous": lambda: torch_reference.decode(contiguous, *options),
    "decode, one by one": lambda: torch_reference.decode_one_by_one(some, *options),
  }


def _warps(config: ConfigDict, pairs: int, warped: np.ndarray, device: str) -> Calls:
  """The warp of heatmaps (S * V * B, H, W, K) float32 by our maps, without and with gradient."""
  side = warped.shape[1]
  crop_from_view = np.asarray(work.heatmap_maps(config, work.sample_views(config, pairs)))
  view_from_crop = affine.invert(crop_from_view.astype(np.float64))
  theta = torch_reference.theta(view_from_crop, source=side, result=side, device=device)
  grid = F.affine_grid(theta, [len(theta), config.data.markup, side, side], align_corners=False)
  heatmaps = _on_device(warped, device)
  cotangent = heatmaps.clone()

  def warp() -> None:
    with torch.inference_mode():
      torch_reference.sample_grid(heatmaps, grid)

  def warp_and_gradient() -> None:
    leaf = heatmaps.detach().requires_grad_()
    torch_reference.sample_grid(leaf, grid).backward(cotangent)

  return {"warp": warp, "warp and gradient": warp_and_gradient}


def _repeated(call: Callable[[], Any], device: str) -> Task:
  """A task that repeats a call and waits for the device."""

  def task(repeats: int) -> None:
    for _ in range(repeats):
      call()
    if device == "cuda":
      torch.cuda.synchronize()

  return task


def _on_device(array: np.ndarray, device: str) -> torch.Tensor:
  """(N, H, W, C) as (N, C, H, W) in channels_last memory."""
  return torch.from_numpy(np.array(array)).to(device).permute(0, 3, 1, 2)


def _fits(task: Task) -> bool:
  """Whether the GPU has the memory for a task beside JAX's own share.

  If not, the report lacks this task instead of all of them.
  """
  try:
    task(1)
  except torch.OutOfMemoryError:
    torch.cuda.empty_cache()
    return False
  return True


def _network(config: ConfigDict, device: str) -> torch_reference.FAN:
  # Any: PyTorch's type hints lack this use of the memory format.
  network: Any = torch_reference.FAN(config).to(device)
  return network.to(memory_format=torch.channels_last)
