"""The command line of ablations: bad input ends with 2 and one sentence, and a killed ablation goes
on.
"""

import json
import signal
import subprocess
import sys
import time

import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver
from ml_collections import ConfigDict

from fal_jax import train
from fal_jax.ablation import __main__ as ablate
from fal_jax.ablation import run as ablation
from fal_jax.errors import InputError

TABLE = "--table=configs/ablations/table2.py"


def ablate_command(*arguments):
  return [sys.executable, "-m", "fal_jax.ablate", *arguments]


def start(*arguments):
  command = ablate_command(*arguments)
  return subprocess.Popen(
    command, cwd=tiny_dataset.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


@pytest.mark.parametrize(
  ("arguments", "named"),
  [
    (["--workdir=w"], "No --table given: name one of those in configs/ablations/"),
    ([TABLE], "No --workdir given"),
    (
      ["--table=configs/ablations/table9.py:demo", "--workdir=w"],
      "configs/ablations/table9.py is not a table",
    ),
    (["--table=configs/demo.py", "--workdir=w"], "configs/demo.py is not a table"),
    (
      [f"{TABLE}:nope", "--workdir=w"],
      "called 'nope': after the colon goes one of aflw19, cofw29,",
    ),
    ([TABLE, "--workdir=w", "--seeds=0"], "--seeds=0"),
    ([TABLE, "--workdir=w", "--seeds=three"], "--seeds=three"),
    ([TABLE, "--workdir=w", "--sedes=3"], "Did you mean: seeds"),
    ([TABLE, "--workdir=w", "--config.model.featurs=3"], 'Did you mean "features"'),
    (
      [TABLE, "--workdir=w", "--config.codec.decode=dark"],
      "codec.decode=dark would make rows of the table alike",
    ),
    ([TABLE, "--workdir=w", "--table.metric=nme_x"], "metric is 'nme_x'; choose one of nme_ic"),
    ([TABLE, "--workdir=w", "--table.rows=baseline"], "rows are triples"),
    ([TABLE, "--workdir=/dev/null/w"], "Nothing can be written to --workdir=/dev/null/w"),
    ([TABLE, "--workdir=w", "--config.train.batch_size=0"], "config.train.batch_size"),
    ([TABLE, "--workdir=w", "demo"], "Unexpected 'demo'"),
  ],
)
def test_bad_input_is_said_in_one_sentence(arguments, named):
  done = subprocess.run(
    ablate_command(*arguments), cwd=tiny_dataset.ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 2, done.stderr
  assert (
    named in done.stderr
    and len(done.stderr.strip().splitlines()) == 1
    and "Traceback" not in done.stderr
  )
  assert not (tiny_dataset.ROOT / "w").exists()


def test_a_row_of_an_unknown_base_is_refused_by_the_training_command_too():
  command = [
    sys.executable,
    "-m",
    "fal_jax.main",
    "--config=configs/ablations/encoding.py:nope",
    "--workdir=w",
  ]
  done = subprocess.run(command, cwd=tiny_dataset.ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 2 and done.stderr.startswith("No dataset's config is called 'nope'")
  assert len(done.stderr.splitlines()) == 1


def test_help_lists_the_flags():
  done = subprocess.run(
    ablate_command("--help"), cwd=tiny_dataset.ROOT, capture_output=True, text=True, check=False
  )
  assert (
    all(flag in done.stdout for flag in ("--table", "--seeds", "--workdir")) and not done.stderr
  )


@pytest.fixture
def rows(monkeypatch):
  """The rows of two files of one table under given overrides."""
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))
  table = ConfigDict(
    {"base": "w300_small", "rows": (("baseline", "A", 4.2), ("siamese", "B", None))}
  )
  return lambda *overrides: ablate.read_rows(
    table, tiny_dataset.ROOT / "configs" / "ablations", overrides
  )


def test_overrides_reach_every_row_and_keep_their_types(rows):
  found = rows(
    "--config.train.epochs=3", "--config.eval.splits=('a','b')", "--config.data.dir=data"
  )
  assert [(row.name, row.label, row.paper) for row in found] == [
    ("baseline", "A", 4.2),
    ("siamese", "B", None),
  ]
  for row in found:
    assert (row.config.train.epochs, row.config.eval.splits, row.config.data.dir) == (
      3.0,
      ("a", "b"),
      "data",
    )
    assert row.config.data.name == "w300"
  assert [row.config.codec.encode for row in found] == ["rounded", "continuous"]


def test_a_key_that_the_rows_differ_in_cannot_be_set_for_all(rows):
  for override in ("codec.encode=rounded", "siamese.num_views=2", "codec.decode=argmax"):
    with pytest.raises(InputError, match=f"--config.{override} would make rows"):
      rows(f"--config.{override}")


@pytest.mark.parametrize(
  ("error", "code"),
  [
    (None, 0),
    (train.Diverged("NaN"), 3),
    (train.Interrupted("stopped"), 75),
    (InputError("mend it"), 2),
  ],
)
def test_each_way_out_has_its_code_and_its_sentence(monkeypatch, capsys, error, code):
  def lines(*_, **__):
    yield "first line"
    if error:
      raise error

  monkeypatch.setattr(ablation, "run", lines)
  monkeypatch.setattr(ablate, "read_rows", lambda *_: [])
  monkeypatch.setattr(
    ablate.config_flags, "get_config_filename", lambda _: "configs/ablations/table2.py"
  )
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["ablate"])
  with flagsaver.flagsaver(table=ConfigDict({"rows": ()}), workdir="w"):
    found = ablate.main(["ablate"])
  printed = capsys.readouterr()
  assert (found, printed.out, printed.err) == (code, "first line\n", f"{error}\n" if error else "")


@pytest.mark.slow
def test_stopped_and_killed_it_goes_on_and_ends_in_the_same_table(tmp_path, tmp_path_factory):
  folder = tiny_dataset.folder(tmp_path_factory.getbasetemp())
  keys = {
    "data.name": tiny_dataset.NAME,
    "data.dir": folder,
    "data.markup": tiny_dataset.MARKUP,
    "crop.size": 64,
    "crop.stored_size": 104,
    "crop.face": 55.0,
    "model.num_stacks": 1,
    "model.features": 8,
    "model.depth": 1,
    "train.batch_size": 8,
    "train.epochs": 20.0,
    "eval.batch_size": 8,
    "checkpoint.every_steps": 5,
    "log.every_steps": 1,
  }
  arguments = [
    f"{TABLE}:default",
    "--seeds=1",
    *(f"--config.{key}={value}" for key, value in keys.items()),
  ]

  def wait_for(process, text):
    for line in process.stdout:
      if " ".join(line.split()).startswith(text):
        return
    pytest.fail(f"ended with {process.wait()} before {text!r}")

  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  process = start(*arguments, f"--workdir={whole}")
  output, _ = process.communicate(timeout=600)
  assert process.returncode == 0, output

  process = start(*arguments, f"--workdir={stopped}")
  wait_for(process, "[1/5] baseline")
  wait_for(process, "step 7/30")
  process.send_signal(signal.SIGINT)
  output, _ = process.communicate(timeout=120)
  assert process.returncode == 75 and "Traceback" not in output, output

  process = start(*arguments, f"--workdir={stopped}")
  wait_for(process, "[3/5] encoding_decoding")
  wait_for(process, "step 9/30")
  time.sleep(0.1)
  process.kill()
  process.wait()

  process = start(*arguments, f"--workdir={stopped}")
  output, _ = process.communicate(timeout=600)
  assert (
    process.returncode == 0
    and "3 of 5 numbers are there already" in output
    and "Going on from step" in output
  ), output
  first, second = (
    json.loads((folder / "table2.json").read_text())["rows"] for folder in (whole, stopped)
  )
  assert first == second and all(row["seeds"] == 1 for row in first)
