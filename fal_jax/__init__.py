"""Sub-pixel heatmap regression for facial landmarks (Bulat, Sanchez, Tzimiropoulos, BMVC 2021) in
JAX and Flax.

Nothing is imported here: `import fal_jax.affine` must not pay for the data or checkpoint libraries.
"""

__version__ = "0.1.0"


def models() -> dict[str, str]:
  """The networks that come with the package, for `predict.FaceAligner.from_pretrained`.

  Returns:
    Name -> one line about it.
  """
  from fal_jax.weights import pretrained

  return pretrained.models()
