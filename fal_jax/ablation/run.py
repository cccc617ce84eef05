"""Ablations: rows of configs over seeds.

Equal trainings are done once, and each row reads them with its own decoder.
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

from fal_jax import build, config_json, evaluate, metrics, train
from fal_jax.ablation import measures, results
from fal_jax.ablation.curves import ErrorCurves
from fal_jax.ablation.pace import Pace, duration
from fal_jax.errors import Diverged, InputError, Interrupted
from fal_jax.output.folders import local, make_dir, write_atomic
from fal_jax.output.stopping import stop_on_signal

# Keys that change no result of a finished training.
FREE = ("data.dir", "data.cache", "eval.", "checkpoint.", "log.")
# Keys that change only how its heatmaps are read.
DECODER = ("codec.decode", "codec.window", "codec.temperature")
METRICS = [
  name
  for norm, thresholds in metrics.THRESHOLDS.items()
  for name in metrics.metric_names(norm, thresholds)
]
# What further columns may show: these, and what `measures` reads or measures.
ALSO = [*METRICS, *measures.OF_SUMMARY, *measures.MEASURES]


@dataclasses.dataclass(frozen=True)
class Row:
  """One row of a table.

  Attributes:
    name: name of its config's file.
    label: what the table calls it.
    paper: the paper's number, None where it has none.
    config: its config, with the first seed.
  """

  name: str
  label: str
  paper: float | None
  config: ConfigDict


@dataclasses.dataclass(frozen=True)
class Job:
  """One cell of a table: a row with one seed.

  Attributes:
    row: its row.
    config: the row's config, with the seed.
    result: the folder of its evaluation.
    training: the run folder that it evaluates.
    training_config: that run's config: the row's own, or that of a row with an equal training.
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
  """Trains and evaluates what is missing, seed by seed.

  Writes `<name>.md`, `<name>.json` and `<name>_ced.png`, the error curves of the rows, after each
  result. Below the folder, `trainings/<row>/seed<n>/` are ordinary runs and `rows/<row>/seed<n>/`
  evaluations; other tables may use the same folder, and the trainings in it.

  Args:
    table: `title`, `base`, `metric`, `paper`, `against` and, if there are further columns, `also`,
      see `configs/ablations/`.
    rows: rows of the table.
    workdir: the folder.
    name: name of the table's files.
    seeds: how many, from each config's own upwards.
    command: the command line that makes the table again.

  Yields:
    One line for each result, and the table at the end.

  Raises:
    InputError: a config does not fit, or the folder holds other results under these names.
    Interrupted: SIGTERM or Ctrl-C; the same command resumes.
    Diverged: trainings did, after all others were done.
  """
  workdir = local(workdir)
  for key, choices in (("metric", METRICS), ("against", ("previous", "first"))):
    if table[key] not in choices:
      raise InputError(f"The table's {key} is {table[key]!r}; choose one of {', '.join(choices)}.")
  also = _also(table)
  if unknown := [name for name in also if name not in ALSO]:
    raise InputError(f"The table's also has {unknown[0]!r}; choose among {', '.join(ALSO)}.")
  jobs = plan(rows, workdir, seeds=seeds)  # everything is checked before hours of training
  make_dir(workdir)
  page, figure = workdir / f"{name}.md", workdir / f"{name}_ced.png"
  curves = ErrorCurves(figure, jobs[0].config, metric=table.metric)

  def write() -> None:
    written = report(table, rows, jobs, command=command, curves=curves)
    written["figure"] = figure.name if curves.draw(_predictions(rows, jobs)) else None
    write_atomic(page.with_suffix(".json"), json.dumps(written, indent=2) + "\n")
    write_atomic(page, results.markdown(written))

  write()
  missing = [job for job in jobs if not _is_complete(job, also)]
  done = len(jobs) - len(missing)
  if done:
    yield f"{done} of {len(jobs)} results already exist"

  trained: set[Path] = set()
  diverged: dict[Path, Diverged] = {}
  pace = Pace()
  with stop_on_signal() as stop:
    for number, job in enumerate(missing, done + 1):
      start = time.monotonic()
      is_first_use = job.training not in trained
      is_whole = is_first_use and not (job.training / "checkpoints").exists()
      value = None
      if job.training not in diverged:
        try:
          value = _measure(job, table, train_it=is_first_use, stop_requested=stop)
        except Diverged as error:  # the other rows are worth having
          diverged[job.training] = error

      seconds = time.monotonic() - start
      if is_whole:
        pace.add(job.config.siamese.num_views, seconds)
      trained.add(job.training)
      write()

      outcome = "diverged" if value is None else f"{table.metric} {value:.3f}"
      later = [other for other in missing if other.training not in trained]
      left = pace.left({other.training: other.config.siamese.num_views for other in later})
      yield (
        f"[{number}/{len(jobs)}] {job.row.name}, seed {job.config.seed}: {outcome} after "
        f"{duration(seconds)}{left}"
      )
      if stop.is_set() and number < len(jobs):
        raise Interrupted(
          f"Stopped after {number} of {len(jobs)} results; run the same command to resume."
        )

  if diverged:
    raise Diverged("\n".join(dict.fromkeys(str(error) for error in diverged.values())))
  yield f"{page.read_text(encoding='utf-8')}\nWritten to {page}"


def plan(rows: Sequence[Row], workdir: Path, *, seeds: int) -> list[Job]:
  """What to train where, seed by seed.

  An equal training is used again, whichever row or table it was made for.

  Args:
    rows: rows of the table.
    workdir: the folder with what there is already.
    seeds: how many, from each config's own upwards.

  Returns:
    A job for each row and seed.

  Raises:
    InputError: a config is wrong, or differs from the one that a folder was made with.
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
      values = config_json.to_json(config)
      folder = Path(row.name) / f"seed{config.seed}"

      result = workdir / "rows" / folder
      if (result / "config.json").exists():
        _check_same(differences(json.loads((result / "config.json").read_text()), values), result)

      equal = (path for path, other in trainings.items() if not training_differences(other, values))
      training = next(equal, workdir / "trainings" / folder)
      if training in trainings:
        _check_same(training_differences(trainings[training], values), training)
      trainings.setdefault(training, values)
      jobs.append(Job(row, config, result, training, _with_decoder(config, trainings[training])))
  return jobs


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
  """Keys that a result depends on and whose values differ: key -> (saved, now)."""
  pairs = config_json.differences(saved, now)
  return {key: pair for key, pair in pairs.items() if not key.startswith(FREE)}


def training_differences(
  saved: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Of these, the keys that the trained weights depend on.

  A head other than heatmaps learns through its decoder.
  """
  decoder_is_free = now["head"] == "heatmaps"
  return {
    key: pair
    for key, pair in differences(saved, now).items()
    if not (decoder_is_free and key in DECODER)
  }


def report(
  table: ConfigDict,
  rows: Sequence[Row],
  jobs: Sequence[Job],
  *,
  command: str,
  curves: ErrorCurves | None = None,
) -> dict[str, Any]:
  """The results of a table so far, for JSON.

  Args:
    table: see `run`.
    rows: rows of the table.
    jobs: from `plan`.
    command: the command line that makes the table again.
    curves: reads what each face adds to the metric; None for a table without intervals over faces.

  Returns:
    Where the results are from, and `rows` as in `results.summarise`.
  """
  split = jobs[0].config.eval.splits[0]
  also = _also(table)
  summaries = [(job, _summary(job)) for job in jobs if _is_complete(job, also)]
  commits = dict.fromkeys(summary["provenance"]["git_commit"] for _, summary in summaries)

  def column(row: Row) -> dict[str, Any]:
    of_row = [(job, summary) for job, summary in summaries if job.row is row]
    faces = {
      job.config.seed: curves.contributions(_predictions_of(job)) if curves else None
      for job, _ in of_row
    }
    return {
      "row": row.name,
      "label": row.label,
      "paper": row.paper,
      "training": next(job.training.parent.name for job in jobs if job.row is row),
      "values": {job.config.seed: _value(job, summary, table.metric) for job, summary in of_row},
      "catastrophic": {
        job.config.seed: summary.get("catastrophic")  # evaluations made before it lack it
        for job, summary in of_row
      },
      "also": {
        name: {job.config.seed: _value(job, summary, name) for job, summary in of_row}
        for name in also
      },
      "faces": {seed: of_faces for seed, of_faces in faces.items() if of_faces is not None},
    }

  columns: Sequence[Mapping[str, Any]] = [column(row) for row in rows]
  kept = None
  if table.metric.startswith("nme_"):
    columns, kept = results.with_unscattered(columns)
  groups = curves.videos if curves else None

  return {
    "title": table.title,
    "command": command,
    "base": table.base,
    "dataset": build.eval_dataset(jobs[0].config),
    "trained_on": jobs[0].config.data.name,
    "split": split,
    "metric": table.metric,
    "also": [*also, *([] if kept is None else [results.UNSCATTERED])],
    "unscattered": None if kept is None else [int(kept.sum()), len(kept)],
    "paper": table.paper,
    "against": table.against,
    "seeds": list(dict.fromkeys(job.config.seed for job in jobs)),
    "git_commits": [commit for commit in commits if commit],
    "rows": results.summarise(columns, against=table.against, groups=groups, kept=kept),
  }


def _value(job: Job, summary: Mapping[str, Any], name: str) -> float:
  """A metric or another measure of one result, in percent."""
  if name in measures.MEASURES:
    return measures.read(job.result, name)
  dataset = build.eval_dataset(job.config)
  if name in measures.OF_SUMMARY:
    return measures.of_summary(summary, name, norm=job.config.eval.norm, dataset=dataset)
  return metric_of(summary, name, dataset=dataset)


def metric_of(summary: Mapping[str, Any], metric: str, *, dataset: str) -> float:
  """One metric of an evaluation's summary, in percent; `dataset` is for the message."""
  if metric not in summary:
    raise InputError(
      f"{dataset} has no face with the normaliser of {metric}: choose another --table.metric."
    )
  return summary[metric]


def _measure(
  job: Job, table: ConfigDict, *, train_it: bool, stop_requested: threading.Event
) -> float:
  """Trains if asked, evaluates, and returns the metric in percent; what is there is left alone."""
  if not _is_done(job):
    (job.result / "config.json").unlink(missing_ok=True)
    measures.forget(job.result)
    if train_it:
      train.train_and_evaluate(job.training_config, job.training, stop_requested=stop_requested)
    evaluate.run(job.config, job.training, directory=job.result)

    # Last: from now on the result counts.
    text = json.dumps(config_json.to_json(job.config), indent=2) + "\n"
    write_atomic(job.result / "config.json", text)

  if names := measures.missing(job.result, _also(table)):
    measures.measure(job.config, job.training, job.result, names)
  return _value(job, _summary(job), table.metric)


def _also(table: ConfigDict) -> tuple[str, ...]:
  """Names of a table's further columns; most tables have none."""
  return tuple(table.get("also", ()))


def _is_complete(job: Job, also: Sequence[str]) -> bool:
  """Whether a job is evaluated and measured for all columns."""
  return _is_done(job) and not measures.missing(job.result, also)


def _is_done(job: Job) -> bool:
  return (job.result / "config.json").exists() and _summary_file(job).exists()


def _summary(job: Job) -> dict[str, Any]:
  return json.loads(_summary_file(job).read_text())


def _summary_file(job: Job) -> Path:
  return job.result / f"{job.config.eval.splits[0]}.json"


def _predictions(rows: Sequence[Row], jobs: Sequence[Job]) -> dict[str, list[Path]]:
  """Label of each row -> the predictions of its results so far."""
  return {
    row.label: [_predictions_of(job) for job in jobs if job.row is row and _is_done(job)]
    for row in rows
  }


def _predictions_of(job: Job) -> Path:
  return job.result / f"{job.config.eval.splits[0]}_predictions.csv"


def _with_decoder(config: ConfigDict, training: Mapping[str, Any]) -> ConfigDict:
  """The config that a training resumes with.

  It has the decoder that the training was begun with, which its own evaluations use.
  """
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for key in DECODER:
      section, name = key.split(".")
      config[section][name] = training[section][name]
  return config


def _check_same(differences: Mapping[str, tuple[Any, Any]], folder: Path) -> None:
  """Refuses a folder whose config differs: key -> (there, here)."""
  if differences:
    keys = "; ".join(
      f"{key} is {before} there and {now} here" for key, (before, now) in differences.items()
    )
    raise InputError(
      f"{folder} was made with another config ({keys}): use another --workdir, or delete that "
      "folder."
    )
