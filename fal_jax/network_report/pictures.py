"""--mode=network_report --heatmaps: one landmark of one face through the network, as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fal_jax import data, evaluate
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.output.folders import make_dir
from fal_jax.plots import landmark_heatmaps


def run(
  config: ConfigDict | None,
  workdir: str | Path,
  landmarks: Sequence[str],
  *,
  face: str | None = None,
  weights: str | None = None,
  overrides: Sequence[str] = (),
  command: str,
) -> Iterator[str]:
  """Draws the heatmaps of a few landmarks of one annotated face.

  Writes `network_report/heatmaps/<face>_<landmark>.png`, and `.svg`.

  Args:
    config: what to run the network under; None for the config that the run has saved.
    workdir: the run's folder.
    landmarks: their numbers or names.
    face: its id in the first of `config.eval.splits`; None for the first face.
    weights: a network that comes with the package, instead of the run's.
    overrides: flags of the form --config.x.y=z that change the saved config.
    command: what makes the pictures again.

  Yields:
    What belongs on the screen, for each picture.

  Raises:
    InputError: there is no such run, face or landmark.
  """
  opened = evaluate.open_run(config, workdir, weights=weights, overrides=overrides)
  setup = opened.setup
  numbers = landmark_heatmaps.numbers(landmarks, setup.markup)
  split, source = next(iter(opened.sources.items()))
  record = source[find(source, face, split=split)]
  name = data.example_id(record)

  image = read_image(record["image"], name=name)
  box = data.face_box(record, setup.crop)
  looks = landmark_heatmaps.make_look(setup, opened.variables)(image, box)
  directory = make_dir(workdir, f"network_report/{opened.folder}")
  network = weights or f"{Path(workdir).name}, step {opened.step}"
  for number in numbers:
    path = directory / "heatmaps" / f"{name.replace('/', '_')}_{number}.png"
    landmark_heatmaps.draw(
      path,
      looks,
      setup,
      number,
      truth=np.asarray(record["landmarks"][number], np.float64),
      caption=f"Network {network}, face {name} of {setup.eval_dataset}, {split}.",
      command=command,
    )
    yield f"Heatmaps of landmark {number}, {setup.markup.names[number]}: {path}"


def find(source: data.Source, face: str | None, *, split: str) -> int:
  """The row of a face.

  Args:
    source: the records of a split.
    face: its id; None for the first.
    split: what to call the split in a message.

  Returns:
    Its number in the split.

  Raises:
    InputError: no face there has that id.
  """
  if face is None:
    return 0
  for row in range(len(source)):
    if data.example_id(source[row]) == face:
      return row
  first = data.example_id(source[0])
  raise InputError(f"--face={face}: {split} has no face with that id; its first is {first}.")
