"""The paper's network on a dataset of your own.

  python -m tfds_builders.prepare custom --manual_dir=my_faces --data_dir=data
  python -m fal_jax.main --config=configs/custom.py:my_faces/markup.yaml --config.data.dir=data \\
    --workdir=runs/my_faces

What follows the colon is the file that describes its landmarks. The whole description goes
into the config, hence into the run: predicting does not need the file any more, nor does
evaluating or resuming by configs/saved.py. Hardware: a GPU or TPU; configs/custom_small.py
is for two CPU cores. See tfds_builders/custom/README.md.

One thing is not the paper's: BatchNorm's epsilon. With 1e-5, half of our trainings on 300W at 128
px scattered the faces that have much bright blue around them (ablations/README.md). If faces
scatter all the same, under colours that are rare in your photographs: --config.train.frozen=0.25.
"""

from ml_collections import ConfigDict

from configs import default
from fal_jax import custom_markup
from fal_jax.errors import InputError


def get_config(file: str = "") -> ConfigDict:
  config = default.get_config().unlock()
  config.model.epsilon = 1e-3  # a colour that training saw little of must not scatter a face
  return describe(config, file)


def describe(config: ConfigDict, file: str) -> ConfigDict:
  """Puts what a mark-up file says into a new config, which it returns locked."""
  if not file:
    raise InputError(
      "No mark-up file is named: it goes after a colon, "
      "e.g. --config=configs/custom.py:my_faces/markup.yaml"
    )

  content = custom_markup.read_file(file)
  config.unlock()
  config.data.name = f"custom/{content.name}"
  config.data.markup = content.markup.num
  config.data.own_markup = custom_markup.to_json(content.markup) if content.is_custom else None
  config.data.value_range = content.value_range or ()
  if content.markup.num == 1:  # a point has no box of its own, hence prepare asks for one
    config.data.box = "dataset"
  if content.markup.outer_eyes:
    config.eval.norm = "ic"
  else:  # the box of two landmarks has no area where they are level
    config.eval.norm = "diag" if content.markup.num == 2 else "box"
  return config.lock()
