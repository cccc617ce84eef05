"""The command line: a user's mistake ends with 2 and one sentence, never with a traceback."""

import functools
import importlib
import os
import subprocess
import sys
import tomllib

import forked
import numpy as np
import pytest
import tiny_dataset
import torch_pickles
from PIL import Image

from fal_jax import flag_parser, train
from fal_jax import main as command_line
from fal_jax.errors import Diverged, InputError, Interrupted


def main(*arguments):
  command = [sys.executable, "-m", "fal_jax.main", *arguments]
  done = subprocess.run(
    command, cwd=tiny_dataset.ROOT, capture_output=True, text=True, timeout=300, check=False
  )
  return done.returncode, done.stdout, done.stderr


def refused(*arguments):
  """The command line's answer to a mistake."""
  return refusal(*main(*arguments))


def refusal(code, out, err):
  """The stderr of a mistake's answer, checked to be short and not a traceback."""
  assert code == 2, err
  assert "Traceback" not in out + err
  assert 1 <= len(err.strip().splitlines()) <= 3 and len(err) < 600, err
  return err


CONFIG = "--config=configs/default.py"


BAD_FLAGS = [
  (["--workdir=w"], "No --config given: name one of the files in configs/"),
  (["--images=a.jpg"], "--images are for --mode=predict: add it"),
  ([CONFIG, "--workdir="], "No --workdir given"),
  (["--mode=predict"], "No image given: name files or folders with --images=photo.jpg,folder"),
  ([CONFIG, "--mode=score"], "No --workdir given"),
  ([CONFIG, "--mode=import_torch"], "No --workdir given"),
  (["--config=configs/nope.py"], "--config=configs/nope.py is not a config that can be read"),
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
  (["--workdir=w", "--config.seed=3"], "No --config given"),
  (["--workdir=w", "--mode=predict", "--config.seed=3"], "No --config given"),
  (["--mode=eval"], "No --workdir given"),
  (["--mode=network_report"], "No --workdir given"),
  (["--workdir=w", "--mode=network_report", "--views=-1"], "--views=-1"),
  (["--mode=score"], "No --workdir given"),
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
    "Give exactly one of --truth",
  ),
  (["--workdir=w", "--mode=score", "--predictions=a.csv", "--origin=2"], "--origin=2"),
  (
    ["--config=configs/nope.py", "--workdir=w", "--mode=score", "--predictions=a.csv"],
    "configs/nope.py is not a config",
  ),
]


@pytest.fixture(scope="module")
def answers():
  """What the command line says to each of `BAD_FLAGS`."""
  imports = ["fal_jax.flag_parser", "fal_jax.photos.options", "ml_collections"]
  # With JAX: what these modes import before they look at their flags.
  imports += ["fal_jax.network_report.run", "fal_jax.score"]
  return forked.run("fal_jax.main", [arguments for arguments, _ in BAD_FLAGS], imports=imports)


@pytest.mark.parametrize("case", range(len(BAD_FLAGS)), ids=[named for _, named in BAD_FLAGS])
def test_a_bad_flag_is_named_in_one_sentence(answers, case):
  assert BAD_FLAGS[case][1] in refusal(*answers[case])


def test_a_bad_flag_is_named_by_the_program_itself():
  """And not only by a fork of one that has imported it."""
  assert "No --config given: name one of the files in configs/" in refused("--workdir=w")


def test_a_config_that_lacks_its_neighbours_says_where_to_start(tmp_path):
  (tmp_path / "mine.py").write_text("from another_folder import default\n")
  assert "start from the repository's folder" in refused(
    f"--config={tmp_path / 'mine.py'}", "--workdir=w"
  )


def test_help_lists_the_flags_without_waiting_for_jax():
  _, out, err = main("--help")

  assert not err
  names = "config workdir mode images out box landmarks weights predictions truth parts rounds"
  for name in [*names.split(), "batch_sizes", "views"]:
    assert f"--{name}" in out

  code = "import sys; from fal_jax import main; sys.exit('jax' in sys.modules)"
  subprocess.run([sys.executable, "-c", code], cwd=tiny_dataset.ROOT, check=True)


@pytest.mark.slow
def test_predict_on_the_command_line_writes_points_and_images(workdir, tmp_path):
  Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(tmp_path / "a.png")
  code, out, err = main(
    f"--workdir={workdir}",
    "--mode=predict",
    f"--images={tmp_path / 'a.png'},{tmp_path}",
    "--box=5,5,40,50",
    f"--out={tmp_path / 'out'}",
  )

  assert code == 0, err
  assert out.startswith(f"Wrote 1 face of 1 image to {tmp_path / 'out' / 'predictions.csv'}, ")
  assert (tmp_path / "out" / "overlays" / "a.png.jpg").is_file()
  assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_the_console_script_is_the_command_line(tmp_path):
  """With the exit code, and the flags of --help, which absl looks for in the main program."""
  project = tomllib.loads((tiny_dataset.ROOT / "pyproject.toml").read_text())["project"]
  module, _, function = project["scripts"]["fal_jax"].partition(":")
  script = tmp_path / "fal_jax"
  script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")

  def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(tiny_dataset.ROOT)}
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(
      command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

  done = run("--mode=predict")
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr.startswith("No image given")
  for flag in ("--images", "--workdir", "--predictions", "--out"):
    assert flag in run("--help").stdout


@pytest.fixture
def run(run_main):
  """Runs the command line in this process."""
  return run_main


@pytest.mark.heavy
def test_what_is_compiled_is_kept_beside_the_workdir_or_where_the_user_says(workdir, tmp_path):
  image = tmp_path / "a.png"
  Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(image)
  flags = [f"--workdir={workdir}", "--mode=predict", f"--images={image}", "--whole_image"]
  command = [sys.executable, "-m", "fal_jax.main", *flags, f"--out={tmp_path / 'out'}"]
  run = functools.partial(
    subprocess.run, command, cwd=tiny_dataset.ROOT, capture_output=True, check=True
  )

  environment = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  run(env=environment)
  assert any((workdir.parent / ".compiled").iterdir())

  environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "there")
  run(env=environment)
  assert any((tmp_path / "there").iterdir())


# ---- Where a run is written


@pytest.mark.parametrize(
  ("mode", "entry"),
  [
    ("train", "fal_jax.train:train_and_evaluate"),
    ("eval", "fal_jax.evaluate:run"),
    ("codec_report", "fal_jax.codec_report.report:run"),
    ("network_report", "fal_jax.network_report.run:run"),
    ("doctor", "fal_jax.doctor.run:run"),
    ("bench", "fal_jax.bench.run:run"),
  ],
)
def test_without_a_workdir_a_config_is_run_in_a_folder_of_its_name(
  run, folder, monkeypatch, mode, entry
):
  workdirs = []

  def of_mode(config, workdir, *_, **__):
    workdirs.append(workdir)
    return {}

  module, function = entry.split(":")
  monkeypatch.setattr(importlib.import_module(module), function, of_mode)
  file = "configs/ablations/siamese.py:wflw"
  monkeypatch.setattr(command_line.config_flags, "get_config_filename", lambda _: file)

  code, out, err = run(mode=mode, workdir=None, config=tiny_dataset.config(folder))

  assert (code, err) == (0, "")
  assert workdirs == ["runs/siamese"]
  assert out.startswith("No --workdir given: everything is written to runs/siamese\n")


def test_a_workdir_that_is_given_is_used_and_not_announced(run, folder, monkeypatch, tmp_path):
  workdirs = []

  def train_and_evaluate(config, workdir, **_):
    workdirs.append(workdir)
    return {}

  monkeypatch.setattr(train, "train_and_evaluate", train_and_evaluate)
  config = tiny_dataset.config(folder)

  code, out, err = run(mode="train", workdir=str(tmp_path / "w"), config=config)

  assert (code, out, err) == (0, "", "")
  assert workdirs == [str(tmp_path / "w")]


@pytest.mark.slow
def test_the_design_card_s_command_goes_as_far_as_the_missing_dataset(tmp_path):
  """`python -m fal_jax.main --config=configs/wflw.py`, with nothing prepared."""
  code, out, err = main("--config=configs/wflw.py", f"--config.data.dir={tmp_path}")

  assert code == 2
  assert out == "No --workdir given: everything is written to runs/wflw\n"
  assert "python -m tfds_builders.prepare wflw" in err
  assert "Traceback" not in err


# ---- Training


def test_all_mistakes_in_a_config_are_named_before_anything_is_written(run, folder, tmp_path):
  config = tiny_dataset.config(folder, train__batch_size=9, siamese__reduce="max", data__name="")

  code, _, err = run(workdir=str(tmp_path / "w"), mode="train", config=config)

  assert code == 2
  assert len(err.splitlines()) == 3
  assert not (tmp_path / "w").exists()
  assert "siamese.reduce" in err and "config.data.name is empty" in err
  assert "config.train.batch_size (9) must be a multiple of the number of devices (8)" in err


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"data__name": "wflw"}, "tfds_builders.prepare wflw"),
    ({"data__markup": 68}, "29"),
    ({"data__box": "tight"}, "dataset, landmarks"),
    ({"eval__splits": ("valid",)}, "no split 'valid'"),
    ({"eval__splits": ()}, "config.eval.splits is empty"),
    ({"augment__scale": (1.0,)}, "two factors"),
    ({"seed": -1}, "config.seed"),
    ({"crop__size": 60}, "multiple of 8"),
  ],
)
def test_a_config_that_does_not_fit_is_refused_in_one_sentence(
  run, folder, workdir, changes, named
):
  config = tiny_dataset.config(folder, **changes)
  for mode in ("train", "eval"):
    code, _, err = run(workdir=str(workdir), mode=mode, config=config)
    assert code == 2, mode
    assert named in err
    assert len(err.splitlines()) == 1, err


@pytest.mark.parametrize("mode", ["eval", "predict", "network_report"])
def test_a_folder_without_a_run_is_refused_and_not_made(run, folder, tmp_path, mode):
  none, image = tmp_path / "none", tmp_path / "a.png"
  Image.new("RGB", (9, 9)).save(image)
  config = tiny_dataset.config(folder)

  options = {"images": [str(image)], "whole_image": True, "config": config}
  code, _, err = run(workdir=str(none), mode=mode, out=str(tmp_path / "out"), **options)

  assert code == 2
  assert "train first, or give the " in err and "--workdir of a run" in err
  assert not none.exists()


def test_a_workdir_that_is_a_file_is_refused(run, folder, tmp_path):
  file = tmp_path / "file"
  file.write_text("kept")

  code, _, err = run(workdir=str(file), mode="train", config=tiny_dataset.config(folder))

  assert code == 2
  assert "Nothing can be written to --workdir=" in err
  assert len(err.splitlines()) == 1
  assert file.read_text() == "kept"


# ---- Ends


def test_weights_cannot_be_imported_without_pytorch(run, folder, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  weights = tmp_path / "fan.pth"
  weights.write_bytes(torch_pickles.zipped(torch_pickles.of_tensor()))
  config = tiny_dataset.config(folder)

  code, _, err = run(
    workdir=str(tmp_path / "w"), mode="import_torch", weights=str(weights), config=config
  )

  assert code == 2
  assert "pip install torch, or pip install 'fal_jax[torch]'" in err
  assert len(err.splitlines()) == 1
  assert not (tmp_path / "w").exists()


def test_ctrl_c_before_a_mode_is_ready_is_a_sentence(capsys):
  def interrupted():
    raise KeyboardInterrupt

  assert flag_parser.exit_code(interrupted) == 75
  assert capsys.readouterr().err == "Interrupted while starting; nothing is lost.\n"


@pytest.mark.parametrize(
  ("error", "code"),
  [
    (Diverged("loss is NaN"), 3),
    (Interrupted("stopped"), 75),
    (InputError("fix it"), 2),
  ],
)
def test_each_end_has_its_exit_code_and_its_sentence(run, folder, monkeypatch, error, code):
  def fail(*_, **__):
    raise error

  monkeypatch.setattr(train, "train_and_evaluate", fail)
  exit_code, _, err = run(workdir="w", mode="train", config=tiny_dataset.config(folder))
  assert (exit_code, err) == (code, f"{error}\n")
