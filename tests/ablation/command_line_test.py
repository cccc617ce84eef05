"""The command line of ablations: one sentence for bad input, and a killed ablation resumes."""

import json
import signal
import subprocess
import sys
import time

import forked
import pytest
import tiny_dataset
from absl import flags
from absl.testing import flagsaver
from ml_collections import ConfigDict

from fal_jax.ablation import __main__ as command_line
from fal_jax.ablation import run as ablation
from fal_jax.errors import Diverged, InputError, Interrupted

TABLE = "--table=configs/ablations/table2.py"


def ablation_command(*arguments):
  return [sys.executable, "-m", "fal_jax.ablation", *arguments]


def start(*arguments):
  """A running ablation whose stdout can be read line by line."""
  return subprocess.Popen(
    ablation_command(*arguments),
    cwd=tiny_dataset.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(command):
  """The result of a command that ends by itself."""
  return subprocess.run(command, cwd=tiny_dataset.ROOT, capture_output=True, text=True, check=False)


BAD_INPUT = [
  (["--workdir=w"], "No --table given: name one of those in configs/ablations/"),
  ([TABLE, "--workdir="], "No --workdir given"),
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
    "codec.decode=dark would erase the difference between rows",
  ),
  ([TABLE, "--workdir=w", "--table.metric=nme_x"], "metric is 'nme_x'; choose one of nme_ic"),
  ([TABLE, "--workdir=w", "--table.rows=baseline"], "`rows` must be a non-empty list"),
  ([TABLE, "--workdir=/dev/null/w"], "Nothing can be written to --workdir=/dev/null/w"),
  ([TABLE, "--workdir=w", "--config.train.batch_size=0"], "config.train.batch_size"),
  ([TABLE, "--workdir=w", "demo"], "Unexpected 'demo'"),
]


@pytest.fixture(scope="module")
def answers():
  """What the command line says to each of `BAD_INPUT`."""
  commands = [arguments for arguments, _ in BAD_INPUT]
  return forked.run("fal_jax.ablation", commands, imports=["fal_jax.ablation.run"])


@pytest.mark.parametrize("case", range(len(BAD_INPUT)), ids=[answer for _, answer in BAD_INPUT])
def test_bad_input_is_answered_in_one_sentence(answers, case):
  code, _, err = answers[case]

  assert code == 2, err
  assert BAD_INPUT[case][1] in err
  assert len(err.strip().splitlines()) == 1
  assert "Traceback" not in err
  assert not (tiny_dataset.ROOT / "w").exists()


def test_a_row_of_an_unknown_base_is_refused_by_the_training_command_too():
  row = "--config=configs/ablations/encoding.py:nope"

  result = finish([sys.executable, "-m", "fal_jax.main", row, "--workdir=w"])

  assert result.returncode == 2
  assert result.stderr.startswith("No dataset's config is called 'nope'")
  assert len(result.stderr.splitlines()) == 1


def test_help_lists_the_flags():
  result = finish(ablation_command("--help"))

  assert all(flag in result.stdout for flag in ("--table", "--seeds", "--workdir"))
  assert not result.stderr


@pytest.fixture
def rows(monkeypatch):
  """The rows of two files of one table under given overrides."""
  monkeypatch.syspath_prepend(str(tiny_dataset.ROOT))
  folder = tiny_dataset.ROOT / "configs" / "ablations"
  files = (("baseline", "A", 4.2), ("siamese", "B", None))
  table = ConfigDict({"base": "w300_small", "rows": files})
  return lambda *overrides: command_line.read_rows(table, folder, overrides)


def test_overrides_reach_every_row_and_keep_their_types(rows):
  baseline, siamese = rows(
    "--config.train.epochs=3", "--config.eval.splits=('a','b')", "--config.data.dir=data"
  )

  assert (baseline.name, baseline.label, baseline.paper) == ("baseline", "A", 4.2)
  assert (siamese.name, siamese.label, siamese.paper) == ("siamese", "B", None)
  for config in (baseline.config, siamese.config):
    assert config.train.epochs == 3.0
    assert config.eval.splits == ("a", "b")
    assert config.data.dir == "data"
    assert config.data.name == "w300"
  assert baseline.config.codec.encode == "rounded"
  assert siamese.config.codec.encode == "continuous"


def test_a_key_that_the_rows_differ_in_cannot_be_set_for_all(rows):
  for override in ("codec.encode=rounded", "siamese.num_views=2", "codec.decode=argmax"):
    with pytest.raises(InputError, match=f"--config.{override} would erase the difference"):
      rows(f"--config.{override}")


@pytest.mark.parametrize(
  ("error", "code"),
  [
    (None, 0),
    (Diverged("NaN"), 3),
    (Interrupted("stopped"), 75),
    (InputError("fix it"), 2),
  ],
)
def test_each_ending_has_its_exit_code_and_its_sentence(monkeypatch, capsys, error, code):
  def lines(*_, **__):
    yield "first line"
    if error:
      raise error

  table = "configs/ablations/table2.py"
  monkeypatch.setattr(ablation, "run", lines)
  monkeypatch.setattr(command_line, "read_rows", lambda *_: [])
  monkeypatch.setattr(command_line.config_flags, "get_config_filename", lambda _: table)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["ablation"])

  with flagsaver.flagsaver(table=ConfigDict({"rows": ()}), workdir="w"):
    returned = command_line.main(["ablation"])

  printed = capsys.readouterr()
  assert returned == code
  assert printed.out == "first line\n"
  assert printed.err == (f"{error}\n" if error else "")


def test_without_a_workdir_a_table_is_written_to_a_folder_of_its_name(monkeypatch, capsys):
  workdirs = []

  def lines(table, rows, workdir, **_):
    workdirs.append(workdir)
    return iter(())

  monkeypatch.setattr(ablation, "run", lines)
  monkeypatch.setattr(command_line, "read_rows", lambda *_: [])
  table = "configs/ablations/table2.py:demo"
  monkeypatch.setattr(command_line.config_flags, "get_config_filename", lambda _: table)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["ablation"])

  with flagsaver.flagsaver(table=ConfigDict({"rows": ()}), workdir=None):
    assert command_line.main(["ablation"]) == 0

  assert workdirs == ["runs/table2"]
  assert capsys.readouterr().out == "No --workdir given: everything is written to runs/table2\n"


def wait_for(process, text):
  """Reads what a process prints until a line starts with a text."""
  for line in process.stdout:
    if " ".join(line.split()).startswith(text):
      return
  pytest.fail(f"ended with {process.wait()} before {text!r}")


@pytest.mark.heavy
def test_stopped_and_killed_it_resumes_and_ends_in_the_same_table(tmp_path, tmp_path_factory):
  folder = tiny_dataset.folder(tmp_path_factory.getbasetemp())
  keys = {
    "data.name": tiny_dataset.NAME,
    "data.dir": folder,
    "data.markup": tiny_dataset.MARKUP,
    **tiny_dataset.SMALL,
    "train.epochs": 20.0,
  }
  overrides = [f"--config.{key}={value}" for key, value in keys.items()]
  rows = tuple((name, name, None) for name in ("baseline", "encoding"))
  arguments = [f"{TABLE}:default", f"--table.rows={rows}", "--seeds=1", *overrides]
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"

  process = start(*arguments, f"--workdir={whole}")
  output, _ = process.communicate(timeout=600)
  assert process.returncode == 0, output

  # Stopped in the first training ...
  process = start(*arguments, f"--workdir={stopped}")
  wait_for(process, "step 7/30")
  process.send_signal(signal.SIGINT)
  output, _ = process.communicate(timeout=120)
  assert process.returncode == 75, output
  assert "Traceback" not in output, output

  # ... and killed in a later one, once there is something to resume from.
  process = start(*arguments, f"--workdir={stopped}")
  wait_for(process, "[1/2] baseline")
  checkpoints = stopped / "trainings" / "encoding" / "seed0" / "checkpoints"
  # Of two, the first is whole.
  while sum(path.name.isdigit() for path in checkpoints.glob("*")) < 2:
    assert process.poll() is None, "ended before its second checkpoint"
    time.sleep(0.01)
  process.kill()
  process.communicate()  # closes its pipe

  process = start(*arguments, f"--workdir={stopped}")
  output, _ = process.communicate(timeout=600)
  assert process.returncode == 0, output
  assert "1 of 2 results already exist" in output
  assert "Resuming from step" in output, output

  tables = [json.loads((run / "table2.json").read_text())["rows"] for run in (whole, stopped)]
  assert tables[0] == tables[1]
  assert all(row["seeds"] == 1 for row in tables[0])
