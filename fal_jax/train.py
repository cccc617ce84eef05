"""Training, from a config to a finished run. This page is meant to be read from top to bottom."""

import contextlib
import dataclasses
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fal_jax import build, checkpoint, config_json, data, evaluate, parallel, restore, steps
from fal_jax.errors import Diverged, InputError, Interrupted
from fal_jax.output import metric_log
from fal_jax.output.folders import write_atomic
from fal_jax.output.metric_log import MetricLog
from fal_jax.output.stopping import stop_on_signal
from fal_jax.plots import curves, figure
from fal_jax.scoring import reports

# Sections and keys of the config that may change when resuming: they do not affect the trained
# weights. The number of epochs may change too, as long as the learning rate drops at given
# epochs and nothing happens at given fractions of the run.
FREE_ON_RESUME = (
  "data.dir",
  "data.cache",
  "eval.",
  "checkpoint.",
  "log.",
  "model.remat",
)


def train_and_evaluate(
  config: ConfigDict, workdir: str | Path, *, stop_requested: threading.Event | None = None
) -> dict[str, dict[str, Any]]:
  """Trains to `config.train.epochs`, starting from the newest checkpoint, and evaluates.

  Args:
    config: see `configs/default.py`.
    workdir: the run's folder; everything is written below it.
    stop_requested: flag of a caller that catches signals for more than this run; by default the run
      catches them itself.

  Returns:
    Summary of each split of `config.eval.splits`.

  Raises:
    InputError: the config, the dataset, the checkpoints or a full disk need the user.
    Diverged: a metric became NaN or infinite.
    Interrupted: SIGTERM or Ctrl-C; the state is saved.
  """
  workdir = Path(workdir).expanduser()
  is_first_process = jax.process_index() == 0

  # ---- Config
  setup = build.setup(config, device_count=jax.device_count())
  platform = jax.devices()[0].platform
  logging.info("%d %s devices, %d processes", jax.device_count(), platform, jax.process_count())

  # ---- Data
  source = data.open_split(
    config.data.name,
    config.data.train_split,
    data_dir=config.data.dir,
    num_landmarks=setup.markup.num,
  )
  mix = data.open_mix(config.data.mix, data_dir=config.data.dir, num_landmarks=setup.markup.num)
  eval_sources = evaluate.open_splits(setup)

  batch_size = config.train.batch_size
  train_images = len(source) + sum(len(other) for other, _ in mix)
  # An epoch shows each image of the main dataset once, however many others it shows.
  main_share = 1 - sum(share for _, share in mix)
  steps_per_epoch = len(source) / (main_share * batch_size)
  total_steps = round(config.train.epochs * steps_per_epoch)

  # ---- Model and optimiser
  recipe = setup.recipe(steps_per_epoch=steps_per_epoch)
  # The rbg generator: XLA takes minutes to compile threefry for hundreds of arrays on some CPU
  # releases.
  key = jax.random.key(config.seed, impl="rbg")
  state = parallel.replicate(jax.jit(lambda: steps.init_state(key, recipe))())
  train_step = parallel.make_train_step(recipe)
  frozen = dataclasses.replace(recipe, frozen_statistics=True)
  train_frozen_step = parallel.make_train_step(frozen)  # compiled when it is first called
  predict = parallel.make_predict(setup.network, setup.codec)

  with contextlib.ExitStack() as on_exit:
    # ---- Checkpoint: resume or start
    extra = {"config": config_json.to_json(config), "train_images": train_images}
    saver = checkpoint.Checkpoints(workdir, keep=config.checkpoint.keep)
    checkpoints = on_exit.enter_context(saver)  # waits for the last one on every way out

    start_step = 0
    restored = checkpoints.restore_latest(state)
    if restored is not None:
      state, saved, start_step = restored
      check_resumable(saved, extra, workdir)
      total_steps = max(total_steps, start_step)  # it may have gone further, under more epochs
      print(f"Resuming from step {start_step} of {total_steps} in {workdir}", flush=True)
    elif config.init_from:
      variables = restore.starting_variables(config, state.variables)
      state = parallel.replicate(steps.first_state(variables, recipe))
    checkpoints.check_room(state, start_step, total_steps, every=config.checkpoint.every_steps)

    if is_first_process:
      text = json.dumps(extra["config"], indent=2) + "\n"
      write_atomic(workdir / "config.json", text)

    # ---- Log and evaluation
    log = on_exit.enter_context(
      MetricLog(workdir, resume_step=start_step, enabled=is_first_process)
    )

    stop_requested = stop_requested or on_exit.enter_context(stop_on_signal())

    def evaluate_splits(
      step: int, splits: Sequence[str], *, report_to: Path | None = None
    ) -> dict[str, dict[str, Any]]:
      summaries = {}
      for split in splits:
        summaries[split] = evaluate.evaluate_split(
          setup,
          split,
          eval_sources[split],
          predict=predict,
          variables=state.variables,
          step=step,
          report_to=report_to,
        )
        log_eval(log, step, split, summaries[split])
        show_eval(step, split, summaries[split], norm=setup.norm)
      return summaries

    if start_step == 0:
      split = config.eval.splits[0]
      baseline = evaluate.mean_shape(source, eval_sources[split], rule=setup.crop)
      summary = evaluate.score(baseline, setup.markup)
      show_eval(0, split, summary, norm=setup.norm, predictor="mean shape in the box")

    # ---- Loop
    batches = data.train_batches(
      source,
      rule=setup.crop,
      batch_size=batch_size,
      seed=config.seed,
      mix=mix,
      cache=config.data.cache,
      start_step=start_step,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    on_exit.callback(batches.close)  # type: ignore[attr-defined]  # grain's iterators have it
    to_devices = (
      parallel.make_device_cache(data.decode_all(source, setup.crop, mix=mix))
      if config.data.cache == "device"
      else parallel.split_over_devices
    )

    if is_first_process and start_step < total_steps:
      print(
        f"Training on {train_images:,} images, steps {start_step + 1} to {total_steps}; "
        "the first step is slower (compilation)",
        flush=True,
      )
    eval_every = config.eval.every_epochs * steps_per_epoch
    frozen_after = total_steps - round(config.train.frozen * total_steps)

    for step in range(start_step + 1, total_steps + 1):
      take_step = train_step if step <= frozen_after else train_frozen_step
      state, step_metrics = take_step(state, to_devices(next(batches)))

      last = step == total_steps
      stop = stop_requested.is_set()  # read once: a step announced as saved must have been saved
      log_now = last or step % config.log.every_steps == 0
      save_now = last or stop or step % config.checkpoint.every_steps == 0
      eval_now = not last and crosses_multiple(step, eval_every)
      if not (log_now or save_now or eval_now):
        continue  # steps are dispatched without waiting; only below do we look at a result

      values = {name: float(value) for name, value in step_metrics.items()}
      check_finite(values, step, workdir)  # before anything is written

      if log_now:
        log.progress(step, values, total_steps=total_steps, images_per_step=batch_size)
      if save_now:
        checkpoints.save(step, state, extra)
      if eval_now:
        evaluate_splits(step, config.eval.splits[:1])
      if stop and not last:
        raise Interrupted(
          f"Stopped at step {step} of {total_steps} and saved in {workdir}; "
          "run the same command to resume."
        )

    # ---- Final evaluation
    summaries = evaluate_splits(total_steps, config.eval.splits, report_to=workdir / "eval")
    if is_first_process:
      draw_curves(workdir, split=config.eval.splits[0], norm=setup.norm)

  return summaries


def crosses_multiple(step: int, every: float) -> bool:
  """Whether a multiple of `every`, which may be fractional, lies in (step - 1, step]."""
  return math.floor(step / every) > math.floor((step - 1) / every)


def check_resumable(saved: Mapping[str, Any], now: Mapping[str, Any], workdir: Path) -> None:
  """Checks that a run resumes under its own config and number of images.

  Args:
    saved: `config` and `train_images` of the newest checkpoint.
    now: the same of this start.
    workdir: the run's folder.

  Raises:
    InputError: they differ in what the results depend on.
  """
  changes = config_json.differences(saved["config"], now["config"])
  options, training = now["config"]["optimizer"], now["config"]["train"]
  if options["schedule"] == "drops" and not options["warmup"] and not training["frozen"]:
    changes.pop("train.epochs", None)
  lines = [
    f"  {key}: {before} there, {after} here"
    for key, (before, after) in changes.items()
    if not key.startswith(FREE_ON_RESUME)
  ]
  if lines:
    raise InputError(
      f"{workdir} holds a run with another config; use another --workdir, or revert these keys:\n"
      + "\n".join(lines)
    )

  # Another number would make the order of the images and the learning rate jump; imported weights
  # come with none.
  if saved["train_images"] not in (None, now["train_images"]):
    options = now["config"]["data"]
    names = [options["name"], *(name for name, _, _ in options["mix"])]
    raise InputError(
      f"{workdir} holds a run on {saved['train_images']} images and "
      f"{' with '.join(map(repr, names))} now has {now['train_images']}: use another --workdir, "
      "or the original data."
    )


def check_finite(values: Mapping[str, float], step: int, workdir: Path) -> None:
  """Raises Diverged before anything bad is saved."""
  bad = [name for name, value in values.items() if not math.isfinite(value)]
  if bad:
    raise Diverged(
      f"{' and '.join(bad)} became NaN or infinite at or shortly before step {step}. The "
      f"checkpoints in {workdir} are from before that; lower config.optimizer.learning_rate and "
      "restart with a new --workdir."
    )


def log_eval(log: MetricLog, step: int, split: str, summary: Mapping[str, Any]) -> None:
  """Writes the metrics of an evaluation into the log."""
  log.write(
    step,
    {f"{split}/{name}": value for name, value in summary.items() if isinstance(value, float)},
  )


def show_eval(
  step: int, split: str, summary: Mapping[str, Any], *, norm: str, predictor: str = "network"
) -> None:
  """Prints one line per evaluation."""
  if jax.process_index() == 0:
    # By the dataset's own box, too, where the protocol measures that.
    shown = reports.metrics_of(summary, norm) | reports.metrics_of(summary, f"{norm}_dataset")
    cells = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
    print(f"step {step}  {split}, {predictor}: {cells}", flush=True)


def draw_curves(workdir: Path, *, split: str, norm: str) -> None:
  """`learning_curve.png`: the training loss and the error on the first split against steps."""
  if not figure.has_matplotlib():
    logging.warning("No learning curve drawn: %s", figure.NO_MATPLOTLIB)
    return

  records = metric_log.read(workdir)
  titles = {"loss": "training loss", f"{split}/nme_{norm}": f"NME_{norm} on {split} (%)"}
  values = {
    title: np.array([record.get(name) for record in records], np.float64)
    for name, title in titles.items()
  }
  logged_steps = [record["step"] for record in records]
  curves.draw_learning_curve(workdir / "learning_curve.png", logged_steps, values)
