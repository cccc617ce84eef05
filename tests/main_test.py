"""The command line: a user's mistake ends with 2 and one sentence, never with a traceback."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from fal_jax import main as command_line
from fal_jax import parallel, train
from fal_jax.errors import InputError


def main(*arguments):
  command = [sys.executable, "-m", "fal_jax.main", *arguments]
  done = subprocess.run(
    command, cwd=tiny_dataset.ROOT, capture_output=True, text=True, timeout=300, check=False
  )
  return done.returncode, done.stdout, done.stderr


def refused(*arguments):
  """What the command line says to a mistake, after checking that it is short and no traceback."""
  code, out, err = main(*arguments)
  assert code == 2, err
  assert "Traceback" not in out + err
  assert 1 <= len(err.strip().splitlines()) <= 3 and len(err) < 600, err
  return err


CONFIG = "--config=configs/default.py"


@pytest.mark.parametrize(
  ("arguments", "named"),
  [
    (["--workdir=w"], "No --config given: name one of the files in configs/"),
    ([CONFIG], "No --workdir given"),
    ([CONFIG, "--workdir="], "No --workdir given"),
    (
      ["--config=configs/nope.py", "--workdir=w"],
      "--config=configs/nope.py is not a config that can be read",
    ),
    (["--config=configs/nope.py", "--workdir=w", "--config.seed=3"], "configs/nope.py"),
    (["--config=README.md", "--workdir=w"], "README.md"),
    ([CONFIG, "--workdir=w", "--config.tpyo=1"], "No such key in the config: 'tpyo'"),
    ([CONFIG, "--workdir=w", "--config.model.featurs=3"], 'Did you mean "features"'),
    ([CONFIG, "--workdir=w", "--config.seed.x=3"], "seed.x"),
    ([CONFIG, "--workdir=w", "--config.train.batch_size=abc"], "--config.train.batch_size=abc"),
    ([CONFIG, "--workdir=w", "--mode=fly"], "train|eval|predict"),
    ([CONFIG, "--wrkdir=w"], "Did you mean: workdir"),
    ([CONFIG, "--workdir=w", "train"], "Unexpected 'train'"),
    (
      ["--workdir=w", "--mode=predict", "--images=a.png", "--box=1,2,x,4"],
      "--box must be four numbers",
    ),
    (
      [CONFIG, "--workdir=w", "--mode=bench", "--batch_sizes=2,x"],
      "--batch_sizes must be whole numbers, got 2,x",
    ),
    ([CONFIG, "--workdir=w", "--mode=import_torch"], "No --weights given: name the file"),
    (
      ["--workdir=w", "--mode=score"],
      "No --predictions given: name a .csv, .json, .npz or .npy file",
    ),
    (
      ["--workdir=w", "--mode=score", "--predictions=a.csv"],
      "Give --truth, a file with the annotated",
    ),
    (["--workdir=w", "--mode=score", "--predictions=a.csv", "--origin=2"], "--origin=2"),
    (
      ["--config=configs/nope.py", "--workdir=w", "--mode=score", "--predictions=a.csv"],
      "configs/nope.py is not a config",
    ),
  ],
)
def test_bad_flags_are_said_in_one_sentence(arguments, named):
  """Before JAX is imported, so each in well under a second."""
  assert named in refused(*arguments)


def test_a_config_that_lacks_its_neighbours_says_where_to_start(tmp_path):
  (tmp_path / "mine.py").write_text("from another_folder import default\n")
  assert "start from the repository's folder" in refused(
    f"--config={tmp_path / 'mine.py'}", "--workdir=w"
  )


def test_help_lists_the_flags_without_waiting_for_jax():
  start = time.monotonic()
  _, out, err = main("--help")
  assert time.monotonic() - start < 5
  flags = (
    "--config",
    "--workdir",
    "--mode",
    "--images",
    "--box",
    "--landmarks",
    "--weights",
    "--predictions",
    "--truth",
  )
  flags += ("--parts", "--rounds", "--batch_sizes")
  assert all(flag in out for flag in flags) and not err
  code = "import sys; from fal_jax import main; sys.exit('jax' in sys.modules)"
  assert (
    subprocess.run([sys.executable, "-c", code], cwd=tiny_dataset.ROOT, check=False).returncode == 0
  )


def test_predict_on_the_command_line_writes_points_and_pictures(workdir, tmp_path):
  Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(tmp_path / "a.png")
  code, out, err = main(
    f"--workdir={workdir}",
    "--mode=predict",
    f"--images={tmp_path / 'a.png'},{tmp_path}",
    "--box=5,5,40,50",
  )
  assert code == 0, err
  assert f"Landmarks and pictures are in {workdir / 'predict'}" in out
  assert (workdir / "predict" / "0000_a.jpg").is_file() and (
    workdir / "predict" / "0001_a.jpg"
  ).is_file()
  assert len((workdir / "predict" / "predictions.csv").read_text().splitlines()) == 3


@pytest.fixture
def said(capsys, monkeypatch):
  """What `main` prints for given flags in this process, where JAX is warm, and its exit code."""
  monkeypatch.setattr(parallel, "make_predict", tiny_dataset.make_predict)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["main"])

  def said(**values):
    with flagsaver.flagsaver(**values):
      code = command_line.main([])
    printed = capsys.readouterr()
    return code, printed.out, printed.err

  return said


@pytest.mark.slow
def test_what_is_compiled_is_kept_beside_the_workdir_or_where_the_user_says(workdir, tmp_path):
  Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(tmp_path / "a.png")
  command = [
    sys.executable,
    "-m",
    "fal_jax.main",
    f"--workdir={workdir}",
    "--mode=predict",
    f"--images={tmp_path / 'a.png'}",
  ]
  environment = {
    name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
  }
  environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  subprocess.run(command, cwd=tiny_dataset.ROOT, env=environment, capture_output=True, check=True)
  assert any((workdir.parent / ".compiled").iterdir())
  environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "there")}
  subprocess.run(command, cwd=tiny_dataset.ROOT, env=environment, capture_output=True, check=True)
  assert any((tmp_path / "there").iterdir())


def test_predict_refuses_what_is_no_photograph_and_boxes_that_are_none(said, workdir, tmp_path):
  good, login = tmp_path / "good.png", tmp_path / "login.jpg"
  login.write_text("<!doctype html><title>Log in</title>")
  Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(good)
  for images, box, named in [
    ([], None, "No image given"),
    ([tmp_path / "missing.jpg"], None, "missing.jpg cannot be read"),
    ([good, login], None, "login.jpg: not an image: looks like HTML"),
    ([good], ["30", "30", "10", "10"], "(x, y, width, height)"),
    ([good], ["1", "2", "3"], "--box must be four numbers"),
    ([good], ["1", "2", "nan", "3"], "four finite numbers"),
  ]:
    code, _, err = said(
      workdir=str(workdir), mode="predict", images=[str(image) for image in images], box=box
    )
    assert code == 2 and named in err and len(err.splitlines()) == 1, err


def test_several_mistakes_in_a_config_are_named_at_once_and_before_anything_is_written(
  said, folder, tmp_path
):
  config = tiny_dataset.config(folder, train__batch_size=9, siamese__reduce="max", data__name="")
  code, _, err = said(workdir=str(tmp_path / "w"), mode="train", config=config)
  assert code == 2 and len(err.splitlines()) == 3 and not (tmp_path / "w").exists()
  assert "siamese.reduce" in err and "config.data.name is empty" in err
  assert "config.train.batch_size (9) must be a multiple of the number of devices (8)" in err


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"data__name": "wflw"}, "tfds_builders.prepare wflw"),
    ({"data__markup": 68}, "29"),
    ({"data__box": "detector"}, "dataset, landmarks"),
    ({"eval__splits": ("valid",)}, "no split 'valid'"),
    ({"eval__splits": ()}, "config.eval.splits is empty"),
    ({"augment__scale": (1.0,)}, "two factors"),
    ({"seed": -1}, "config.seed"),
    ({"crop__size": 60}, "multiple of 8"),
  ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_sentence(
  said, folder, workdir, changes, named
):
  for mode in ("train", "eval"):
    code, _, err = said(
      workdir=str(workdir), mode=mode, config=tiny_dataset.config(folder, **changes)
    )
    assert code == 2 and named in err and len(err.splitlines()) == 1, mode


@pytest.mark.parametrize("mode", ["eval", "predict"])
def test_a_folder_without_a_run_is_refused_and_not_made(said, folder, tmp_path, mode):
  none = tmp_path / "none"
  code, _, err = said(
    workdir=str(none), mode=mode, images=["a.png"], config=tiny_dataset.config(folder)
  )
  assert code == 2 and "train first, or give the --workdir of a run" in err and not none.exists()


def test_a_workdir_that_is_a_file_is_refused(said, folder, tmp_path):
  (tmp_path / "file").write_text("kept")
  code, _, err = said(
    workdir=str(tmp_path / "file"), mode="train", config=tiny_dataset.config(folder)
  )
  assert code == 2 and "Nothing can be written to --workdir=" in err and len(err.splitlines()) == 1
  assert (tmp_path / "file").read_text() == "kept"


def test_evaluation_prints_its_table(said, folder, workdir):
  code, out, _ = said(workdir=str(workdir), mode="eval", config=tiny_dataset.config(folder))
  assert code == 0 and out.startswith("test: 11 images, 0 without a usable normaliser\n  nme_ic ")


def test_weights_cannot_be_imported_without_pytorch_and_that_is_said(
  said, folder, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "torch", None)
  (tmp_path / "fan.pth").write_text("")
  config = tiny_dataset.config(folder)
  code, _, err = said(
    workdir=str(tmp_path / "w"),
    mode="import_torch",
    weights=str(tmp_path / "fan.pth"),
    config=config,
  )
  assert (
    code == 2
    and "pip install torch, or pip install 'fal_jax[torch]'" in err
    and len(err.splitlines()) == 1
  )
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  ("error", "code"),
  [
    (train.Diverged("loss is NaN"), 3),
    (train.Interrupted("stopped"), 75),
    (InputError("mend it"), 2),
  ],
)
def test_each_way_out_has_its_code_and_its_sentence(said, folder, monkeypatch, error, code):
  def fail(*_):
    raise error

  monkeypatch.setattr(train, "train_and_evaluate", fail)
  found, _, err = said(workdir="w", mode="train", config=tiny_dataset.config(folder))
  assert (found, err) == (code, f"{error}\n")
