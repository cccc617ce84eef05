"""What the bench ran on."""

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
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  return {
    "cpu": cpu(),
    "cores": cores,
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


def cpu() -> str:
  """The processor's name, as far as the system knows it."""
  try:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:  # only Linux has it
    lines = []
  names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.processor() or platform.machine()
