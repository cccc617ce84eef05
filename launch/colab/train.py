# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a network
#
# First on rendered faces, from nothing, with a look at whether it learns; then on pictures of your own, from a network
# that knows faces already. Both in minutes on two CPU cores: small networks and few steps, but each command is the one
# that a long run on an accelerator takes.

# %% [markdown]
# ## The environment
#
# The next cell finds the copy of the repository that this notebook lies in, or fetches one, and makes the environment
# of its lock file in `.venv`, which takes about a minute the first time. Your notebook's own Python stays as it is.
#
# **On Colab**: open this file there, put the address of the repository into `REPOSITORY`, and run the cells from the
# top. Colab's own Python has other releases of JAX and NumPy than the library needs, which is why an environment is
# made beside it. We had no access to Colab: these same cells were run on Linux machines only.

# %%
REPOSITORY = ""  # its address, if this notebook is not opened in a copy of the repository

import os
import subprocess
import sys
from pathlib import Path

here = Path.cwd()
root = next((f for f in [here, *here.parents] if (f / "launch/colab").is_dir()), here / "fal_jax")
if not root.exists():
  assert REPOSITORY, "Put the address of the repository into REPOSITORY, at the top of this cell."
  subprocess.run(["git", "clone", "--depth=1", REPOSITORY, root], check=True)

os.chdir(root)
sys.path.insert(0, "launch/colab")
import cells

cells.start()

# %% [markdown]
# From here on there are two kinds of cells, both of which run in that environment:
#
# * `%%bash` is what you would type into a terminal. A command that fails stops the notebook.
# * `%%fal_jax` is Python with the library. Names stay from one such cell to the next; `show` shows a picture.
#
# The few cells without such a first line run in the notebook's own Python.

# %% [markdown]
# ## Faces to learn from
#
# Annotated photographs come with terms: for research only, not to be passed on. To learn how training works we do not
# need them. The library renders faces, with landmarks that are exact because they belong to the model that was
# rendered. Here are the first few hundred; 2,000 and 20,000 of them are `synthetic_faces/68` and
# `synthetic_faces/large`.

# %% language="bash"
# python -m tfds_builders.prepare synthetic_faces/small --data_dir=runs/notebooks/data

# %% [markdown]
# Look at your data before you train on it. Always.

# %%
# %%fal_jax
from pathlib import Path

import matplotlib.pyplot as plt

from fal_jax import affine, data
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.images import read_image

work = Path("runs/notebooks")
rule = CropRule(size=128, stored_size=208, face=110)


def show_records(records, caption):
  """Shows some faces of a dataset with their landmarks."""
  rows = len(records) // 6
  figure, panels = plt.subplots(rows, 6, figsize=(12, 2.3 * rows), layout="constrained")
  for axes, record in zip(panels.flat, records, strict=True):
    to_crop = crop_from_image(data.face_box(record, rule), rule)
    axes.imshow(extract(read_image(record["image"]), to_crop, rule.size))
    axes.scatter(*affine.apply(to_crop, record["landmarks"]).T, s=4, color="magenta")
    axes.set_title(data.example_id(record), fontsize=8)
    axes.axis("off")
  show(figure, caption)


# %%
# %%fal_jax
where = {"data_dir": str(work / "data"), "num_landmarks": 68}
train = data.open_split("synthetic_faces/small", "train", **where)
show_records([train[number] for number in range(12)], f"Twelve of {len(train)} faces to train on.")

# %% [markdown]
# ## One command
#
# `configs/demo.py` is a small network for small crops, so that two CPU cores are enough. The flags after it name our
# data and shorten the schedule: the learning rate falls at three epochs towards the end. Everything else, such as the
# two views of each face whose heatmaps must agree, is as in the paper.
#
# The first line of what it prints is the one to beat: the error of the *mean shape*, the average face put into each box
# by somebody who has not looked at the picture. Errors are in percent of the distance between the eyes.
#
# The run is kept in `runs/notebooks/train`. Run the cell again and it does not train again: a run resumes where it
# stopped, and a finished one is only evaluated. Remove the folder to start over.

# %% language="bash"
# python -m fal_jax.main --config=configs/demo.py --workdir=runs/notebooks/train \
#   --config.data.name=synthetic_faces/small --config.data.dir=runs/notebooks/data \
#   --config.train.epochs=7 --config.optimizer.drop_epochs=4,5.5,6.5 \
#   --config.eval.every_epochs=3 --config.eval.boxes="('landmarks',)" --config.log.every_steps=75

# %% [markdown]
# ## Did it learn?

# %%
# %%fal_jax
show(
  work / "train" / "learning_curve.png", "The loss on the training faces, and the error on others."
)

# %%
# %%fal_jax
import csv
import json

result = json.loads((work / "train" / "eval" / "test.json").read_text())
records = [json.loads(line) for line in (work / "train" / "metrics.jsonl").read_text().splitlines()]
course = {each["step"]: each["test/nme_ic"] for each in records if "test/nme_ic" in each}

for step, error in course.items():
  print(f"step {step:4}: {error:5.1f} %")
print(
  f"of {result['num_images']} faces that it was never shown, {result['fr_ic_10']:.0f} % have an error above 10 %"
)

# %% [markdown]
# A mean hides much. So the evaluation also draws faces: the first ones of the test set as they come, and the worst.
# Green is the truth, magenta what the network says.

# %%
# %%fal_jax
show(work / "train" / "eval" / "test_first.jpg", "The first faces of the test set.", width=900)

# %%
# %%fal_jax
show(
  work / "train" / "eval" / "test_failures.png",
  "The worst faces, beside the median and the best. What do the worst have in common?",
  width=1000,
)

# %% [markdown]
# And where on the face it errs:

# %%
# %%fal_jax
worst_region = max(result["regions"], key=result["regions"].get)
best_region = min(result["regions"], key=result["regions"].get)
show(
  work / "train" / "eval" / "test_landmarks.png",
  f"Mean error of each landmark. Worst: {worst_region} ({result['regions'][worst_region]:.1f} %), "
  f"best: {best_region} ({result['regions'][best_region]:.1f} %).",
  width=600,
)

# %% [markdown]
# Few steps on few faces make a poor network, as you see. `./launch/demo.sh` is the same with 2,000 faces and three times
# as many steps, and [configs](../../configs/README.md) lists what longer runs came to.

# %% [markdown]
# ## Your own pictures
#
# Now suppose that your pictures are not like these at all. Say you have a camera that sees warmth: faces are pale where
# photographs are dark. We imitate some such pictures. **In your own project, replace the next cell by your files.**
#
# A dataset of your own is a folder: images, a table with their landmarks, and a small file that says what the
# columns mean. Here it is written as CSV; `.pts`, COCO and the files of the usual annotation tools are read as well
# ([custom](../../tfds_builders/custom/README.md)).

# %%
# %%fal_jax
import cv2
import numpy as np
from PIL import Image

from tfds_builders.synthetic_faces.render import render_face

own = work / "warm"
(own / "images").mkdir(parents=True, exist_ok=True)


def warm(image, number):
  """Makes of a photograph what a camera for warmth might show."""
  grey = 255 - cv2.GaussianBlur(image.mean(-1), (0, 0), 1.5)
  noise = np.random.default_rng(number).normal(0, 6, grey.shape)
  return np.clip(0.8 * grey + noise, 0, 255).astype(np.uint8)


with open(own / "landmarks.csv", "w", newline="") as file:
  table = csv.writer(file)
  table.writerow(["image", "split", *(f"{axis}{k}" for k in range(68) for axis in "xy")])
  for number in range(68):
    face = render_face(0, "warm", number, annotated=True, varied=True)
    name = f"images/{number:03d}.png"
    Image.fromarray(warm(face.image, number)).save(own / name)
    split = "test" if number < 20 else "train"
    table.writerow([name, split, *np.round(face.landmarks_68, 2).ravel()])

# %% [markdown]
# `markup.yaml` says that the 68 landmarks are in the usual order, and that the table counts pixels from 0. A wrong
# `origin` would shift every landmark, so there is no default.

# %% language="bash"
# cat > runs/notebooks/warm/markup.yaml <<'END'
# name: warm
# markup: 68
# origin: 0
# END
# python -m tfds_builders.prepare custom --manual_dir=runs/notebooks/warm --data_dir=runs/notebooks/data --overwrite

# %% [markdown]
# `--mode=doctor` looks for what is wrong with a dataset before a network learns it: left and right exchanged, odd
# boxes, the same image in two splits. It writes a page to look at, and says here what it found.

# %% language="bash"
# python -m fal_jax.main --config=configs/custom.py:runs/notebooks/warm/markup.yaml --mode=doctor \
#   --config.data.dir=runs/notebooks/data --workdir=runs/notebooks/warm_doctor

# %%
# %%fal_jax
warm_faces = data.open_split("custom/warm", "test", **where)
show_records(
  [warm_faces[number] for number in range(6)], "Your pictures, as the library reads them."
)

# %% [markdown]
# ### Is the network that comes with the library good enough?
#
# Ask first. Perhaps nothing needs to be trained.

# %% language="bash"
# python -m fal_jax.main --mode=eval --weights=free-68 --workdir=runs/notebooks/warm_before \
#   --config.eval.name=custom/warm --config.data.dir=runs/notebooks/data --config.eval.boxes="('landmarks',)"

# %% [markdown]
# ### Go on from there
#
# Forty-eight pictures are far too few to start from nothing. But `free-68` knows faces; it has to learn only how they look
# here. `--config.init_from` starts from its weights, under its own config, at a lower rate and for a short time.

# %% language="bash"
# python -m fal_jax.main --config=configs/free_68.py --workdir=runs/notebooks/warm_tuned --config.init_from=free-68 \
#   --config.data.name=custom/warm --config.data.dir=runs/notebooks/data \
#   --config.train.batch_size=12 --config.train.epochs=4 --config.train.frozen=0 \
#   --config.optimizer.learning_rate=1e-3 --config.eval.every_epochs=4 --config.eval.boxes="('landmarks',)" \
#   --config.log.every_steps=4

# %%
# %%fal_jax
before = json.loads((work / "warm_before" / "eval" / "custom" / "warm" / "test.json").read_text())
after = json.loads((work / "warm_tuned" / "eval" / "test.json").read_text())
show(
  work / "warm_tuned" / "eval" / "test_first.jpg",
  f"Faces of the test split after {after['provenance']['step']} steps. The mean error was "
  f"{before['nme_ic']:.1f} % before and is {after['nme_ic']:.1f} % now.",
  width=900,
)

# %% [markdown]
# ### Use it
#
# Landmarks for new pictures, from the folder of the run. The face detector knows photographs and may find no face on
# pictures like these; then say where the faces are, in a table of boxes.

# %%
# %%fal_jax
new = work / "warm_new"
new.mkdir(exist_ok=True)
with open(new / "boxes.csv", "w", newline="") as file:
  table = csv.writer(file)
  table.writerow(["image", "x0", "y0", "x1", "y1"])
  for number in range(3):
    face = render_face(0, "new", number, annotated=True, varied=True)
    Image.fromarray(warm(face.image, number)).save(new / f"{number}.png")
    table.writerow([f"{number}.png", *np.round(face.box, 1)])

# %% language="bash"
# python -m fal_jax.main --mode=predict --weights=runs/notebooks/warm_tuned \
#   --images=runs/notebooks/warm_new --boxes=runs/notebooks/warm_new/boxes.csv --out=runs/notebooks/warm_predictions

# %%
# %%fal_jax
for drawing in sorted((work / "warm_predictions" / "overlays").iterdir()):
  show(drawing, f"{drawing.stem}: the box that was given, and the points.", width=360)

# %% [markdown]
# ## Where to go on
#
# * Correct `predictions.csv` in a table or an annotation tool and add it to your dataset: annotating by correcting is
#   much faster than from nothing.
# * `--mode=export --weights=runs/notebooks/warm_tuned --out=FOLDER` takes the network out of here, for an app or a web
#   page.
# * With an accelerator: [tpu](tpu.ipynb), and `configs/custom.py` for the paper's network at full size.
# * What a run writes, and every key of a config: [configs](../../configs/README.md).
