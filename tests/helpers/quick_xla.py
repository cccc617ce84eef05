"""XLA compiles quickly and not well: tests run thousands of programs once or twice.

Imports nothing of ours or JAX's, so that `conftest.py` may set the flags before JAX starts.
"""

import importlib.metadata
import os

# For one program, as compiler_options of `jax.jit`.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# Without its newer way of emitting fused loops, XLA compiles a training step in a third of the
# time. From jaxlib 0.11 on there is no other, and a flag that XLA does not know ends the process.
if importlib.metadata.version("jaxlib").startswith("0.10."):
  QUICKLY["xla_cpu_use_fusion_emitters"] = False

# For all programs of a process, as XLA_FLAGS. The instruction set counts for a process only: at
# level 0 the older way calculates a value once per use, some of them with fused multiply-adds,
# which AVX has not. dm_pix asks which channel *equals* the brightest one, and one that was rounded
# in another way does not: its hues would be wrong.
FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICKLY.items())
FLAGS += " --xla_cpu_max_isa=AVX"

# Whoever gives a level of their own gets it everywhere.
given = os.environ.get("XLA_FLAGS", "")
if "xla_backend_optimization_level" in given and FLAGS not in given:
  QUICKLY, FLAGS = {}, ""
