"""XLA compiles quickly and not well: tests run thousands of programs once or twice.

Imports nothing, so that `conftest.py` may set the flags before JAX starts.
"""

# For one program, as compiler_options of `jax.jit`. Without its newer way of emitting fused loops,
# XLA compiles a training step in a third of the time.
QUICKLY = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
  "xla_cpu_use_fusion_emitters": False,
}

# For programs that render views and whose numbers are compared with another program's: at level 0
# the older way gets the saturation of some images wrong, depending on what else is in the program.
EXACT_COLOURS = QUICKLY | {"xla_cpu_use_fusion_emitters": True}

# For all programs of a process, as XLA_FLAGS.
FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICKLY.items())
