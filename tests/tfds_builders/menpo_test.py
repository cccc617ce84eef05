"""The Menpo builder: two mark-ups, two releases with files of their own, every problem named."""

import shutil
import zipfile
from pathlib import Path

import genuine_files
import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds
import w300_files

from fal_jax.errors import InputError
from tfds_builders import prepare
from tfds_builders.common.downloads import Downloads
from tfds_builders.menpo import menpo_dataset_builder
from tfds_builders.menpo.menpo_dataset_builder import Builder

COUNTS = {  # of both releases: the second has a training face less of each mark-up
  "challenge of 2017": {68: {"train": 4, "test": 2}, 39: {"train": 3, "test": 1}},
  "MenpoBenchmark": {68: {"train": 3, "test": 2}, 39: {"train": 2, "test": 1}},
}
OFFICIAL = menpo_dataset_builder._RELEASES
CONFIGS = {68: "frontal68", 39: "profile39"}
POSES = {68: "semifrontal", 39: "profile"}
BOX = (5.5, 6.25, 50.0, 44.0)


def face_landmarks(split: str, num_landmarks: int, index: int) -> np.ndarray:
  """(K, 2) float64, 0-based, with three decimals as in genuine files."""
  seed = [index, num_landmarks, split == "test"]
  return np.round(np.random.default_rng(seed).uniform([4, 4], [55, 45], (num_landmarks, 2)), 3)


def stem(num_landmarks: int, index: int) -> str:
  return f"aflw__face_{num_landmarks}{index:03d}"


def write_challenge(root: Path) -> None:
  """Images and `.pts` in one folder, both mark-ups mixed."""
  for num_landmarks, counts in COUNTS["challenge of 2017"].items():
    for split, count in counts.items():
      folder = root / f"{split}set"
      folder.mkdir(parents=True, exist_ok=True)
      for index in range(count):
        path = folder / stem(num_landmarks, index)
        w300_files.write_image(path.with_suffix(".jpg"), 1000 * num_landmarks + index)
        w300_files.write_pts(path.with_suffix(".pts"), face_landmarks(split, num_landmarks, index))


def line(split: str, num_landmarks: int, index: int) -> str:
  """A line of a face list: path, box, five detected points, landmarks counted from 1."""
  numbers = [*BOX, *range(10), *(face_landmarks(split, num_landmarks, index) + 1).ravel()]
  return f"image/{POSES[num_landmarks]}/{stem(num_landmarks, index)}.jpg " + " ".join(
    f"{value:.3f}" for value in numbers
  )


def write_benchmark(root: Path) -> None:
  """Images in folders by pose, one list for each."""
  for num_landmarks, counts in COUNTS["MenpoBenchmark"].items():
    for split, count in counts.items():
      pose = POSES[num_landmarks]
      folder = root / "Menpo2D" / split.title()
      (folder / "image" / pose).mkdir(parents=True)
      for index in range(count):
        path = folder / "image" / pose / f"{stem(num_landmarks, index)}.jpg"
        w300_files.write_image(path, 1000 * num_landmarks + index)
      lines = "\n".join(line(split, num_landmarks, index) for index in range(count))
      (folder / f"Menpo2D_{pose}_{split}.txt").write_text(lines + "\n")


WRITE = {"challenge of 2017": write_challenge, "MenpoBenchmark": write_benchmark}


@pytest.fixture(autouse=True)
def small_counts(monkeypatch):
  monkeypatch.setattr(menpo_dataset_builder, "_RELEASES", COUNTS)


@pytest.fixture(params=WRITE)
def release(request):
  return request.param


@pytest.fixture(params=CONFIGS)
def num_landmarks(request):
  return request.param


@pytest.fixture
def root(tmp_path, release):
  WRITE[release](tmp_path / "menpo")
  return tmp_path / "menpo"


@pytest.fixture
def challenge(tmp_path):
  write_challenge(tmp_path / "menpo")
  return tmp_path / "menpo"


@pytest.fixture
def benchmark(tmp_path):
  write_benchmark(tmp_path / "menpo")
  return tmp_path / "menpo"


def build(root, num_landmarks=68, **options) -> Builder:
  return Builder(data_dir=root.parent / "data", config=CONFIGS[num_landmarks], **options)


def train_names(root: Path) -> list[str]:
  """Names of the training images, without their folders."""
  return [Path(face.file_name).name for face in build(root).plan(root)["train"]]


def test_official_counts_are_those_of_the_mark_up(monkeypatch, tmp_path):
  monkeypatch.setattr(menpo_dataset_builder, "_RELEASES", OFFICIAL)
  counts = {
    name: Builder(data_dir=tmp_path, config=name).official_counts() for name in CONFIGS.values()
  }

  assert counts == {
    "frontal68": {"train": 6679, "test": 5335},
    "profile39": {"train": 2300, "test": 1946},
  }


def test_records_hold_one_mark_up_of_either_release(root, release, num_landmarks, capfd):
  name = CONFIGS[num_landmarks]
  code = prepare.main(
    [f"menpo/{name}", f"--data_dir={root.parent / 'data'}", f"--manual_dir={root}"]
  )
  printed = capfd.readouterr()

  assert (code, printed.err) == (0, "")

  counts = COUNTS[release][num_landmarks]
  assert f"release: {release}" in printed.out
  assert ["train", str(counts["train"]), str(counts["train"])] in prepared.table(printed.out)

  builder = tfds.builder_from_directory(root.parent / "data" / "menpo" / name / "1.0.0")
  assert builder.info.metadata["markup"] == num_landmarks
  assert builder.info.metadata["partial"] is False
  assert builder.info.metadata["release"] == release

  for split, count in counts.items():
    rows = list(builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()}))
    rows = sorted(rows, key=lambda row: row["file_name"])

    assert len(rows) == count

    for index, row in enumerate(rows):
      file = row["file_name"].decode()

      assert Path(file).stem == stem(num_landmarks, index)
      assert row["image"] == (root / file).read_bytes()
      np.testing.assert_allclose(
        row["landmarks"], face_landmarks(split, num_landmarks, index), rtol=0, atol=4e-6
      )

      box = BOX if release == "MenpoBenchmark" else [np.nan] * 4
      np.testing.assert_array_equal(row["box_dataset"], np.float32(box))
      assert row["visible"].all()


@pytest.mark.parametrize(
  ("name", "flags", "workdir"),
  [
    ("frontal68", "--config=configs/menpo.py --mode=eval", "runs/w300lp"),
    (
      "profile39",
      "--config.data.name=menpo/profile39 --config.data.markup=39",
      "runs/menpo_profile39",
    ),
  ],
)
def test_the_next_command_tests_the_one_and_trains_on_the_other(name, flags, workdir, tmp_path):
  builder = Builder(data_dir=tmp_path, config=name)
  assert flags in builder.train_flags() and builder.workdir() == workdir


def test_the_training_part_alone_is_enough_if_said(challenge, capfd):
  for file in (challenge / "testset").glob("*.pts"):
    file.unlink()  # as the challenge distributed the test
  command = ["menpo", f"--data_dir={challenge.parent / 'data'}", f"--manual_dir={challenge}"]
  assert prepare.main(command) == 2

  error = capfd.readouterr().err
  assert "testset or Menpo2D/Test: expected 2 faces with 68 landmarks, found 0" in error
  assert "beside this image" not in error
  assert "https://github.com/jiankangdeng/MenpoBenchmark" in error
  assert prepare.main([*command, "--allow_partial"]) == 0
  assert ["train", "4", "4"] in prepared.table(capfd.readouterr().out)


def test_a_face_too_few_for_either_release_is_missed(challenge):
  for index in (0, 1):
    for ending in (".jpg", ".pts"):
      (challenge / "trainset" / stem(68, index)).with_suffix(ending).unlink()
  with pytest.raises(
    InputError,
    match="\n  trainset or Menpo2D/Train: expected 4 or 3 faces with 68 landmarks, found 2",
  ):
    build(challenge).plan(challenge)
  assert len(build(challenge, 39).plan(challenge)["train"]) == 3


def test_the_challenge_s_files_may_lie_in_folders_of_their_own_or_in_the_archive(challenge):
  expected = train_names(challenge)
  inner = challenge / "trainset" / "semifrontal"
  inner.mkdir()
  for file in [path for path in (challenge / "trainset").iterdir() if path.is_file()]:
    file.rename(inner / file.name)
  assert train_names(challenge) == expected

  with zipfile.ZipFile(challenge / "menpo_challenge_trainset.zip", "w") as archive:
    for file in inner.iterdir():
      archive.write(file, file.name)
      file.unlink()
  shutil.rmtree(challenge / "trainset")

  assert train_names(challenge) == expected


def test_two_releases_at_once_are_not_mixed(challenge):
  write_benchmark(challenge)

  with pytest.raises(InputError) as caught:
    build(challenge).plan(challenge)

  lines = str(caught.value).splitlines()[1:]
  assert [text.split(":")[0].strip() for text in lines] == [
    "Menpo2D/Test/Menpo2D_semifrontal_test.txt",
    "Menpo2D/Train/Menpo2D_semifrontal_train.txt",
  ]
  assert "keep one of the two" in lines[0]


_BAD_PAIRS = {
  **w300_files.bad_pairs("aflw__face_68001"),
  "67 points": (
    lambda d: w300_files.write_pts(d / "aflw__face_68001.pts", np.ones((67, 2))),
    "aflw__face_68001.pts",
    "n_points '67', expected 68 or 39",
  ),
  "a line lost": (
    lambda d: (d / "aflw__face_68001.pts").write_text(
      "version: 1\nn_points: 68\n{\n" + "1 2\n" * 39 + "}"
    ),
    "aflw__face_68001.pts",
    "holds 39 landmarks, expected 68",
  ),
}


@pytest.mark.parametrize("kind", _BAD_PAIRS)
def test_each_kind_of_bad_pair_is_one_line_naming_it(kind, challenge):
  spoil, file, cause = _BAD_PAIRS[kind]
  spoil(challenge / "trainset")

  line = prepared.only_problem(
    "menpo", lambda: build(challenge, allow_partial=True).plan(challenge)
  )

  assert line.startswith(f"  trainset/{file}: ") and cause in line


def change_line(change):
  """Something that changes the second line of a list."""

  def spoil(folder: Path) -> None:
    path = folder / "Menpo2D_semifrontal_train.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], change(lines[1]), *lines[2:]]))

  return spoil


_LIST = "Menpo2D_semifrontal_train.txt"
_SECOND = "image/semifrontal/aflw__face_68001.jpg"
_BAD_LISTS = {
  "no image": (lambda d: (d / _SECOND).unlink(), _SECOND, "No such file"),
  "a number less": (
    change_line(lambda text: text.rsplit(maxsplit=1)[0]),
    _LIST,
    "line 2: expected an image's path and 150",
  ),
  "a number more": (
    change_line(lambda text: text + " 1.000"),
    _LIST,
    "line 2: expected an image's path and 150 numbers",
  ),
  "a word": (
    change_line(lambda text: text[:-3] + "x"),
    _LIST,
    "line 2: expected a path and 150 numbers",
  ),
  "not finite": (
    change_line(lambda text: text[: text.rindex(" ")] + " inf"),
    _LIST,
    "line 2: expected an image's path",
  ),
  "profile": (
    change_line(lambda _: line("train", 39, 0)),
    _LIST,
    "line 2: expected an image's path and 150 numbers, got 92",
  ),
  "leads out": (
    change_line(lambda text: "../../../" + text),
    _LIST,
    f"line 2: '../../../{_SECOND}' is outside",
  ),
  "twice": (
    change_line(lambda _: line("train", 68, 0)),
    "image/semifrontal/aflw__face_68000.jpg",
    "more than once",
  ),
  "not text": (lambda d: (d / _LIST).write_bytes(b"\xff\xfe\x00"), _LIST, "is not text in UTF-8"),
}


@pytest.mark.parametrize("kind", _BAD_LISTS)
def test_each_kind_of_bad_line_is_one_line_naming_it(kind, benchmark):
  spoil, file, cause = _BAD_LISTS[kind]
  spoil(benchmark / "Menpo2D" / "Train")

  line = prepared.only_problem(
    "menpo", lambda: build(benchmark, allow_partial=True).plan(benchmark)
  )

  assert line.startswith(f"  Menpo2D/Train/{file}: ") and cause in line


@pytest.mark.slow
def test_the_genuine_profiles_are_read_exactly(tmp_path):
  """The 2,300 genuine profiles, counted from 1 again and written as `.pts`; the first ones are
  known.
  """
  genuine = genuine_files.arrays(genuine_files.path("annotations", "menpo_profile.npz"))
  stems = [Path(name).stem for name in genuine["names"]]
  (tmp_path / "trainset").mkdir()
  for name, landmarks in zip(stems, genuine["landmarks"], strict=True):
    (tmp_path / "trainset" / f"{name}.jpg").touch()
    w300_files.write_pts(tmp_path / "trainset" / f"{name}.pts", landmarks)
  builder = Builder(data_dir=tmp_path / "data", config="profile39")
  layout = builder.layout(Downloads([tmp_path]))
  faces = {Path(face.file_name).stem: face for face in layout.splits["train"]}

  assert not layout.findings and len(faces) == 2300
  np.testing.assert_allclose(
    [faces[name].landmarks for name in stems], genuine["landmarks"], rtol=0, atol=1e-6
  )

  known = [name for name in Builder.FIRST_LANDMARKS if Path(name).stem in faces]

  assert len(known) == 2
  for name in known:
    first = faces[Path(name).stem].landmarks[0]
    np.testing.assert_allclose(first, Builder.FIRST_LANDMARKS[name], rtol=0, atol=1e-3)
