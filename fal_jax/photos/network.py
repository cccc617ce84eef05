"""The network that predicts: one that comes with the package, or a run's."""

from pathlib import Path
from typing import Any

from fal_jax.errors import InputError
from fal_jax.photos.options import Options
from fal_jax.predict import FaceAligner
from fal_jax.weights import pretrained


def load(options: Options) -> FaceAligner:
  """Loads the network that the options name.

  Args:
    options: its name or the folder of its run, and how it looks at faces.

  Returns:
    The aligner.

  Raises:
    InputError: there is no such network, or the results would go into the folder of its run.
  """
  how: dict[str, Any] = {
    "decode": options.decode,
    "refine": options.refine,
    "views": options.views,
  }
  if options.weights in pretrained.models():
    return FaceAligner.from_pretrained(options.weights, **how)

  workdir = Path(options.weights).expanduser()
  if options.out.resolve().is_relative_to(workdir.resolve()):
    raise InputError(
      f"--out={options.out} lies in the folder of the run, {options.weights}: name another folder "
      "for the results."
    )
  if not workdir.exists():
    raise InputError(
      f"{options.weights} is neither a network that comes with fal_jax "
      f"({', '.join(pretrained.models())}) nor a folder: train first, or give the --workdir of a "
      "run."
    )
  return FaceAligner.from_checkpoint(workdir, **how)


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
