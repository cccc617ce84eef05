"""The log of a run is what its checkpoint says it was, whatever became of the file."""

import shutil
from pathlib import Path

import pytest

from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.output.metric_log import MetricLog

ATTACKS = Path(__file__).parents[3] / "shared" / "attack" / "12-metrics"


@pytest.fixture
def saved(tmp_path):
  """A log of steps 1 to 4, evaluated at 2 and 3, of which a checkpoint at step 3 has a copy."""
  with MetricLog(tmp_path, resume_step=0) as log:
    for step in (1, 2):
      log.write(step, {"loss": step})
    log.write(2, {"test/nme_ic": 7.0})
    log.write(3, {"loss": 3})
    text = log.text
    log.write(3, {"test/nme_ic": 6.0})  # after its checkpoint
    log.write(4, {"loss": 4})
  return text


def records(workdir):
  return [(record["step"], *list(record)[1:]) for record in metric_log.read(workdir)]


WHOLE = [(1, "loss"), (2, "loss"), (2, "test/nme_ic"), (3, "loss"), (3, "test/nme_ic")]


def test_an_evaluation_that_follows_its_checkpoint_stays(tmp_path, saved):
  with MetricLog(tmp_path, resume_step=3, saved=saved, echo=pytest.fail) as log:
    assert log.holds(2, "test") and log.holds(3, "test")
    assert not log.holds(4, "test") and not log.holds(3, "tes")
  assert records(tmp_path) == WHOLE


def not_utf8(path):
  content = bytearray(path.read_bytes())
  content[5] = 0xFF
  path.write_bytes(content)


def shortened(path):
  path.write_bytes(path.read_bytes()[:30])


def another_number(path):
  path.write_text(path.read_text().replace("7.0", "8.0"))


def infinite_step(path):
  path.write_text(path.read_text().replace('"step": 2', '"step": Infinity', 1))


@pytest.mark.parametrize(
  "damage", [not_utf8, shortened, another_number, infinite_step, Path.unlink]
)
def test_a_damaged_log_is_written_anew_and_one_line_says_so(tmp_path, saved, damage):
  path = tmp_path / "metrics.jsonl"
  damage(path)

  said = []
  with MetricLog(tmp_path, resume_step=3, saved=saved, echo=said.append) as log:
    assert not log.holds(3, "test")
  assert path.read_text() == saved
  (line,) = said
  assert "written anew from the checkpoint" in line


def test_damage_behind_the_checkpoint_costs_what_is_repeated_anyway(tmp_path, saved):
  path = tmp_path / "metrics.jsonl"
  path.write_text(path.read_text().replace('"step": 4', '"step": NaN'))
  with MetricLog(tmp_path, resume_step=3, saved=saved, echo=lambda _: None):
    pass
  assert path.read_text() == saved


@pytest.mark.parametrize(
  "content",
  [
    b'{"step": 1}\n\xff\xfe\n',
    b'{"step": Infinity}\n',
    b'{"step": -Infinity, "a": 1}\n',
    b'{"step": NaN}\n',
    b"[" * 100_000 + b"\n",
  ],
)
def test_a_log_without_a_copy_is_refused_in_a_sentence(tmp_path, content):
  (tmp_path / "metrics.jsonl").write_bytes(content)
  for read in (lambda: metric_log.read(tmp_path), lambda: MetricLog(tmp_path, resume_step=3)):
    with pytest.raises(InputError, match=r"metrics\.jsonl line \d is not") as error:
      read()
    assert len(str(error.value)) < 300 + len(str(tmp_path))
  assert (tmp_path / "metrics.jsonl").read_bytes() == content


@pytest.mark.skipif(not ATTACKS.is_dir(), reason="the files of an attack are not here")
def test_logs_that_an_attack_found_are_sentences(tmp_path):
  for path in ATTACKS.iterdir():
    shutil.copy(path, tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match="is not"):
      metric_log.read(tmp_path)
