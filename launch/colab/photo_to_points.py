# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A photo in, points out
#
# A photograph of a face is a few hundred thousand pixels. What one wants of it is often a few dozen points: where the
# eyes, the brows, the nose, the lips and the jaw are. Here 68 of them are put on a photograph, first by one command,
# then step by step; and at each step we ask how far the result can be trusted.
#
# No GPU, no training, no account. The network comes with the repository and has only ever seen rendered faces.

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
# ## The photograph
#
# Photographs go into the folder `runs/notebooks/photos`. On Colab the next cell asks you for one; elsewhere copy one
# there, if you like, before you run it.

# %%
photos = Path("runs/notebooks/photos")
photos.mkdir(parents=True, exist_ok=True)
if "google.colab" in sys.modules:
  from google.colab import files

  for name in files.upload():
    Path(name).replace(photos / name)

# %% [markdown]
# If there is none, we take a sample that comes with matplotlib: the official portrait of Rear Admiral Grace Hopper,
# which is in the public domain.

# %%
# %%fal_jax
import shutil
from pathlib import Path

import matplotlib

photos = Path("runs/notebooks/photos")
if not any(photos.iterdir()):
  shutil.copy(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"), photos)

photo_file = max(photos.iterdir(), key=lambda file: file.stat().st_mtime)
print(f"Our photograph: {photo_file}")

# %% [markdown]
# ## One command
#
# This is all that most people need: photographs in, a table and drawings out. `--images` alone would do; the last two
# flags ask for more files, which we look at below. The first start takes a few seconds longer, because the network is
# compiled for your machine.

# %% language="bash"
# python -m fal_jax.main --mode=predict --images=runs/notebooks/photos \
#   --out=runs/notebooks/predictions --pts --heatmaps=right_eye_outer

# %%
# %%fal_jax
results = Path("runs/notebooks/predictions")


def written(kind, ending):
  """The first file of our photograph in a folder of the results."""
  files = sorted((results / kind).iterdir())
  return next(f for f in files if f.name.startswith(photo_file.stem) and f.suffix == ending)


show(written("overlays", ".jpg"), "The box that was found, and 68 points.", width=480)

# %% [markdown]
# ## Step by step: where is the face?
#
# The command does two things one after the other. A detector finds the faces, each as a box; then a network looks at
# each box. We do the same by hand.

# %%
# %%fal_jax
from fal_jax.detect import find_faces
from fal_jax.images import read_image

# Upright: phones store many photographs lying on their side, with a note that says so.
photo = read_image(photo_file, upright=True)
boxes, certainty = find_faces(photo)

print(f"{photo.shape[1]} x {photo.shape[0]} pixels, {len(boxes)} faces")
for box, value in zip(boxes, certainty, strict=True):
  print(f"x {box[0]:.1f} to {box[2]:.1f}, y {box[1]:.1f} to {box[3]:.1f}, certainty {value:.3f}")

# %%
# %%fal_jax
assert len(boxes), "No face was found: try a photograph in which a face is larger and upright."
box = boxes[0]  # the surest

# %% [markdown]
# ## Where are the points?
#
# The network sees a square around the box, shrunk to a fixed size, and answers with a map of heat for each landmark.
# `FaceAligner` does the cutting, the network and the reading of the maps, and returns pixels of the photograph.

# %%
# %%fal_jax
from fal_jax.predict import FaceAligner

aligner = FaceAligner.from_pretrained("free-68")
faces = aligner(photo, boxes)

print("landmarks", faces.landmarks.shape, "(faces, landmarks, x and y)")
print("scores   ", faces.scores.shape)

# %% [markdown]
# To see what it says one must look closely.

# %%
# %%fal_jax
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

markup = aligner.setup.markup


def close_up(axes, title=""):
  """Shows the photograph around the box."""
  side = max(box[2:] - box[:2])
  middle = (box[:2] + box[2:]) / 2
  axes.imshow(photo)
  axes.set(xlim=middle[0] + [-0.7 * side, 0.7 * side], ylim=middle[1] + [0.7 * side, -0.7 * side])
  axes.set_title(title, fontsize=11)
  axes.axis("off")


points = faces.landmarks[0]
figure, axes = plt.subplots(figsize=(8, 8))
close_up(axes)
axes.add_collection(LineCollection([points[[a, b]] for a, b in markup.edges], color="white", lw=1))
axes.scatter(*points.T, s=30, color="magenta", edgecolor="black", linewidth=0.6, zorder=2)
for number, point in enumerate(points):
  label = axes.annotate(str(number), point, (3, 3), textcoords="offset points", fontsize=8)
  label.set(color="white", path_effects=[withStroke(linewidth=2, foreground="black")])
show(figure, "The landmarks by number; left and right in their names are the person's own.")

# %%
# %%fal_jax
print(", ".join(f"{number} {markup.names[number]}" for number in (0, 8, 30, 36, 45, 48, 54)))

# %% [markdown]
# ## How sure is it?
#
# Each point comes with a score, the height of its heat. The network was taught heat of height 1, so that a score near
# 1 says "this looks like what I was shown", and one near 0 "I see no such thing here". It is not the size of the
# error. Points behind hair, hands or the edge of the picture mostly have low ones.

# %%
# %%fal_jax
scores = faces.scores[0]
figure, axes = plt.subplots(figsize=(8, 7))
close_up(axes)
dots = axes.scatter(
  *points.T, c=scores, s=55, cmap="viridis", vmin=0, vmax=1, edgecolor="white", lw=0.6
)
figure.colorbar(dots, label="score", shrink=0.7)
lowest = scores.argsort()[:3]
names = ", ".join(f"{markup.names[k]} ({scores[k]:.2f})" for k in lowest)
show(figure, f"The mean score is {scores.mean():.2f}; the lowest three: {names}.")

# %% [markdown]
# The command at the top was also asked for `--heatmaps` of one landmark, the outer corner of the right eye. So one can
# look at the heat itself: what the network draws, how three decoders read it, and two more views of the same face.

# %%
# %%fal_jax
show(
  written("heatmaps", ".png"),
  "One landmark through the network. The next notebook explains each of these maps.",
  width=1000,
)

# %% [markdown]
# ## How much does the box matter?
#
# Every detector draws its boxes in its own way. A good aligner should answer the same for all of them. So we move the
# box and change its size, and see how far the points go. Distances are in percent of the distance between the outer
# corners of the eyes, as in the literature.

# %%
# %%fal_jax
import numpy as np

shifts = np.array([-0.2, -0.15, -0.1, -0.05, 0.05, 0.1, 0.15, 0.2])
factors = np.array([0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3])


def moved_box(shift, factor):
  """The box, moved to the right by a fraction of its width, then enlarged."""
  size = box[2:] - box[:2]
  centre = (box[:2] + box[2:]) / 2 + [shift * size[0], 0]
  return np.concatenate([centre - factor * size / 2, centre + factor * size / 2])


moved_boxes = np.array(
  [moved_box(shift, 1) for shift in shifts] + [moved_box(0, factor) for factor in factors]
)
print(moved_boxes.shape, "boxes of one face")

# %% [markdown]
# There is a remedy: `refine=1` takes the box of the points that were found, and looks once more. It costs as much time
# again.

# %%
# %%fal_jax
from fal_jax import metrics

eyes = np.linalg.norm(np.diff(points[list(markup.outer_eyes)], axis=0))
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
moved = {}
worst = {}
for refine, style in ((0, "o-"), (1, "s--")):
  aligner_of_boxes = FaceAligner.from_pretrained("free-68", refine=refine)
  unmoved = aligner_of_boxes(photo, box[None]).landmarks
  moved[refine] = aligner_of_boxes(photo, moved_boxes).landmarks
  distance = metrics.nme(moved[refine], np.tile(unmoved, (16, 1, 1)), np.full(16, eyes))
  worst[refine] = distance.max()
  panels[0].plot(100 * shifts, distance[:8], style, label=f"refine={refine}")
  panels[1].plot(factors, distance[8:], style, label=f"refine={refine}")

panels[0].set(
  xlabel="box moved to the right, % of its width", ylabel="mean movement, % of the eyes"
)
panels[1].set(xlabel="size of the box, 1: as found")
panels[0].set_ylim(bottom=0)
panels[1].legend()
show(
  figure,
  f"How far the points move with the box: by {worst[0]:.1f} % at most, and by {worst[1]:.1f} % with "
  "refine=1.",
)

# %% [markdown]
# Which points are they? The same face, with the points of all 16 boxes:

# %%
# %%fal_jax
figure, panels = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
for axes, refine in zip(panels, (0, 1), strict=True):
  close_up(axes, f"refine={refine}")
  for landmarks in moved[refine]:
    axes.scatter(*landmarks.T, s=4, color="magenta")
show(figure, "The points of 16 boxes. Small clouds are points that the box hardly moves.")

# %% [markdown]
# ## How much do several looks agree?
#
# A second way to ask how sure the network is: let it look several times, at the face turned a little and mirrored,
# and bring all answers back to the photograph. Their mean is a better answer than each of them; their spread is an
# uncertainty in pixels, for each landmark.

# %%
# %%fal_jax
many_looks = FaceAligner.from_pretrained("free-68", views=16)(photo, box[None])
mean, uncertainty = many_looks.landmarks[0], many_looks.uncertainty[0]

figure, axes = plt.subplots(figsize=(8, 8))
close_up(axes)
axes.scatter(*mean.T, s=8, color="magenta")
for point, radius in zip(mean, uncertainty, strict=True):
  axes.add_patch(plt.Circle(point, 3 * radius, fill=False, color="yellow", lw=1.2))
least = markup.names[uncertainty.argmax()]
show(
  figure,
  f"Circles of three times the spread of 16 looks. On average it is {uncertainty.mean():.2f} pixels, "
  f"{100 * uncertainty.mean() / eyes:.1f} % of the distance between the eyes; the looks agree least "
  f"about {least}.",
)

# %% [markdown]
# The looks share one network, hence its prejudices: if all of them are wrong in the same way, the circles are small.
# The uncertainty tells good points from bad ones on a face; it is no guarantee.

# %% [markdown]
# ## What is in the files?
#
# The command at the top has written everything that we have seen, and more. **The table** has a line for each face:

# %% language="bash"
# cut -c 1-100 runs/notebooks/predictions/predictions.csv

# %% [markdown]
# **The JSON file** has a line for each photograph, and says how all was made, so that a year from now one still knows
# which network it was.

# %%
# %%fal_jax
import json

content = json.loads((results / "predictions.json").read_text())
print(json.dumps(content["network"], indent=2))
print("of each face:", ", ".join(content["images"][0]["faces"][0]))

# %% [markdown]
# **The `.pts` files** are the format of the 300W dataset, which many tools read. It counts pixels from 1, while
# everything else here counts from 0: the centre of the first pixel is (1, 1) there and (0, 0) here.

# %% language="bash"
# cd runs/notebooks/predictions/pts
# head -n 5 "$(ls | head -n 1)"

# %% [markdown]
# ## Take the network away
#
# All this needs the library. An app or a web page does not have it. `--mode=export` writes the network as files that
# others can run: ONNX, StableHLO and safetensors, each with a short program that uses it, and a card that says what it
# is. What was written is run again and compared.

# %% language="bash"
# python -m fal_jax.main --mode=export --weights=free-68 --out=runs/notebooks/free-68
# ls runs/notebooks/free-68

# %%
# %%fal_jax
exported = FaceAligner.from_exported("runs/notebooks/free-68")
difference = np.abs(exported(photo, boxes).landmarks - faces.landmarks).max()
print(f"The exported network puts no point further than {difference:.1g} pixels from ours.")

# %% [markdown]
# ## Your own photograph
#
# On Colab, run the notebook again from "The photograph" on. Elsewhere copy your photograph into
# `runs/notebooks/photos` and do the same: the newest file there is taken. Things to try:
#
# * a face that is half covered by a hand: do the scores say so?
# * a group: every cell above shows the surest face, the command at the top all of them;
# * faces below a tenth of the picture: `find_faces(photo, small=True)`, or `--small_faces` of the command;
# * the more accurate network `w300-68`, which was trained on photographs and is for research only:
#   `--weights=w300-68`, or `FaceAligner.from_pretrained("w300-68")`.
#
# All flags are in [fal_jax/photos](../../fal_jax/photos/README.md), what is known about the two networks is in
# [fal_jax/weights](../../fal_jax/weights/README.md). How a point is read off a map of heat, more finely than its cells,
# is the subject of the next notebook, [paper_in_pictures](paper_in_pictures.ipynb).
