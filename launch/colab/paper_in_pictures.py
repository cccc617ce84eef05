# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The paper in pictures
#
# A network that finds landmarks answers with maps of heat. How a point is put on such a map, and how it is read off
# again, sounds like bookkeeping. *Subpixel Heatmap Regression for Facial Landmark Localization* (Bulat, Sanchez and
# Tzimiropoulos, BMVC 2021) noticed that a good part of the error of good networks is made there, and how to avoid it.
# Here are its ideas as pictures, by the functions that the library itself uses.

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
# ## A face whose landmarks are known exactly
#
# Annotations of photographs are made by hand, and most of them may not be passed on. So we render a face: its landmarks
# are points of a three-dimensional head, known to any fraction of a pixel, and nobody is shown.

# %%
# %%fal_jax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from fal_jax import affine
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.landmarks import tight_boxes
from tfds_builders.synthetic_faces.render import render_face

face = render_face(0, "notebook", 20, annotated=True, varied=True)
rule = CropRule()  # the paper's: a crop of 256 x 256 px, in which the face takes up 220
to_crop = crop_from_image(tight_boxes(face.landmarks_68[None])[0], rule)
crop = extract(face.image, to_crop, rule.size)
points = affine.apply(to_crop, face.landmarks_68)

figure, axes = plt.subplots(figsize=(5, 5))
axes.imshow(crop)
axes.scatter(*points.T, s=10, color="magenta")
axes.axis("off")
show(figure, f"The crop that a network sees, {rule.size} px wide, and its 68 landmarks.")

# %% [markdown]
# ## From a landmark to a heatmap
#
# For each landmark the network learns to draw a small hill, a Gaussian, on a map of its own. The maps are four times
# coarser than the crop: 64 x 64 cells. A landmark hardly ever falls on the middle of a cell. What then?
#
# * The usual way **rounds** the landmark to the nearest cell and draws the hill there (the paper's Eq. 2).
# * The paper draws the hill where the landmark is, **between** the cells (Eq. 3).
#
# In this library both are one object, which also reads the maps.

# %%
# %%fal_jax
from fal_jax.heatmap import HeatmapCodec

rounding = HeatmapCodec(encoding="rounded", decoding="argmax")
continuous = HeatmapCodec(encoding="continuous", decoding="local_softargmax")

rounded_maps = np.array(rounding.encode(jnp.asarray(points)))
continuous_maps = np.array(continuous.encode(jnp.asarray(points)))
print(continuous_maps.shape, "(rows, columns, landmarks)")

# %% [markdown]
# One landmark, the outer corner of the right eye, from close by: the cross is where it is.

# %%
# %%fal_jax
corner = 36
on_map = affine.apply(affine.shrink(continuous.stride), points)  # crop pixels to heatmap pixels
middle = np.round(on_map[corner])


def draw(axes, picture, title, **colours):
  """A picture, or heatmaps from 0 to 1, with a title."""
  axes.imshow(picture, **{"cmap": "magma", "vmin": 0, "vmax": 1, **colours})
  axes.set_title(title, fontsize=11)
  axes.set(xticks=[], yticks=[])


def zoom(axes, heatmap, title, reach=4):
  """Shows the cells around the corner of the eye."""
  draw(axes, heatmap, title)
  axes.set(xlim=middle[0] + [-reach - 0.5, reach + 0.5])
  axes.set(ylim=middle[1] + [reach + 0.5, -reach - 0.5])


figure, panels = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
zoom(panels[0], rounded_maps[..., corner], "rounded (Eq. 2)")
zoom(panels[1], continuous_maps[..., corner], "continuous (Eq. 3)")
for axes in panels:
  axes.plot(*on_map[corner], "+", color="cyan", markersize=16, markeredgewidth=2)
lost = np.linalg.norm(on_map[corner] - middle)
show(
  figure,
  f"Rounding moves the hill by {lost:.2f} cells, {continuous.stride * lost:.1f} pixels of the crop, "
  "before any network has learnt anything.",
)

# %% [markdown]
# The same for all 68 at once. At a glance both look right, which is why the loss went unnoticed for years.

# %%
# %%fal_jax
figure, panels = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
draw(panels[0], rounded_maps.max(-1), "rounded")
draw(panels[1], continuous_maps.max(-1), "continuous")
changed = (continuous_maps - rounded_maps).sum(-1)
draw(panels[2], changed, "what rounding changed", cmap="coolwarm", vmin=-1)
show(figure, "68 heatmaps of one face, drawn over each other.")

# %% [markdown]
# ## Back again: from a heatmap to a landmark
#
# The obvious reading is the highest cell (*argmax*): whole cells, so all that was put between them is lost again. The
# paper's **local soft-argmax** looks at the 5 x 5 cells around the highest, and takes their mean position, weighted by a
# softmax of their heights. Ours, *calibrated*, fits the very Gaussian that was drawn.

# %%
# %%fal_jax
import dataclasses

readings = {
  name: dataclasses.replace(continuous, decoding=name)
  for name in ("argmax", "local_softargmax", "calibrated")
}
marks = {"argmax": ("s", "black"), "local_softargmax": ("o", "blue"), "calibrated": ("x", "green")}


def draw_readings(axes, heatmaps):
  """Marks what each decoder reads off the map of the eye corner; returns their errors."""
  errors = {}
  for name, codec in readings.items():
    found = affine.apply(affine.shrink(codec.stride), np.array(codec.decode(heatmaps)[0])[corner])
    marker, colour = marks[name]
    axes.plot(*found, marker, color=colour, markersize=12, mfc="none", mew=2, label=name)
    errors[name] = np.linalg.norm(found - on_map[corner])
  axes.plot(*on_map[corner], "+", color="cyan", markersize=18, mew=2, label="the truth", zorder=1.9)
  axes.legend(fontsize=8, loc="lower left")
  return ", ".join(f"{name} {error:.3f}" for name, error in errors.items())


figure, axes = plt.subplots(figsize=(5.5, 5.5))
zoom(axes, continuous_maps[..., corner], "three readings of one heatmap", reach=3)
axes.add_patch(plt.Rectangle(middle - 2.5, 5, 5, fill=False, color="white", linestyle=":"))
errors = draw_readings(axes, jnp.asarray(continuous_maps))
show(figure, f"Errors in cells: {errors}. Dotted: the window of 5 x 5 cells.")

# %% [markdown]
# ## The error of many landmarks
#
# One landmark may be lucky. Here are those of sixty rendered faces, each encoded and decoded again. No network is
# involved: this is what the codec alone costs, and what even a perfect network would be off by.

# %%
# %%fal_jax
from fal_jax.codec_report.roundtrip import roundtrip

rendered = [render_face(0, "notebook", index, annotated=True, varied=True) for index in range(60)]
in_photos = np.array([each.landmarks_68 for each in rendered])
to_crops = np.array([crop_from_image(box, rule) for box in tight_boxes(in_photos)])
in_crops = affine.apply(to_crops, in_photos)

figure, panels = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True, layout="constrained")
codecs = {"rounded, highest cell": rounding, "continuous, local soft-argmax": continuous}
means = {}
for axes, (title, codec) in zip(panels, codecs.items(), strict=True):
  error = (roundtrip(codec, in_crops) - in_crops).reshape(-1, 2) / codec.stride
  means[title] = np.linalg.norm(error, axis=-1).mean()
  axes.scatter(*error.T, s=2, alpha=0.3)
  axes.set(title=title, xlabel="error in x, cells", aspect="equal", xlim=(-0.6, 0.6))
before, after = means.values()
show(
  figure,
  f"{in_crops[..., 0].size:,} landmarks, each encoded and decoded. Mean error {before:.3f} cells on "
  f"the left, {after:.3f} on the right: {before / after:.0f} times less.",
)

# %% [markdown]
# Any error in the left square is as likely as any other: the position within the cell is simply gone. (The faint cross
# are the outermost landmarks of each face: the crop puts their box on the middle of cells.) What is left on the right
# is no noise but the small bias of the soft-argmax, which depends on where in its cell a landmark lies.

# %% [markdown]
# ## The same as a table, for your annotations
#
# `--mode=codec_report` measures all decoders on any set of annotations, as the paper's Figure 3 does. Images are not
# needed. If the environment variable `FAL_JAX_TEST_DATA` names a folder with `annotations/w300_full.npz`, an array
# `landmarks` (faces, 68, 2) in image pixels, those are taken; otherwise our sixty rendered faces.

# %%
# %%fal_jax
import os
import shutil
from pathlib import Path

folder = Path("runs/notebooks/paper")
folder.mkdir(parents=True, exist_ok=True)
genuine = Path(os.environ.get("FAL_JAX_TEST_DATA", ""), "annotations", "w300_full.npz")
if genuine.is_file():
  shutil.copy(genuine, folder / "annotations.npz")
else:
  np.savez(folder / "annotations.npz", landmarks=in_photos)
print("annotations of", "300W" if genuine.is_file() else "rendered faces")

# %% language="bash"
# python -m fal_jax.main --config=configs/w300.py --mode=codec_report \
#   --landmarks=runs/notebooks/paper/annotations.npz --workdir=runs/notebooks/paper

# %%
# %%fal_jax
report = folder / "codec_report"
caption = "Left: the errors of all faces, sorted. Right: the local soft-argmax by temperature."
show(report / "annotations.png", caption, width=1000)
show(report / "annotations_position.png", "The error by the place in its cell.", width=1000)

# %% [markdown]
# ## Window, temperature, sigma
#
# Three numbers decide how well the local soft-argmax reads: the width of the hill (sigma), the window, and the
# temperature of the softmax. The paper gives a window of 5 and a temperature of 10, but no sigma. On perfect hills one
# can simply try them all; the report has done so.

# %%
# %%fal_jax
show(report / "annotations_settings.png", "Dotted: the setting of the config.", width=1000)

# %% [markdown]
# The soft-argmax has a narrow valley, and its settings belong together: with the paper's window and temperature a
# narrow hill is read badly. So the sigma that the paper does not give is not a matter of taste. The library's default is
# that of the dotted line.
#
# And where hills are noisy, as every network's are?

# %%
# %%fal_jax
show(report / "decoders_noise.png", "Errors of the decoders on hills with noise.", width=1000)

# %% [markdown]
# ## What a trained network draws
#
# So far all hills were perfect. A network's are lower, wider and crooked, where it is not sure. This is `free-68`, which
# comes with the repository; it sees crops of 128 pixels and draws maps of 32 x 32 cells.

# %%
# %%fal_jax
from fal_jax import build, network
from fal_jax.weights import pretrained

model = pretrained.load("free-68")
setup = build.setup(model.config)
predict = jax.jit(
  lambda images: network.predict(setup.network, model.variables, images).heatmaps[-1]
)

box = tight_boxes(face.landmarks_68[None])[0]
to_small = crop_from_image(box, setup.crop)
small = extract(face.image, to_small, setup.crop.size)
drawn = predict(small[None] / np.float32(255))[0]

points = affine.apply(to_small, face.landmarks_68)
on_map = affine.apply(affine.shrink(setup.codec.stride), points)
middle = np.round(on_map[corner])
readings = {name: dataclasses.replace(setup.codec, decoding=name) for name in readings}

figure, panels = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
draw(panels[0], small, "what it sees")
draw(panels[1], np.array(drawn).max(-1), "what it draws, all 68 maps")
zoom(panels[2], np.array(drawn)[..., corner], "outer corner of the right eye", reach=3)
errors = draw_readings(panels[2], drawn)
height = float(drawn[..., corner].max())
show(figure, f"Errors in cells: {errors}. The height of the hill is {height:.2f}.")

# %% [markdown]
# Now the network's own error comes on top, and no decoder can take that away. Over all landmarks of some faces the
# differences remain, though they are smaller than on perfect hills:

# %%
# %%fal_jax
some = rendered[:32]
boxes = tight_boxes(np.array([each.landmarks_68 for each in some]))
maps_from_images = [crop_from_image(box, setup.crop) for box in boxes]
pairs = list(zip(some, maps_from_images, strict=True))
crops = np.stack([extract(each.image, to, setup.crop.size) for each, to in pairs])
truth = np.array([affine.apply(to, each.landmarks_68) for each, to in pairs])
many_maps = predict(crops / np.float32(255))
for name, codec in readings.items():
  error = np.linalg.norm(np.array(codec.decode(many_maps)[0]) - truth, axis=-1).mean()
  print(f"{name:18} {error / codec.stride:.3f} cells")

# %% [markdown]
# ## Two views of one face
#
# The paper's other idea (Sec. 3.4): show the network the same face twice, differently turned, mirrored and coloured. Its
# maps should agree, once each is warped back. During training the maps of both views are warped back, **added**, and the
# sum is compared with the hills. Here is one such step, by the functions that training uses.

# %%
# %%fal_jax
from fal_jax import siamese
from fal_jax.augment import ViewRange, render_view, sample_view

stored = extract(
  face.image,
  affine.compose(affine.invert(setup.crop.crop_from_stored.astype(np.float64)), to_small),
  setup.crop.stored_size,
)
keys = [jax.random.key(seed) for seed in (10, 3)]
views = [sample_view(key, size=setup.crop.size, ranges=ViewRange()) for key in keys]
seen_images = [
  render_view(
    jnp.asarray(stored),
    view,
    crop_from_stored=setup.crop.crop_from_stored,
    size=setup.crop.size,
    colour_mode="photometric",
  )
  for view in views
]

flip = jnp.asarray(setup.markup.flip)
in_views = predict(jnp.stack(seen_images))
pulled = [
  siamese.pull_back(maps, view, stride=setup.codec.stride, flip=flip)[0]
  for maps, view in zip(in_views, views, strict=True)
]
combined, seen = siamese.combine(
  in_views[None, :, None],
  jax.tree.map(lambda *parts: jnp.stack(parts)[:, None], *views),
  stride=setup.codec.stride,
  flip=flip,
  reduce="sum",
)
target = seen[0][..., None] * setup.codec.encode(jnp.asarray(points))

figure, panels = plt.subplots(2, 4, figsize=(12, 6.2), layout="constrained")
for row in range(2):
  draw(panels[row, 0], np.array(seen_images[row]), f"view {row + 1}")
  draw(panels[row, 1], np.array(in_views[row]).max(-1), "its heatmaps")
  draw(panels[row, 2], np.array(pulled[row]).max(-1), "warped back")
draw(panels[0, 3], np.array(combined[0, 0]).max(-1), "sum of both", vmax=2)
draw(panels[1, 3], np.array(target).max(-1), "what it should be", vmax=2)
show(figure, "One face, two views. The two pictures on the right are what the loss compares.")

# %% [markdown]
# A mirrored view is mirrored back twice: its pixels, and its landmarks' names, since in a mirror the left eye is where
# the right one was. Forget the second and the network learns that left and right are the same.
#
# How well the maps of many views of many faces agree is what `--mode=network_report` measures for a trained run.
#
# ## Where to go on
#
# * The code of this notebook's ideas is short: [heatmap.py](../../fal_jax/heatmap.py),
#   [peaks.py](../../fal_jax/peaks.py) and [siamese.py](../../fal_jax/siamese.py).
# * [codec_report](../../fal_jax/codec_report/README.md) has these measurements on real annotations.
# * The next notebook, [train](train.ipynb), trains a network this way.
