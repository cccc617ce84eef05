"""What the bench ran on."""

import os
import platform
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
from ml_collections import ConfigDict

from fal_jax import evaluate


def describe(config: ConfigDict) -> dict[str, Any]:
  """What was measured on, and with what."""
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  found = {
    "cpu": _cpu(),
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
  }
  provenance = evaluate.provenance(config, split="", step=0)
  return {**found, **{key: provenance[key] for key in ("fal_jax", "git_commit")}}


def _cpu() -> str:
  try:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:  # only Linux has it
    lines = []
  names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.processor() or platform.machine()
