"""How steady landmarks are from frame to frame of a video, by training and by decoder.

  python -m fal_jax.ablation --table=configs/ablations/jitter.py:demo --seeds=3 \\
    --workdir=runs/ablation --config.eval.name=synthetic_faces/video \\
    --config.eval.splits="('test',)"

The trainings are those of other tables in the same folder; only the videos are new, which must be
named as above since no base has any (tfds_builders/synthetic_faces).
"""

from ml_collections import ConfigDict


def get_config(base: str = "demo") -> ConfigDict:
  table = ConfigDict()
  table.title = "Jitter in videos"
  table.base = base
  table.metric = "nme_ic"
  table.also = ("jitter",)
  table.paper = ""  # nothing to compare with
  table.against = "first"
  table.rows = (  # file in this folder, name in the table, the paper's number
    ("encoding_decoding", "one view", None),
    ("views_apart", "two views, each by itself", None),
    ("siamese", "sum of two views (Eq. 6)", None),
    ("siamese_view_loss", "sum of two views, and each by itself", None),
    ("calibrated", "sum of two views, calibrated decoder", None),
    ("window_none_argmax", "sum of two views, highest cell", None),
  )
  return table.lock()
