"""Weights & Biases, by a stand-in for its package: what it is told, and that it never matters."""

import sys
import types

import pytest
import tiny_dataset
from runs import idle

from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.output.wandb_run import WandbRun

PROJECT = {"log__wandb_project": "faces"}


class Service(types.ModuleType):
  """Stands in for the package; `failing` names the calls that raise."""

  def __init__(self):
    super().__init__("wandb")
    self.started, self.logged, self.ends = [], [], []
    self.failing = set()

  def _fail(self, name):
    if name in self.failing:
      raise ConnectionError(f"no answer to {name}.\nand a page about it")

  def init(self, **options):
    self._fail("init")
    self.started.append(options)
    return self

  def log(self, values, *, step):
    self._fail("log")
    self.logged.append((step, values))

  def finish(self, *, exit_code):
    self._fail("finish")
    self.ends.append(exit_code)


@pytest.fixture
def service(monkeypatch):
  service = Service()
  monkeypatch.setitem(sys.modules, "wandb", service)
  return service


def options(workdir, lines):
  return {"run_id": "abc", "config": {}, "workdir": workdir, "echo": lines.append}


def test_a_missing_package_is_a_sentence_before_anything_is_opened(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
  config = tiny_dataset.config(tmp_path / "no_data_here", **PROJECT)
  with pytest.raises(InputError, match=r"wandb, which is not installed: pip install wandb, or"):
    idle(config, tmp_path / "run")
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_the_run_that_it_had(service, folder, tmp_path):
  workdir = tmp_path / "faces_1"
  for epochs in (2.0, 4.0):
    idle(tiny_dataset.config(folder, train__epochs=epochs, **PROJECT), workdir)

  first, second = service.started
  assert first["id"] == second["id"]
  assert (first["project"], first["name"], first["resume"]) == ("faces", "faces_1", "allow")
  assert first["dir"] == str(workdir)
  assert second["config"]["train"]["epochs"] == 4.0
  assert service.ends == [0, 0]
  assert [{"step": step, **values} for step, values in service.logged] == metric_log.read(workdir)


@pytest.mark.slow
def test_no_project_no_run(service, folder, tmp_path):
  idle(tiny_dataset.config(folder, train__epochs=0.0), tmp_path)
  assert not service.started


def test_a_service_that_fails_later_costs_one_line(service, tmp_path):
  lines = []
  with WandbRun("faces", resumed=False, **options(tmp_path, lines)) as run:
    run.write(1, {"loss": 0.5})
    service.failing = {"log", "finish"}
    for step in (2, 3):
      run.write(step, {"loss": 0.5})

  assert service.logged == [(1, {"loss": 0.5})]
  lost = "Weights & Biases gets nothing more (ConnectionError: no answer to log.); the training"
  assert lines == [f"{lost} goes on."]


def test_a_service_that_fails_at_the_end_costs_one_line(service, tmp_path):
  lines = []
  with WandbRun("faces", resumed=False, **options(tmp_path, lines)):
    service.failing = {"finish"}
  assert len(lines) == 1


def test_a_start_that_fails_is_an_error_of_a_fresh_run_only(service, tmp_path):
  service.failing = {"init"}
  lines = []
  with pytest.raises(InputError, match=r"started \(.*no answer to init.*\): run `wandb login`"):
    WandbRun("faces", resumed=False, **options(tmp_path, lines))
  assert not lines

  with WandbRun("faces", resumed=True, **options(tmp_path, lines)) as run:
    run.write(1, {"loss": 0.5})
  assert len(lines) == 1


def test_a_training_that_ends_early_is_not_called_finished(service, tmp_path):
  with (
    pytest.raises(KeyboardInterrupt),
    WandbRun("faces", resumed=False, **options("gs://bucket/faces_2", [])),
  ):
    raise KeyboardInterrupt
  assert service.ends == [1]
  assert service.started[0]["name"] == "faces_2"
  assert "dir" not in service.started[0]  # its default; it would make a folder named gs:
