"""The network `w300-68` of the package: `free-68` trained on with real faces of 300W.

  python -m tfds_builders.prepare w300 --manual_dir=FOLDER --data_dir=data --allow_partial
  python -m tfds_builders.prepare synthetic_faces --data_dir=data
  python -m fal_jax.main --config=configs/w300_68.py --config.data.dir=data --workdir=runs/w300_68

FOLDER holds afw/, helen/ and lfpw/, or some of them; every tenth face is held out. It starts from
the shipped weights, or with --config.init_from=runs/free_68 from your own. Research use only, like
the faces. Hardware: an accelerator; the trial took two minutes on an H100.

The trial (fal_jax/weights/recipes.json) had three stages, `060`, `062` and `063`, each with a
fresh optimiser and its own cosine. They are one here, of as many images of either kind: 720,000
real and 80,000 rendered ones (of 24,000; the dataset as it is prepared has 2,000), with the
rendered ones in every batch and not in the first stage alone. What else differs is said in
free_68.py. No run of this config has been made yet. The trial's network has NME_ic 3.68 on the
202 faces held out, see fal_jax/weights/README.md.
"""

from ml_collections import ConfigDict

from configs import free_68


def get_config() -> ConfigDict:
  config = free_68.get_config().unlock()  # its network, crops, views and batches
  config.init_from = "free-68"
  config.data.name = "w300"
  config.data.train_split = "fit"
  config.data.mix = (("synthetic_faces/68", "train", 0.1),)

  # Milder than where rendered faces alone must prepare it for photographs.
  config.corruption.flat_background = 0.05
  config.corruption.gain = 0.08
  config.corruption.gamma = 0.5
  config.corruption.clipping = 0.1
  config.corruption.grey = 0.05
  config.corruption.blur = 0.2
  config.corruption.blur_sigma = 1.6
  config.corruption.low_resolution = 0.15
  config.corruption.noise = 0.2
  config.corruption.occluder = 0.2
  config.siamese.view_loss = 0.5

  config.optimizer.learning_rate = 1.5e-3
  config.train.epochs = 398.0  # of the real faces: 12,500 steps if there are 1,810
  config.train.frozen = 0.4
  config.eval.splits = ("val",)
  config.eval.every_epochs = 40.0
  return config.lock()
