"""Every key once, with its unit and where the paper states it.

  python -m fal_jax.main --config=configs/wflw.py --workdir=runs/wflw --config.train.batch_size=32

Dataset configs import this and override what differs. "Paper" is Bulat, Sanchez and
Tzimiropoulos, BMVC 2021; "not stated" means that the paper's text leaves it open. A new key goes
into `fal_jax/config_json.py` as well, with the value that it had when nobody could set it.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0  # of weights, order of images and views
  # "heatmaps", or of Table 1 "correction_static", "correction_dynamic", "global_softargmax" and
  # "global_softargmax_prior".
  config.head = "heatmaps"
  # Weights to start from: the folder of a run or an export, or a name such as "free-68"; by default
  # fresh ones.
  config.init_from = config_dict.placeholder(str)

  config.data = ConfigDict()
  config.data.name = config_dict.placeholder(str)  # TFDS name, e.g. "wflw"
  # Where it is prepared; by default $TFDS_DATA_DIR or ~/tensorflow_datasets. Or gs://BUCKET/FOLDER.
  config.data.dir = config_dict.placeholder(str)
  config.data.markup = 68  # number of landmarks: 68, 98, 29, 19 or 39
  # A mark-up of your own as JSON, by configs/custom.py; None: one of these.
  config.data.own_markup = config_dict.placeholder(str)
  # Of images of more than 8 bits per channel in your own dataset, the values that became black and
  # white, by configs/custom.py: prediction on such files needs the same. (): 0 and 65535.
  config.data.value_range = ()
  config.data.train_split = "train"  # or a slice, "train[:90%]", or a union, "fit+val"
  # Splits that every batch also holds images of: rows of dataset, split and share of the images,
  # e.g. (("synthetic_faces/68", "train", 0.25),). What they leave of 1 is train_split's, and an
  # epoch is one pass over that.
  config.data.mix = ()
  # "dataset" or "landmarks"; which of them the paper used is not stated. "detector" is the latter,
  # displaced as a detector's boxes are.
  config.data.box = "landmarks"
  # "host" keeps decoded training crops in memory, "device" in every accelerator's:
  # crop.stored_size^2 * 3 bytes per image.
  config.data.cache = "none"

  config.crop = ConfigDict()
  config.crop.size = 256  # px, side of the network's input; Sec. 5.1
  # px, with the margin that rotated and shrunk views need; no empty corners at 1.625 size.
  config.crop.stored_size = 416
  # px, of the box's larger side in the crop. Sec. 5.1: "approximately equal to 220 x 220"; the
  # larger side is our reading.
  config.crop.face = 220.0

  config.codec = ConfigDict()
  # Heatmap px; not stated. Sec. 4.3 hints at less: 5 x 5 cells hold most of the Gaussian, which is
  # 97.5 % at sigma 1, 81.8 % at 1.5, 62 % at 2. But at temperature 10 the window reads perfect
  # heatmaps to 0.134 heatmap px at sigma 1 and to 0.029 at 1.5.
  config.codec.sigma = 1.5
  config.codec.window = 5  # heatmap px, d of Sec. 3.3; Sec. 4.3
  config.codec.temperature = 10.0  # tau of Eq. 4; Sec. 5.1
  config.codec.encode = "continuous"  # "continuous" (Eq. 3) or "rounded" (Eq. 2)
  # Or "argmax", "quarter_offset", "global_softargmax", "dark", "calibrated".
  config.codec.decode = "local_softargmax"
  config.codec.amplitude = "peak_one"  # or "normalised", the factor printed in Eq. 1

  config.model = ConfigDict()
  config.model.name = "fan"  # or "mobile_unet", which is for CPUs and phones and has one stack
  config.model.num_stacks = 2  # Sec. 5.1
  config.model.features = 256  # Sec. 5.1
  config.model.depth = 4  # halvings in each hourglass; as in FAN
  config.model.expansion = 4  # how many times wider a block of mobile_unet is inside
  config.model.momentum = 0.9  # of BatchNorm's running statistics; PyTorch's default
  # Added to BatchNorm's variances, PyTorch's default. 1e-3 keeps flat saturated colours from
  # exciting channels that are silent on nearly all images.
  config.model.epsilon = 1e-5
  # "avg" as in the published PyTorch models, "max" as in the Lua training code.
  config.model.pool = "avg"
  # Of convolutions: "float32", "bfloat16" or "auto", which is the latter on GPU and TPU only.
  config.model.dtype = "auto"
  # Statistics of the whole batch; False: of each device's share, and no waiting for others.
  config.model.sync_batch_norm = True
  # True recomputes hourglasses in the backward pass: a third of the memory, 27 % more work.
  config.model.remat = False

  config.augment = ConfigDict()
  config.augment.rotation = 30.0  # degrees to either side; Sec. 5.1
  config.augment.scale = (0.85, 1.15)  # Sec. 5.1
  config.augment.translation = 0.0  # of the crop's side, to either side; not stated
  config.augment.mirror = 0.5  # probability, not stated; Sec. 5.1 has "image flipping"
  config.augment.colour = (0.6, 1.4)  # factors; Sec. 5.1 has "color (0.6, 1.4)", not of what
  # "photometric": of brightness, contrast and saturation; "channel_gain": of red, green and blue.
  config.augment.colour_mode = "photometric"

  # What happens to the views besides; none of it is in the paper. See fal_jax/corruption.py.
  config.corruption = ConfigDict()
  config.corruption.flat_background = 0.0  # probability
  config.corruption.gain = 0.0  # standard deviation of each channel's log factor
  config.corruption.gamma = 0.0  # largest log exponent, to either side
  config.corruption.clipping = 0.0  # probability
  config.corruption.grey = 0.0  # probability
  config.corruption.blur = 0.0  # probability
  config.corruption.blur_sigma = 1.6  # px, the largest
  config.corruption.low_resolution = 0.0  # probability
  config.corruption.noise = 0.0  # probability
  config.corruption.noise_deviation = 0.12  # the largest; white is 1
  config.corruption.occluder = 0.0  # probability

  config.siamese = ConfigDict()
  config.siamese.num_views = 2  # Sec. 3.4
  # "crop": heatmaps are pulled back to the crop's frame and combined, as in Eq. 6. "view": each is
  # compared with the landmarks in its own view, without what follows here; with one view that is
  # the paper's training without Sec. 3.4.
  config.siamese.frame = "crop"
  config.siamese.reduce = "sum"  # Eq. 6; or "mean" over the views that saw a cell
  # Height of the Gaussians that the combined views are held against; not stated. None: under "sum"
  # as many Gaussians as views saw the cell, under "mean" one, so that each view learns peaks of 1.
  config.siamese.target_scale = config_dict.placeholder(float)
  # Weight of each view's own loss, in its own frame, beside that of Eq. 6; not stated.
  config.siamese.view_loss = 0.0
  # Weight of a loss through each view's local soft-argmax, heatmap px squared, as tried in
  # Sec. 4.3; the weight is not stated.
  config.siamese.window_loss = 0.0

  config.optimizer = ConfigDict()
  config.optimizer.learning_rate = 1e-4  # Adam; Sec. 5.1
  config.optimizer.drop_epochs = (25, 40)  # Sec. 5.1
  config.optimizer.drop_factor = 0.1  # not stated
  # "drops" at these epochs, or "cosine" from the rate to a hundredth of it over the whole run.
  config.optimizer.schedule = "drops"
  config.optimizer.warmup = 0.0  # fraction of the steps, the first ones, over which the rate rises

  config.train = ConfigDict()
  # Images of all devices together, each in num_views views; not stated.
  config.train.batch_size = 16
  config.train.epochs = 50.0  # Sec. 5.1; 0 evaluates the untrained network
  # Fraction of the steps, the last ones, that train under frozen BatchNorm statistics, those that
  # prediction uses: weights then cannot rely on what a batch's own statistics hide.
  config.train.frozen = 0.0
  # Parts of each device's share of a batch, one after the other: a fraction of the memory, and the
  # gradient that so many times as many devices without sync_batch_norm have.
  config.train.accumulate = 1

  config.eval = ConfigDict()
  # TFDS name of the dataset evaluated on; by default data.name.
  config.eval.name = config_dict.placeholder(str)
  config.eval.splits = ("test",)  # evaluated at the end of training and by --mode=eval
  config.eval.every_epochs = 5.0  # evaluates the first of these splits while training
  # Images of all devices together; a last short batch is padded, the padding not counted.
  config.eval.batch_size = 32
  # Kinds of boxes that the final evaluation and --mode=eval compare beside data.box: "landmarks",
  # "detector", "dataset", "refined", cut out around what was predicted in "detector", and what
  # real detectors draw: "mtcnn", "yunet".
  config.eval.boxes = ("landmarks", "detector", "dataset")
  # Whether they compare 18 harder conditions, too: moved boxes, gamma, flat backgrounds and others.
  config.eval.stress = False
  config.eval.norm = "ic"  # normaliser of the plots and the log: "ic", "ip", "box" or "diag"

  config.checkpoint = ConfigDict()
  config.checkpoint.every_steps = 500
  config.checkpoint.keep = 2  # newest ones

  config.log = ConfigDict()
  config.log.every_steps = 20
  # Project of Weights & Biases that also gets the scalars; needs the package wandb.
  config.log.wandb_project = config_dict.placeholder(str)
  return config.lock()
