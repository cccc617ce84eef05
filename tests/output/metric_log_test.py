"""The log of a run survives kills, resumes without duplicates, and shows the time left."""

import json
import math
import resource

import numpy as np
import pytest
from PIL import Image
from runs import events

from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.output.metric_log import MetricLog


class ManualClock:
  """Stands still until a test moves it."""

  def __init__(self):
    self.now = 100.0

  def __call__(self) -> float:
    return self.now


def read_lines(workdir) -> list[str]:
  return (workdir / "metrics.jsonl").read_text().splitlines()


def test_each_line_is_one_json_object_with_its_step(tmp_path):
  workdir = tmp_path / "new" / "run"
  with MetricLog(workdir, resume_step=0) as log:
    log.write(10, {"train/loss": np.float32(0.5)})
    log.write(20, {"train/loss": np.array(0.25), "eval/nme_ic": 3.5})

  assert [json.loads(line) for line in read_lines(workdir)] == [
    {"step": 10, "train/loss": 0.5},
    {"step": 20, "train/loss": 0.25, "eval/nme_ic": 3.5},
  ]


def test_lines_are_on_disk_before_the_log_is_closed(tmp_path):
  log = MetricLog(tmp_path, resume_step=0)
  log.write(1, {"loss": 1.0})
  assert len(read_lines(tmp_path)) == 1

  log.close()
  log.close()


def test_numbers_that_json_cannot_express_become_null(tmp_path):
  with MetricLog(tmp_path, resume_step=0) as log:
    log.write(1, {"a": math.nan, "b": math.inf, "c": 2})

  (line,) = read_lines(tmp_path)
  assert json.loads(line, parse_constant=pytest.fail) == {"step": 1, "a": None, "b": None, "c": 2.0}


def test_resuming_drops_the_steps_that_will_be_repeated(tmp_path):
  with MetricLog(tmp_path, resume_step=0) as log:
    for step in (10, 20, 30, 40):
      log.write(step, {"loss": step})
  with MetricLog(tmp_path, resume_step=20) as log:
    log.write(30, {"loss": -30})

  losses = [(record["step"], record["loss"]) for record in metric_log.read(tmp_path)]
  assert losses == [(10, 10), (20, 20), (30, -30)]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_a_fresh_run_begins_with_an_empty_log(tmp_path):
  for _ in range(2):
    with MetricLog(tmp_path, resume_step=0) as log:
      log.write(0, {"loss": 1.0})

  assert len(read_lines(tmp_path)) == 1


@pytest.mark.parametrize("torn", ['{"step": 20, "lo', '{"step": 20}'])
def test_a_last_line_without_its_end_is_left_out(tmp_path, torn):
  (tmp_path / "metrics.jsonl").write_text('{"step": 10, "loss": 1.0}\n' + torn)
  assert [record["step"] for record in metric_log.read(tmp_path)] == [10]

  with MetricLog(tmp_path, resume_step=25) as log:
    log.write(30, {"loss": 3.0})
  assert [json.loads(line)["step"] for line in read_lines(tmp_path)] == [10, 30]


@pytest.mark.parametrize("line", ["garbage", "[1, 2]", '{"loss": 1}', '{"step": null}', "3"])
def test_a_broken_line_in_the_middle_is_named_and_the_file_is_kept(tmp_path, line):
  text = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
  (tmp_path / "metrics.jsonl").write_text(text)

  with pytest.raises(InputError, match=r"metrics\.jsonl line 2 is not a record"):
    MetricLog(tmp_path, resume_step=3)
  assert (tmp_path / "metrics.jsonl").read_text() == text


def test_a_run_that_logged_nothing_reads_as_empty(tmp_path):
  assert metric_log.read(tmp_path) == []


def test_a_disabled_log_touches_no_file_and_prints_nothing(tmp_path):
  workdir = tmp_path / "run"
  with MetricLog(workdir, resume_step=0, enabled=False, echo=pytest.fail) as log:
    log.write(1, {"loss": 1.0})
    log.progress(2, {"loss": 1.0}, total_steps=10, images_per_step=4)
  assert not workdir.exists()

  # Nor does it drop steps that the first process has logged.
  with MetricLog(workdir, resume_step=0) as log:
    log.write(10, {"loss": 1.0})
  MetricLog(workdir, resume_step=5, enabled=False).close()
  assert [record["step"] for record in metric_log.read(workdir)] == [10]


def test_progress_shows_percent_rate_and_time_left(tmp_path):
  clock = ManualClock()
  printed = []
  with MetricLog(tmp_path, resume_step=0, clock=clock, echo=printed.append) as log:
    clock.now += 50  # compiling: 2 steps per second
    log.progress(100, {"loss": 0.5}, total_steps=10_000, images_per_step=16)
    clock.now += 10  # running: 10 steps per second
    log.progress(200, {"loss": 0.012345}, total_steps=10_000, images_per_step=16)
    clock.now += 30  # an evaluation in between: 200 steps in 40 s since the first call
    log.progress(300, {"loss": 0.01}, total_steps=10_000, images_per_step=16)

  assert printed == [
    "step   100/10000   1.0 %  32.0 images/s  left 1 h 22 min  loss 0.5",
    "step   200/10000   2.0 %  160.0 images/s  left 16 min 20 s  loss 0.01235",
    "step   300/10000   3.0 %  53.3 images/s  left 32 min 20 s  loss 0.01",
  ]
  rates = [record["images_per_second"] for record in metric_log.read(tmp_path)]
  assert rates == pytest.approx([32, 160, 160 / 3])


def test_progress_after_a_resume_counts_only_what_was_done_since(tmp_path):
  clock = ManualClock()
  printed = []
  with MetricLog(tmp_path, resume_step=900, clock=clock, echo=printed.append) as log:
    clock.now += 10
    log.progress(950, {}, total_steps=1000, images_per_step=2)
    # A clock that stood still is not a division by zero.
    log.progress(951, {}, total_steps=1000, images_per_step=2)

  assert printed == [
    "step  950/1000  95.0 %  10.0 images/s  left 10 s",
    "step  951/1000  95.1 %  0.0 images/s  left unknown",
  ]


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0, "0 s"),
    (59.6, "1 min 00 s"),
    (250, "4 min 10 s"),
    (3600, "1 h 00 min"),
    (86_399, "23 h 59 min"),
    (93_600, "1 d 02 h"),
  ],
)
def test_durations_are_given_in_two_units(seconds, text):
  assert metric_log.duration(seconds) == text


def values_of(workdir):
  return [(event.step, value) for event in events(workdir) for value in event.summary.value]


def test_tensorboard_and_whoever_listens_get_the_same_scalars(tmp_path):
  heard = []
  with MetricLog(tmp_path, resume_step=0, also=lambda *record: heard.append(record)) as log:
    log.write(7, {"train/loss": np.float32(0.5)})

  values = [(step, value.tag, value.simple_value) for step, value in values_of(tmp_path)]
  assert values == [(7, "train/loss", 0.5)]
  assert heard == [(7, {"train/loss": 0.5})]


def test_tensorboard_shows_hyper_parameters_and_pictures(tmp_path):
  from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

  Image.new("RGB", (30, 20)).save(tmp_path / "test_worst.jpg")
  config = {"seed": 3, "head": "heatmaps", "model.remat": False, "data.mix": [], "init_from": None}
  with MetricLog(tmp_path, resume_step=0) as log:
    log.describe(config, metrics=["loss", "test/nme_ic"])
    log.worst_faces(12, tmp_path, ["test", "without_a_sheet"])

  (_, experiment), (_, session), (step, picture) = values_of(tmp_path)
  contents = [
    HParamsPluginData.FromString(value.metadata.plugin_data.content)
    for value in (experiment, session)
  ]
  names = [metric.name.tag for metric in contents[0].experiment.metric_infos]
  shown = contents[1].session_start_info.hparams
  assert names == ["loss", "test/nme_ic"]
  assert shown.keys() == config.keys() - {"init_from"}
  assert (shown["seed"].number_value, shown["head"].string_value) == (3, "heatmaps")
  assert (shown["model.remat"].bool_value, shown["data.mix"].string_value) == (False, "[]")
  assert (step, picture.tag) == (12, "test/worst")
  assert (picture.image.width, picture.image.height) == (30, 20)
  assert picture.image.encoded_image_string == (tmp_path / "test_worst.jpg").read_bytes()


@pytest.mark.parametrize("limit", [200, 1000])
@pytest.mark.parametrize("room_again", [False, True])
def test_a_full_disk_delays_lines_and_is_an_error_only_at_the_end(tmp_path, limit, room_again):
  """Whichever of the two files meets it first; a thread would meet it without a word."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  log = MetricLog(tmp_path, resume_step=0)
  log.write(1, {"a": 1.0})

  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    for step in range(2, 100):
      log.write(step, {"a": 1.0})
    expected = log.text
    if not room_again:
      with pytest.raises(OSError, match="File too large"):
        log.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

  if room_again:
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == expected
  assert metric_log.read(tmp_path)[0] == {"step": 1, "a": 1.0}
