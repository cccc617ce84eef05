"""Sub-pixel heatmap regression for facial landmarks (Bulat, Sanchez, Tzimiropoulos, BMVC 2021) in
JAX and Flax.

Nothing is imported here: `import fal_jax.affine` must not pay for the data or checkpoint libraries.
"""

__version__ = "0.1.0"


def models() -> dict[str, str]:
  """The networks that have a name, for `predict.FaceAligner.from_pretrained` and --weights.

  Those that come with the package, and what --mode=export wrote to `models/NAME` in the home of
  fal_jax (FAL_JAX_HOME, by default ~/.cache/fal_jax).

  Returns:
    Name -> one line about it.
  """
  from fal_jax.weights import named

  return named.models()
