"""The network that predicts: one that has a name, an export, or a run's."""

from typing import Any

from fal_jax.errors import InputError
from fal_jax.output import folders
from fal_jax.photos.options import Options
from fal_jax.predict import FaceAligner
from fal_jax.weights import exported, named


def load(options: Options) -> FaceAligner:
  """Loads the network that the options name.

  Args:
    options: its name, or the folder of its export or run, and how it looks at faces.

  Returns:
    The aligner.

  Raises:
    InputError: there is no such network, or the results would go into its folder.
  """
  how: dict[str, Any] = {
    "decode": options.decode,
    "refine": options.refine,
    "views": options.views,
  }
  if options.weights in named.models():
    return FaceAligner.from_pretrained(options.weights, **how)

  folder = folders.resolve(options.weights, flag="--weights")
  if options.out.resolve().is_relative_to(folder):
    raise InputError(
      f"--out={options.out} lies in the folder of the network, {options.weights}: name another "
      "folder for the results."
    )
  if exported.is_export(folder):
    return FaceAligner.from_exported(folder, **how)
  return FaceAligner.from_checkpoint(named.run_folder(options.weights), **how)


def describe(aligner: FaceAligner) -> dict[str, Any]:
  """What a result needs to be made again.

  Args:
    aligner: the network.

  Returns:
    A mapping ready for JSON.
  """
  return {
    **aligner.origin,
    "landmarks": aligner.setup.markup.num,
    "decode": aligner.setup.codec.decoding,
    "refine": aligner.refine,
    "views": aligner.views,
  }
