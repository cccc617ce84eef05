"""Photographs that EXIF turns, images of more than 8 bits: the landmarks' pixels are written."""

import io

import custom_files as files
import cv2
import numpy as np
import pytest
from PIL import Image

from fal_jax.images import read_image

SEEDS = range(4)
UPRIGHT, STORED = f"{files.MARKUP}\nupright: true\n", f"{files.MARKUP}\nupright: false\n"

# EXIF orientation -> the stored pixels of an upright picture.
STORE = {
  1: lambda upright: upright,
  2: lambda upright: upright[:, ::-1],
  3: lambda upright: upright[::-1, ::-1],
  5: lambda upright: upright.transpose(1, 0, 2),
  6: np.rot90,
  8: lambda upright: np.rot90(upright, -1),
}


def write_turned(root, orientation, *, only=SEEDS, suffix="png"):
  """Stores the pictures of some seeds turned, with the tag that turns them back."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  for seed in only:
    (root / files.name(seed)).unlink()
    pixels = STORE[orientation](files.draw(files.landmarks(seed)))
    path = (root / files.name(seed)).with_suffix(f".{suffix}")
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif)


def check_upright(records, seeds=SEEDS):
  """The first landmark lies on its disc, the pictures are those that were drawn."""
  rows = {row["file_name"].decode(): row for split in records.values() for row in split}
  for seed in seeds:
    row = rows[files.name(seed)]
    np.testing.assert_array_equal(read_image(row["image"]), files.draw(files.landmarks(seed)))
    np.testing.assert_allclose(row["landmarks"], files.landmarks(seed), atol=4e-6)


@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 8])
def test_upright_turns_the_pixels_of_a_table_s_images(custom_root, prepare_custom, orientation):
  (custom_root / "markup.yaml").write_text(UPRIGHT)
  write_turned(custom_root, orientation, only=[1, 2])
  files.write_table(custom_root, files.rows(SEEDS))
  out, _, records = prepare_custom(custom_root)
  check_upright(records)
  assert "note: turned upright as its EXIF orientation says: 2 of these" in out

  untouched = next(row for row in records["train"] if row["file_name"] == files.name(3).encode())
  assert untouched["image"] == (custom_root / files.name(3)).read_bytes()


@pytest.mark.parametrize("write", [files.write_pts, None])
@pytest.mark.parametrize("orientation", [3, 6])
def test_where_nothing_tells_the_key_is_asked_for(custom_root, refused, write, orientation):
  write_turned(custom_root, orientation)
  if write:
    write(custom_root, SEEDS)
  else:
    files.write_table(custom_root, files.rows(SEEDS))
  error = refused("--skip_bad")
  assert f"4 images have an EXIF orientation, the first is {files.name(0)}" in error
  assert "`upright: true`" in error and "`upright: false`" in error
  assert len(error.splitlines()) == 1


def test_the_question_tells_when_landmarks_answer_it(custom_root, refused):
  write_turned(custom_root, 6)
  table = files.rows(SEEDS)
  table[2][1] = 55  # beyond the 50 stored columns
  files.write_table(custom_root, table)
  assert "(true, it seems: in 1 of them they lie outside the stored pixels)" in refused()


def test_images_without_a_tag_or_without_landmarks_need_no_key(custom_root, prepare_custom):
  write_turned(custom_root, 1, only=[1])
  write_turned(custom_root, 6, only=[3])
  files.write_table(custom_root, files.rows(range(3)))
  check_upright(prepare_custom(custom_root)[2], range(3))


def test_the_size_of_the_upright_picture_in_a_coco_file_decides(custom_root, prepare_custom):
  write_turned(custom_root, 6, only=[1, 2])
  write_turned(custom_root, 3, only=[3])  # whose size is the same either way
  files.write_coco(custom_root, files.coco(SEEDS))
  out, _, records = prepare_custom(custom_root)
  check_upright(records)
  assert "because the width and height beside the landmarks are those of the turned image: 3" in out


def test_stored_sizes_and_mixed_ones_do_not_decide(custom_root, refused):
  write_turned(custom_root, 6)
  content = files.coco(SEEDS)
  for image in content["images"][:2]:
    image["width"], image["height"] = files.SIZE
  files.write_coco(custom_root, content)
  assert "nothing tells which pixels the landmarks belong to" in refused()

  for image in content["images"]:
    image["width"], image["height"] = files.SIZE
  files.write_coco(custom_root, content)
  assert "nothing tells which pixels the landmarks belong to" in refused("--skip_bad")


def test_the_key_wins_over_stored_sizes_and_says_so(custom_root, prepare_custom):
  """As label-studio exports: the stored size, landmarks of the upright picture."""
  (custom_root / "markup.yaml").write_text(UPRIGHT)
  write_turned(custom_root, 6)
  content = files.coco(SEEDS)
  for image in content["images"]:
    image["width"], image["height"] = files.SIZE
  files.write_coco(custom_root, content)
  out, _, records = prepare_custom(custom_root)
  check_upright(records)
  assert "the file's width and height are those of the stored pixels, but `upright: true`" in out


def test_a_size_that_is_neither_is_an_error_still(custom_root, refused):
  (custom_root / "markup.yaml").write_text(UPRIGHT)
  write_turned(custom_root, 6)
  content = files.coco(SEEDS)
  content["images"][1]["width"] = 59
  files.write_coco(custom_root, content)
  assert "face 01.png should be 59 x 50, they are 60 x 50: turned or resized?" in refused()


def test_stored_pixels_stay_as_they_are_on_demand(custom_root, prepare_custom):
  (custom_root / "markup.yaml").write_text(STORED)
  write_turned(custom_root, 6)
  table = files.rows(SEEDS)
  table[2][1] = 55
  files.write_table(custom_root, table)
  out, _, records = prepare_custom(custom_root)
  for row in (row for split in records.values() for row in split):
    assert row["image"] == (custom_root / row["file_name"].decode()).read_bytes()
  assert (
    "warning: has an EXIF orientation, and landmarks outside the image that would lie inside it "
    f"with `upright: true` in markup.yaml: {files.name(1)}"
  ) in out


def write_deep(root, low, high, *, only=SEEDS, dtype=np.uint16, suffix=".png"):
  """Grey pictures of some seeds whose values go from one to the other; returns them by name."""
  pictures = {}
  for seed in only:
    (root / files.name(seed)).unlink(missing_ok=True)
    grey = files.draw(files.landmarks(seed)).max(-1) / 255
    grey[0, 0], grey[0, 1] = 0, 1
    values = low + grey * (high - low)
    values = np.round(values).astype(dtype) if dtype is np.uint16 else values.astype(dtype)
    path = (root / files.name(seed)).with_suffix(suffix)
    path.write_bytes(cv2.imencode(suffix, values)[1].tobytes())
    pictures[path.relative_to(root).as_posix()] = values
  return pictures


def rows(suffix):
  header, *lines = files.rows(SEEDS)
  return [header, *([str(line[0]).replace(".png", suffix), *line[1:]] for line in lines)]


def test_few_grey_levels_are_a_warning_that_suggests_the_range(custom_root, prepare_custom):
  write_deep(custom_root, 29315, 31015)
  files.write_table(custom_root, files.rows(SEEDS))
  out, info, _ = prepare_custom(custom_root)
  warning = next(line for line in out.splitlines() if line.startswith("warning"))
  assert "so that 8 of 256 grey levels are left: `range: [29315, 30" in warning
  assert "4 of these, the first is images/face 00.png" in warning
  assert list(info.metadata["warnings"].values()) == [[files.name(seed) for seed in SEEDS]]


def test_one_odd_image_does_not_hide_that_the_others_are_flat(custom_root, prepare_custom):
  write_deep(custom_root, 0, 4095, only=range(39))
  write_deep(custom_root, 0, 65535, only=[39])
  files.write_table(custom_root, files.rows(range(40)))
  assert "so that 17 of 256 grey levels are left: `range: [0, 40" in prepare_custom(custom_root)[0]


def test_images_that_use_the_whole_range_are_not_warned_of(custom_root, prepare_custom):
  write_deep(custom_root, 500, 60000)
  files.write_table(custom_root, files.rows(SEEDS))
  assert "warning" not in prepare_custom(custom_root)[0]


@pytest.mark.parametrize(
  ("low", "high", "kind"),
  [
    (29000, 31100, {"dtype": np.uint16, "suffix": ".png"}),
    (290.0, 311.0, {"dtype": np.float32, "suffix": ".tiff"}),
  ],
)
def test_a_range_is_stretched_the_same_for_every_image(
  custom_root, prepare_custom, low, high, kind
):
  (custom_root / "markup.yaml").write_text(f"{files.MARKUP}\nrange: [{low}, {high}]\n")
  span = high - low
  pictures = write_deep(custom_root, low + span / 7, high - span / 7, only=[0, 1], **kind)
  pictures |= write_deep(custom_root, low, high, only=[2, 3], **kind)
  files.write_table(custom_root, rows(kind["suffix"]))
  out, info, records = prepare_custom(custom_root)
  assert "warning" not in out and info.metadata["value_range"] == [low, high]

  for row in (row for split in records.values() for row in split):
    values = pictures[row["file_name"].decode()].astype(np.float64)
    expected = np.clip((values - low) / span, 0, 1) * 255
    pixels = read_image(row["image"])
    assert np.abs(pixels - expected[..., None]).max() < 0.51 and np.ptp(pixels) > 180


def test_a_range_that_clips_much_is_a_warning(custom_root, prepare_custom):
  (custom_root / "markup.yaml").write_text(f"{files.MARKUP}\nrange: [20, 38]\n")
  write_deep(custom_root, 29315, 31015)
  files.write_table(custom_root, files.rows(SEEDS))
  warning = (
    "warning: 100% of the pixels of images of more than 8 bits are outside `range: [20, 38]`"
  )
  assert warning in prepare_custom(custom_root)[0]


def test_a_range_for_8_bits_is_refused_and_a_mixture_noted(custom_root, refused, prepare_custom):
  (custom_root / "markup.yaml").write_text(f"{files.MARKUP}\nrange: [20, 200]\n")
  files.write_table(custom_root, files.rows(SEEDS))
  assert "`range` in markup.yaml is for images of more than 8 bits per channel" in refused()

  write_deep(custom_root, 0, 255, only=[1])
  out = prepare_custom(custom_root)[0]
  assert "note: has 8 bits per channel: `range` is not applied to it: 3 of these" in out


def test_32_bits_without_a_range_are_refused_with_the_key(custom_root, refused):
  write_deep(custom_root, 290, 311, dtype=np.float32, suffix=".tiff")
  files.write_table(custom_root, rows(".tiff"))
  assert refused().count("in your own dataset give `range` in markup.yaml") == 4


def test_range_and_upright_go_together(custom_root, prepare_custom):
  (custom_root / "markup.yaml").write_text(f"{UPRIGHT}range: [0, 1000]\n")
  exif = Image.Exif()
  exif[0x0112] = 6
  upright = {}
  for seed in SEEDS:
    upright[seed] = files.draw(files.landmarks(seed)).max(-1).astype(np.uint16) * 3
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright[seed])))
    stored.save(custom_root / files.name(seed), exif=exif)
  files.write_table(custom_root, files.rows(SEEDS))
  _, _, records = prepare_custom(custom_root)
  row = records["test"][0]
  pixels = read_image(row["image"])[..., 0].astype(float)
  assert np.abs(pixels - upright[0] * 0.255).max() <= 0.5
  assert Image.open(io.BytesIO(row["image"])).mode == "L"
