"""The network and the detector that the command line names."""

from typing import NamedTuple

from fal_jax import detect
from fal_jax.errors import InputError
from fal_jax.output import folders
from fal_jax.predict import FaceAligner
from fal_jax.weights import named


class NamedNetwork(NamedTuple):
  """A network, and what the page says about it.

  Attributes:
    aligner: the network, ready for photographs.
    name: for people.
    notice: what a user must be told before using it; empty where nothing is restricted.
  """

  aligner: FaceAligner
  name: str
  notice: str


def load_network(weights: str) -> NamedNetwork:
  """Loads a network.

  Args:
    weights: one that has a name, or the folder of an export or a run.

  Returns:
    The network with its name.

  Raises:
    InputError: there is no such network.
  """
  if (model := named.find(weights)) is not None:
    return NamedNetwork(FaceAligner.from_loaded(model), model.name, model.notice)

  workdir = named.run_folder(weights)
  return NamedNetwork(FaceAligner.from_checkpoint(workdir), folders.resolve(workdir).name, "")


def load_detector(name: str | None) -> detect.Detector | None:
  """Loads a face detector.

  Args:
    name: see `detect.load_detector`.

  Returns:
    The detector; None, with a printed line, where none was named and none is installed.

  Raises:
    InputError: the one that was named is not there.
  """
  try:
    return detect.load_detector(name)
  except InputError as error:
    if name is not None:
      raise
    print(f"Note: the page asks for boxes. {error}", flush=True)
    return None
