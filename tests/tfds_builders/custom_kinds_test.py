"""Few landmarks, and files of many endings, as people have them."""

import custom_files as files
import numpy as np
import pytest
import tiny_dataset
from PIL import Image

from configs import custom
from fal_jax import data
from fal_jax.crop import CropRule
from fal_jax.doctor import run as doctor
from fal_jax.errors import InputError
from fal_jax.images import IMAGE_SUFFIXES

SEEDS = range(4)
NOSE = "name: nose\norigin: 0\nlandmarks: [nose]\nmirror: []\n"
EYES = "name: eyes\norigin: 0\nlandmarks: [right_eye, left_eye]\nmirror: [[0, 1]]\n"
BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]


def write_noses(root, seeds, *, boxes=(), markup=NOSE):
  """A table of one landmark; the images of some seeds with a box."""
  (root / "markup.yaml").write_text(markup)
  lines = [
    [files.name(seed), *files.landmarks(seed)[2], *([8, 6, 52, 44] if seed in boxes else [""] * 4)]
    for seed in seeds
  ]
  files.write_table(root, [["image", "x0", "y0", *BOX], *lines])


def test_one_landmark_needs_a_box_which_is_said_once(custom_root, refused):
  write_noses(custom_root, SEEDS)
  error = refused("--skip_bad")
  assert "markup.yaml describes one landmark, which tells no size of a face: give each" in error
  assert len(error.splitlines()) == 1

  write_noses(custom_root, SEEDS, boxes=[0, 1, 2])
  error = refused()
  assert "face 03.png: one landmark and no box, which would tell how large the face is" in error
  assert "1 problem below" in error


def test_one_landmark_is_far_outside_by_the_size_of_its_box(custom_root, refused):
  write_noses(custom_root, SEEDS, boxes=SEEDS)
  text = (custom_root / "landmarks.csv").read_text().splitlines()
  cells = text[2].split(",")
  text[2] = ",".join([cells[0], "150", *cells[2:]])
  (custom_root / "landmarks.csv").write_text("\n".join(text))
  assert "landmarks lie up to 90 px outside the 60 x 50 image" in refused()


def test_of_several_landmarks_a_single_one_with_a_box_is_kept_with_a_warning(
  custom_root, prepare_custom
):
  table = [[*row, *([8, 6, 52, 44] if i else BOX)] for i, row in enumerate(files.rows(SEEDS))]
  table[2][3:11] = [""] * 8
  files.write_table(custom_root, table)
  out = prepare_custom(custom_root)[0]
  assert "warning: one landmark is annotated: only --config.data.box=dataset can crop" in out


def test_level_eyes_are_a_face_and_the_doctor_agrees(custom_root, prepare_custom, tmp_path):
  (custom_root / "markup.yaml").write_text(EYES)
  lines = [[files.name(seed), 15 + seed, 20, 40, 20] for seed in SEEDS]
  files.write_table(custom_root, [files.HEADER[:5], *lines])
  _, _, records = prepare_custom(custom_root, name="eyes")
  assert sum(map(len, records.values())) == 4

  config = custom.get_config(str(custom_root / "markup.yaml"))
  assert config.eval.norm == "diag"
  config.data.dir = str(custom_root.parent / "data")
  page = doctor.run(config, tmp_path / "page", command="")
  assert "0 errors" in page, page


@pytest.mark.heavy  # it compiles a network of its own
def test_one_landmark_is_looked_at_trained_and_evaluated(tmp_path, prepare_custom):
  tiny_dataset.folder(tmp_path)  # sets up the cache of compiled functions
  root = files.write_images(tmp_path / "faces", range(10))
  write_noses(root, range(10), boxes=range(10))
  prepare_custom(root, name="nose")

  config = custom.get_config(str(root / "markup.yaml"))
  assert config.data.box == "dataset"
  with config.unlocked():
    config.update_from_flattened_dict(
      {**tiny_dataset.SMALL, "train.epochs": 1.0, "data.dir": str(tmp_path / "data")}
    )
  page = doctor.run(config, tmp_path / "page", command="")
  assert "0 errors, 0 warnings" in page, page

  run = tmp_path / "run"
  summary = tiny_dataset.run(config, run)["test"]
  assert summary["protocol"]["norm"] == "box" and np.isfinite(summary["nme_box"])
  assert "box" not in summary["degenerate"]
  assert (run / "eval" / "test_landmarks.png").is_file()


@pytest.mark.parametrize("box", ["landmarks", "detector"])
def test_a_box_of_one_spot_is_refused_with_the_key_that_helps(box):
  record = {"file_name": "a.png", "face_index": 0, "box_landmarks": np.array([5.0, 6, 5, 6])}
  with pytest.raises(InputError, match=r"^a\.png.*lie on one spot.*config\.data\.box=dataset"):
    data.face_box(record, CropRule(box=box))


def test_pts_files_lie_beside_images_of_every_ending(custom_root, prepare_custom):
  kinds = [".jfif", ".JPE", ".Jpeg", ".jp2", ".ppm", ".gif", ".avif", ".bmp"]
  assert {kind.lower() for kind in kinds} <= set(IMAGE_SUFFIXES)
  for path in (custom_root / "images").iterdir():
    path.unlink()
  formats = {".jfif": "JPEG", ".jpe": "JPEG", ".jp2": "JPEG2000"}
  for seed, kind in enumerate(kinds):
    path = (custom_root / files.name(seed)).with_suffix(kind)
    image = Image.fromarray(files.draw(files.landmarks(seed)))
    image.save(path, formats.get(kind.lower(), kind[1:].upper()))
  files.write_pts(custom_root, range(len(kinds)))
  (custom_root / "images" / "face 99.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
  out, _, records = prepare_custom(custom_root)
  assert sum(map(len, records.values())) == len(kinds)
  assert "note: .heic: of no kind that is read: images/face 99.HEIC" in out


def test_two_images_of_one_name_are_refused_and_what_is_there_instead_is_named(
  custom_root, refused
):
  files.write_pts(custom_root, SEEDS)
  image = Image.open(custom_root / files.name(1))
  image.save(custom_root / "images" / "face 01.jfif", "JPEG")
  (custom_root / files.name(2)).rename(custom_root / "images" / "face 02.heic")
  error = refused()
  assert (
    "face 01.pts: expected one image of this name beside it, found face 01.jfif, face 01" in error
  )
  assert "found none (face 02.heic is not read: convert it to JPEG)" in error


@pytest.mark.parametrize("builder", ["w300", "menpo"])
def test_other_builders_read_the_same_endings(builder, tmp_path):
  from tfds_builders.common.pairs import read_pairs

  (tmp_path / "a.pts").write_text("1 2\n3 4\n")
  (tmp_path / "a.JFIF").write_bytes(b"")
  findings = []
  (face,), pairs = read_pairs(tmp_path, builder, num_landmarks=2, findings=findings)
  assert (face.file_name, pairs, findings) == (f"{builder}/a.JFIF", 1, [])
