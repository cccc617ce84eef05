"""Programs in an export find the library's landmarks, with nothing but what they say they need."""

import importlib.metadata
import inspect
import json
import os
import pathlib
import runpy
import subprocess
import sys

import exports
import numpy as np
import pytest
import tiny_dataset

from fal_jax import crop
from fal_jax.export import verify
from fal_jax.predict import FaceAligner

CONSUMERS = pathlib.Path(inspect.getfile(verify)).parent / "consumers"
pytest.importorskip("onnxruntime")
# Distributions that pip installs with them, and nothing else.
NEEDS = {
  "use_onnx.py": ("numpy", "onnxruntime", "protobuf", "flatbuffers", "packaging"),
  "use_stablehlo.py": (
    *("jax", "jaxlib", "ml_dtypes", "numpy", "opt_einsum", "scipy", "flatbuffers"),
  ),
}


@pytest.fixture(scope="module")
def photo():
  """(H, W, 3) uint8: noise over colours that change slowly."""
  rng = np.random.default_rng(0)
  rough = rng.uniform(0, 200, (400, 300, 3))
  return (rough + np.linspace(0, 55, 300)[:, None]).astype(np.uint8)


@pytest.mark.parametrize(
  "box",
  [
    (100, 120, 155, 160),  # as large as in the crop
    (100.3, 120.7, 130.2, 155.1),
    (20.5, 30.25, 250.75, 390),  # shrinks by more than a whole factor
    (-80.5, -50, 120, 99.9),  # beyond the photo
    (-3000, -3000, 3000, 3000),  # to a few pixels
    (5000, 5000, 5100, 5050),  # nowhere in it
  ],
)
@pytest.mark.parametrize("program", list(NEEDS))
def test_a_face_is_cut_out_as_the_library_does_to_a_grey_level(photo, program, box):
  functions = runpy.run_path(str(CONSUMERS / program))
  rule = crop.CropRule(size=64, stored_size=104, face=55.0)

  ours = functions["cut_out"](photo, box, size=64, face=55.0)

  expected = crop.extract(photo, crop.crop_from_image(np.array(box), rule), 64)
  difference = np.abs(ours.astype(int) - expected)
  assert difference.max() <= 1 and difference.mean() < 0.02
  assert ours.dtype == np.uint8 and ours.shape == expected.shape


def test_both_programs_cut_out_in_the_same_words():
  texts = [(CONSUMERS / name).read_text() for name in NEEDS]
  shared = [text[text.index("def read_photo") : text.index("def main")] for text in texts]
  assert shared[0] == shared[1]


def run(program, *arguments, folder=None):
  """What a program prints, in a process that finds only the packages of a folder."""
  command = [sys.executable, str(program), *map(str, arguments)]
  if folder is not None:
    start = f"import sys, runpy; sys.path.insert(0, {str(folder)!r}); sys.argv = sys.argv[1:]"
    start += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-S", "-I", "-c", start, *command[1:]]
  environment = {"HOME": os.devnull, "PYTHONPATH": str(tiny_dataset.ROOT)}
  return subprocess.run(
    command, env=environment, cwd=program.parent, capture_output=True, text=True, check=False
  )


def only(distributions, folder):
  """A folder of links to the top-level modules of installed distributions."""
  folder.mkdir()
  for name in distributions:
    files = importlib.metadata.files(name) or []
    for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
      link = folder / top
      if not link.exists():
        link.symlink_to(importlib.metadata.distribution(name).locate_file(top))
  return folder


@pytest.mark.heavy
@pytest.mark.parametrize("program", [*NEEDS, "use_safetensors.py"])
def test_a_fresh_process_with_those_packages_alone_finds_the_landmarks(
  program, tmp_path_factory, tmp_path
):
  directory = exports.folder(tmp_path_factory.getbasetemp())
  size = 270, 300  # the face shrinks in the crop
  points = tiny_dataset.face_landmarks(999, size)
  photo = tiny_dataset.draw_face(points, size)
  np.save(tmp_path / "photo.npy", photo)
  box = np.concatenate([points.min(0), points.max(0)])
  expected = FaceAligner.from_exported(directory)(photo, box[None])

  folder = only(NEEDS[program], tmp_path / "packages") if program in NEEDS else None
  done = run(directory / program, tmp_path / "photo.npy", *box, folder=folder)

  assert done.returncode == 0, done.stderr
  rows = [line.split() for line in done.stdout.splitlines() if "research use only" not in line]
  assert [row[0] for row in rows] == json.loads((directory / "export.json").read_text())["markup"][
    "names"
  ]
  found = np.array([row[1:] for row in rows], float)
  distance = np.abs(found[:, :2] - expected.landmarks[0]).max()
  print(f"{program}: {distance:.4f} px of the photo")
  assert distance < 0.05
  np.testing.assert_allclose(found[:, 2], expected.scores[0], rtol=0.01, atol=0.002)
  assert "research use only" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", list(NEEDS))
def test_a_program_without_arguments_says_how_it_is_called(program, tmp_path):
  done = run(CONSUMERS / program)
  assert done.returncode == 1 and "Usage: python" in done.stderr and "x0 y0 x1 y1" in done.stderr


@pytest.mark.parametrize("program", list(NEEDS))
@pytest.mark.parametrize(
  "corners", ["a b c d", "300 300 100 100", "1 2 1 2", "nan 2 3 4", "1 2 inf 4"]
)
def test_what_is_no_box_is_refused_in_a_sentence(program, corners):
  read_box = runpy.run_path(str(CONSUMERS / program))["read_box"]

  with pytest.raises(SystemExit, match=f"A box is four numbers .*: {corners}"):
    read_box(corners.split())
  assert read_box(["1", "2.5", "3", "4"]) == [1, 2.5, 3, 4]


@pytest.mark.parametrize("program", list(NEEDS))
def test_what_is_no_photograph_is_refused_in_a_sentence(program, tmp_path):
  read_photo = runpy.run_path(str(CONSUMERS / program))["read_photo"]
  for name in ("text.jpg", "text.npy"):
    (tmp_path / name).write_text("no image")

  for name in ("text.jpg", "text.npy", "missing.jpg"):
    with pytest.raises(SystemExit, match=f"{name} cannot be read as a photograph: "):
      read_photo(str(tmp_path / name))


@pytest.mark.slow
def test_the_program_of_the_library_says_in_a_sentence_what_it_cannot_use(
  tmp_path_factory, tmp_path
):
  program = exports.folder(tmp_path_factory.getbasetemp()) / "use_safetensors.py"

  done = run(program, tmp_path / "missing.jpg", 1, 2, 3, 4)

  assert done.returncode == 1 and "missing.jpg cannot be read" in done.stderr
  assert "Traceback" not in done.stderr
