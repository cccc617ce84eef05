"""The paper's network and schedule on the synthetic faces.

  python -m tfds_builders.prepare synthetic_faces
  python -m fal_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

The default data for trying things at full size, free of any third party's terms.
`--config.data.name=synthetic_faces/large` is ten times as many faces, which vary more, with the
landmarks where the annotators of 300W put them. Hardware: a GPU or TPU; 50 epochs on CPU would take
days. Not run by us yet. For a CPU see configs/demo.py.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config().unlock()
  config.data.name = "synthetic_faces/68"
  return config.lock()
