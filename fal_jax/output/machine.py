"""What numbers are measured on, and what of it decides how a training step rounds."""

import os
import platform
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

import fal_jax
from fal_jax.output.commit import git_commit


def describe() -> dict[str, Any]:
  """The hardware and the software that a measurement was made with."""
  return {
    "cpu": cpu(),
    "cores": cores(),
    "device": jax.devices()[0].device_kind,
    "devices": jax.device_count(),
    "platform": jax.default_backend(),
    "jax": jax.__version__,
    "jaxlib": jaxlib.__version__,
    "numpy": np.__version__,
    "python": platform.python_version(),
    "system": platform.platform(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "fal_jax": fal_jax.__version__,
    "git_commit": git_commit(),
  }


def rounding() -> dict[str, Any]:
  """On what the last bits of a training step depend, beside the software.

  XLA divides sums among the cores that a CPU's process may use, and training amplifies rounding.
  """
  found = {"platform": jax.default_backend(), "devices": jax.device_count()}
  if found["platform"] != "cpu":
    return {**found, "device": jax.devices()[0].device_kind}
  return {**found, "cpu": cpu(), "cores": cores()}


def cores() -> int:
  """CPU cores that this process may use, of which `taskset` and clusters leave it some."""
  if hasattr(os, "sched_getaffinity"):  # Linux alone has it
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def cpu() -> str:
  """The processor's name, as far as the system knows it."""
  try:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:  # only Linux has it
    lines = []
  names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.processor() or platform.machine()
