"""`prepare --crops_dir`: squares in place of photographs, on which the same run is possible."""

import genuine_files
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds
import w300_files

from fal_jax import affine, data
from fal_jax.crop import CropRule, crop_from_image, extract
from fal_jax.images import read_image
from tfds_builders import prepare
from tfds_builders.common.crops import FaceCrops
from tfds_builders.synthetic_faces import synthetic_faces_dataset_builder as synthetic_faces

CUT = CropRule(stored_size=512)
# Those of the paper's network, and of the small configs.
RULES = [CropRule(), CropRule(size=64, stored_size=104, face=55.0)]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
  """Five rendered faces: name, mark-up, and the folders of the photographs and of the squares."""
  photos, squares = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("squares")
  config = synthetic_faces.SyntheticFacesConfig(
    name="few", num_train=3, num_test=2, num_processes=1
  )
  source = synthetic_faces.Builder(data_dir=photos, config=config)
  source.download_and_prepare(download_dir=photos / "downloads")
  crops = FaceCrops(source=source, rule=CUT, replace=True, data_dir=squares)
  crops.download_and_prepare(download_dir=squares / "downloads")
  return "synthetic_faces/few", 68, photos, squares


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
  """The genuine samples of 300W, through the command line."""
  manual_dir = genuine_files.path("samples", "w300")
  photos, squares = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("squares")
  options = ["--allow_partial", "--skip_bad", f"--manual_dir={manual_dir}", f"--data_dir={photos}"]
  assert prepare.main(["w300", *options, "--crops=512", f"--crops_dir={squares}"]) == 0
  return "w300", 68, photos, squares


@pytest.fixture(params=["rendered", "genuine"])
def both(request):
  """(split -> records) of photographs and of squares."""
  name, num_landmarks, *folders = request.getfixturevalue(request.param)
  splits = list(tfds.builder(name, data_dir=folders[0]).info.splits)
  assert list(tfds.builder(name, data_dir=folders[1]).info.splits) == splits
  return [
    {
      split: data.open_split(name, split, data_dir=str(folder), num_landmarks=num_landmarks)
      for split in splits
      if split in ("train", "fit", "val", "test")
    }
    for folder in folders
  ]


def assert_nearly_the_same(images, others):
  """They differ by a compression and by one more resampling: less than by half a pixel."""
  one, other = np.stack(list(images)).astype(int), np.stack(list(others)).astype(int)
  difference = np.abs(one - other).mean()
  assert difference < 2
  assert difference < np.abs(one - np.roll(one, 1, axis=2)).mean() / 2


@pytest.mark.slow
def test_the_faces_and_their_order_are_those_of_the_photographs(both):
  photos, squares = both
  for split, records in photos.items():
    ids = list(map(data.example_id, records))
    assert len(ids) > 1 and list(map(data.example_id, squares[split])) == ids
    for one, other in zip(records, squares[split], strict=True):
      assert one.keys() == other.keys()
      np.testing.assert_array_equal(other["visible"], one["visible"])


@pytest.mark.parametrize("rule", RULES, ids=["paper", "small"])
def test_training_gets_the_same_landmarks_and_nearly_the_same_pixels(both, rule):
  photos, squares = (
    [data.load_train_example(splits["train"], index, rule) for index in range(3)] for splits in both
  )
  for one, other in zip(photos, squares, strict=True):
    np.testing.assert_allclose(other["landmarks"], one["landmarks"], atol=1e-3)
  assert_nearly_the_same(*([example["image"] for example in faces] for faces in (photos, squares)))


@pytest.mark.parametrize("growth", [0.9, 1.1])
@pytest.mark.parametrize("shift", [(0.1, 0.1), (-0.1, 0.1)])
def test_moved_and_scaled_boxes_still_fit(both, shift, growth):
  """All that a stored crop around them shows of the photograph is in the square."""
  rule = RULES[0]

  def stored(record):
    low, high = record["box_landmarks"].astype(np.float64).reshape(2, 2)
    side, centre = max(high - low), (low + high) / 2
    half = (high - low) / 2 * growth
    centre = centre + side * np.array(shift)
    crop = crop_from_image(np.concatenate([centre - half, centre + half]), rule)
    stored_from_crop = affine.invert(rule.crop_from_stored.astype(np.float64))
    stored_from_image = affine.compose(stored_from_crop, crop)
    return extract(read_image(record["image"], name=""), stored_from_image, rule.stored_size)

  assert_nearly_the_same(*([stored(splits["train"][i]) for i in range(3)] for splits in both))


def test_the_squares_say_what_they_are(rendered, capsys):
  name, _, photos, squares = rendered
  info = tfds.builder(name, data_dir=squares).info

  assert info.metadata["crops_of"] == "synthetic_faces/few/1.0.0"
  assert info.metadata["crops"] == {"box": "landmarks", "face": 220.0, "stored_size": 512}
  assert "in pixels of these squares, not of the photographs" in info.description
  assert info.metadata["markup"] == 68
  assert "crops" not in tfds.builder(name, data_dir=photos).info.metadata


# ---- The command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A small 300W, which the tests below prepare once."""
  folder = tmp_path_factory.mktemp("w300")
  w300_files.write_dataset(folder / "300w")
  return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
  """Runs it there with further options; exit code, output and errors."""
  w300_files.expect_counts(monkeypatch)
  monkeypatch.chdir(folder)

  def run(*options, data_dir="photos"):
    common = ["--manual_dir=300w", f"--data_dir={data_dir}"]
    code = prepare.main(["w300", *common, *options])
    printed = capfd.readouterr()
    return code, printed.out, printed.err

  return run


SQUARES = ("--crops=512", "--crops_dir=squares", "--crops_splits=fit,val")


def test_the_command_line_writes_a_dataset_that_the_same_config_trains_on(run, folder):
  code, out, err = run(*SQUARES)

  assert (code, err) == (0, "")
  *_, command, note = out.splitlines()
  assert "--config=configs/w300.py --config.data.dir=squares --workdir=runs/w300" in command
  assert note.endswith("in pixels of the squares.")

  _, photos = prepared.read(folder / "photos", "w300")
  _, squares = prepared.read(folder / "squares", "w300")
  assert squares.keys() == {"fit", "val"}
  for split, records in squares.items():
    assert list(map(data.example_id, records)) == list(map(data.example_id, photos[split]))

  record = squares["fit"][0]
  assert read_image(record["image"], name="").shape == (512, 512, 3)
  assert record["subset"] == photos["fit"][0]["subset"] != b""
  assert np.isnan(record["box_dataset"]).all(), "300W has none"

  code, out, err = run(*SQUARES)
  assert (code, err) == (0, "") and out.count("w300/1.0.0 is already built") == 2


@pytest.mark.parametrize(
  ("options", "named"),
  [
    (["--crops_dir=x"], "--crops_dir needs the size of the squares"),
    (["--crops=512", "--crops_splits=fit"], "--crops_splits is for --crops_dir"),
    (["--crops=500", "--crops_dir=x"], "must be even and at least 502"),
    (["--crops=513", "--crops_dir=x"], "must be even and at least 502"),
    (["--crops=512", "--crops_dir=x", "--crops_splits=fit,dev"], "no split 'dev'; it has train"),
    (["--crops=512", "--crops_dir=x", "--crops_box=dataset"], "has no dataset box"),
    (["--crops=512", "--crops_dir=photos"], "holds photographs, which nothing may replace"),
    (["--crops=520", *SQUARES[1:]], "'stored_size': 512}, fit, val): --overwrite replaces them"),
    (SQUARES[:2], "'stored_size': 512}, fit, val): --overwrite replaces them"),
  ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(run, folder, options, named):
  assert run(*SQUARES)[0] == 0
  code, _, err = run(*options)

  assert code == 2 and named in err and len(err.splitlines()) == 1
  assert not (folder / "x" / "w300" / "1.0.0").exists()
  assert "crops" not in tfds.builder("w300", data_dir=folder / "photos").info.metadata


def test_squares_are_not_cut_from_squares(run, folder):
  assert run(*SQUARES)[0] == 0
  code, _, err = run("--crops=512", "--crops_dir=again", data_dir="squares")
  assert code == 2 and "holds squares cut out of photographs already" in err
  assert not (folder / "again").exists()
