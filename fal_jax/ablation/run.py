"""Ablations: rows of configs over seeds. Equal trainings are done once, and each row reads them
with its own decoder.
"""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fal_jax import build, evaluate, metrics, train
from fal_jax.ablation import results
from fal_jax.checkpoint import config_differences, write_atomic
from fal_jax.errors import InputError

# Keys that change no number of a finished training, and those that change only how its heatmaps are
# read.
FREE = ("data.dir", "data.cache", "eval.", "checkpoint.", "log.")
DECODER = ("codec.decode", "codec.window", "codec.temperature")
METRICS = [
  *(f"nme_{norm}" for norm in ("ic", "ip", "box", "diag")),
  *(
    f"{kind}_{norm}_{at:g}"
    for norm, all_at in metrics.THRESHOLDS.items()
    for at in all_at
    for kind in ("auc", "fr")
  ),
]


@dataclasses.dataclass(frozen=True)
class Row:
  """One row of a table.

  Attributes:
    name: of its config's file.
    label: in the table.
    paper: the paper's number, None where it has none.
    config: with the first seed.
  """

  name: str
  label: str
  paper: float | None
  config: ConfigDict


@dataclasses.dataclass(frozen=True)
class Job:
  """One number of a table.

  Attributes:
    row: which.
    config: of the row, with the number's seed.
    result: the folder of its evaluation.
    training: the run folder that it evaluates.
    training_config: of that run: the row's own, or that of a row with an equal training.
  """

  row: Row
  config: ConfigDict
  result: Path
  training: Path
  training_config: ConfigDict


def run(
  table: ConfigDict,
  rows: Sequence[Row],
  workdir: str | Path,
  *,
  name: str,
  seeds: int,
  command: str,
) -> Iterator[str]:
  """Trains and evaluates what is missing, seed by seed, and writes `<name>.md` and `<name>.json`
  after each number.

  Below the folder, `trainings/<row>/seed<n>/` are ordinary runs and `rows/<row>/seed<n>/`
  evaluations; other tables may use the same folder, and the trainings in it.

  Args:
    table: `title`, `base`, `metric`, `paper` and `against`, see `configs/ablations/`.
    rows: of the table.
    workdir: the folder.
    name: of the table's files.
    seeds: how many, from each config's own upwards.
    command: what makes the table again.

  Yields:
    One line for each number, and what there is at the end.

  Raises:
    InputError: a config does not fit, or the folder holds other numbers under these names.
    train.Interrupted: SIGTERM or Ctrl-C; the same command goes on.
    train.Diverged: trainings did, after all others were done.
  """
  workdir = Path(workdir).expanduser()
  for key, choices in (("metric", METRICS), ("against", ("previous", "first"))):
    if table[key] not in choices:
      raise InputError(f"The table's {key} is {table[key]!r}; choose one of {', '.join(choices)}.")
  jobs = plan(rows, workdir, seeds=seeds)  # everything is looked at before hours of training
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f"Nothing can be written to --workdir={workdir} ({error.strerror}): name another folder."
    ) from error
  page = workdir / f"{name}.md"

  def write() -> None:
    written = report(table, rows, jobs, command=command)
    write_atomic(page.with_suffix(".json"), json.dumps(written, indent=2) + "\n")
    write_atomic(page, results.markdown(written))

  write()
  missing = [job for job in jobs if not _is_done(job)]
  if len(missing) < len(jobs):
    yield f"{len(jobs) - len(missing)} of {len(jobs)} numbers are there already"
  trained: set[Path] = set()
  diverged: dict[Path, train.Diverged] = {}
  views, seconds = 0, 0.0  # of whole trainings: a step's time goes with the number of views
  with train.stop_on_signal() as stop:
    for number, job in enumerate(missing, len(jobs) - len(missing) + 1):
      start, began = time.monotonic(), not (job.training / "checkpoints").exists()
      value = None
      try:
        if job.training not in diverged:
          value = _measure(
            job, table.metric, train_it=job.training not in trained, stop_requested=stop
          )
      except train.Diverged as error:  # the other rows are worth having
        diverged[job.training] = error
      if began and job.training not in trained:
        views, seconds = views + job.config.siamese.num_views, seconds + time.monotonic() - start
      trained.add(job.training)
      write()
      left = {
        later.training: later.config.siamese.num_views
        for later in missing
        if later.training not in trained
      }
      eta = (
        f"; about {_duration(sum(left.values()) * seconds / views)} left" if left and views else ""
      )
      shown = "diverged" if value is None else f"{table.metric} {value:.3f}"
      took = _duration(time.monotonic() - start)
      yield f"[{number}/{len(jobs)}] {job.row.name}, seed {job.config.seed}: {shown} after {took}{eta}"
      if stop.is_set() and number < len(jobs):
        raise train.Interrupted(
          f"Stopped after {number} of {len(jobs)} numbers; run the same command to go on."
        )
  if diverged:
    raise train.Diverged("\n".join(dict.fromkeys(str(error) for error in diverged.values())))
  yield f"{page.read_text(encoding='utf-8')}\nWritten to {page}"


def plan(rows: Sequence[Row], workdir: Path, *, seeds: int) -> list[Job]:
  """What to train where, seed by seed: an equal training is used again, whichever row or table it
  was made for.
  """
  trainings = {
    path.parent: json.loads(path.read_text())
    for path in sorted(workdir.glob("trainings/*/seed*/config.json"))
  }
  jobs = []
  for offset in range(seeds):
    for row in rows:
      config = row.config.copy_and_resolve_references()
      with config.unlocked():
        config.seed = row.config.seed + offset
      build.setup(config, device_count=jax.device_count())
      place = Path(row.name) / f"seed{config.seed}"
      result = workdir / "rows" / place
      if (result / "config.json").exists():
        _refuse(
          differences(json.loads((result / "config.json").read_text()), _as_json(config)), result
        )
      found = [
        path
        for path, other in trainings.items()
        if not training_differences(other, _as_json(config))
      ]
      training = found[0] if found else workdir / "trainings" / place
      if not found and training in trainings:
        _refuse(training_differences(trainings[training], _as_json(config)), training)
      trainings.setdefault(training, _as_json(config))
      jobs.append(Job(row, config, result, training, _with_decoder(config, trainings[training])))
  return jobs


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
  """Keys that a number depends on and that have other values now."""
  return {
    key: pair for key, pair in config_differences(saved, now).items() if not key.startswith(FREE)
  }


def training_differences(
  saved: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Of these, the keys that the trained weights depend on: a head other than heatmaps learns
  through its decoder.
  """
  decoder_is_free = now["head"] == "heatmaps"
  return {
    key: pair
    for key, pair in differences(saved, now).items()
    if not (decoder_is_free and key in DECODER)
  }


def report(
  table: ConfigDict, rows: Sequence[Row], jobs: Sequence[Job], *, command: str
) -> dict[str, Any]:
  """What there is of a table, for JSON.

  Args:
    table: see `run`.
    rows: of the table.
    jobs: from `plan`.
    command: what makes the table again.
  """
  split = jobs[0].config.eval.splits[0]
  done = [
    (job, json.loads((job.result / f"{split}.json").read_text())) for job in jobs if _is_done(job)
  ]
  commits = dict.fromkeys(result["provenance"]["git_commit"] for _, result in done)
  columns = [
    {
      "row": row.name,
      "label": row.label,
      "paper": row.paper,
      "training": next(job.training.parent.name for job in jobs if job.row is row),
      "values": {
        job.config.seed: _value(result, table.metric, job) for job, result in done if job.row is row
      },
    }
    for row in rows
  ]
  return {
    "title": table.title,
    "command": command,
    "base": table.base,
    "dataset": jobs[0].config.data.name,
    "split": split,
    "metric": table.metric,
    "paper": table.paper,
    "against": table.against,
    "seeds": list(dict.fromkeys(job.config.seed for job in jobs)),
    "git_commits": [commit for commit in commits if commit],
    "rows": results.summarise(columns, against=table.against),
  }


def _measure(job: Job, metric: str, *, train_it: bool, stop_requested: threading.Event) -> float:
  (job.result / "config.json").unlink(missing_ok=True)
  if train_it:
    train.train_and_evaluate(job.training_config, job.training, stop_requested=stop_requested)
  summary = evaluate.run(job.config, job.training, directory=job.result)[job.config.eval.splits[0]]
  write_atomic(
    job.result / "config.json", json.dumps(_as_json(job.config), indent=2) + "\n"
  )  # last: from now on it counts
  return _value(summary, metric, job)


def _is_done(job: Job) -> bool:
  return (job.result / "config.json").exists() and (
    job.result / f"{job.config.eval.splits[0]}.json"
  ).exists()


def _value(summary: Mapping[str, Any], metric: str, job: Job) -> float:
  if metric not in summary:
    raise InputError(
      f"{job.config.data.name} has no face with the normaliser of {metric}: choose another --table.metric."
    )
  return summary[metric]


def _with_decoder(config: ConfigDict, training: Mapping[str, Any]) -> ConfigDict:
  """The config that a training goes on with: the decoder that it was begun with, which its own
  evaluations use.
  """
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for key in DECODER:
      section, name = key.split(".")
      config[section][name] = training[section][name]
  return config


def _refuse(found: Mapping[str, tuple[Any, Any]], folder: Path) -> None:
  if found:
    keys = "; ".join(
      f"{key} is {before} there and {now} here" for key, (before, now) in found.items()
    )
    raise InputError(
      f"{folder} was made with another config ({keys}): use another --workdir, or delete that folder."
    )


def _as_json(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def _duration(seconds: float) -> str:
  if seconds < 60:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
