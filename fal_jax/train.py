"""Training, from a config to a finished run. This page is meant to be read from top to bottom."""

import contextlib
import dataclasses
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from fal_jax import build, checkpoint, config_json, data, evaluate, parallel, restore
from fal_jax.distributed import share, stop
from fal_jax.errors import Interrupted
from fal_jax.output import changes, diverged, provenance, wandb_run
from fal_jax.output.folders import locate, write_atomic
from fal_jax.output.metric_log import MetricLog
from fal_jax.output.stopping import unless_requested
from fal_jax.plots import curves
from fal_jax.scoring import reports


def train_and_evaluate(
  config: ConfigDict,
  workdir: str | Path,
  *,
  allow_changed: Sequence[str] = (),
  stop_requested: threading.Event | None = None,
) -> dict[str, dict[str, Any]]:
  """Trains to `config.train.epochs`, starting from the newest checkpoint, and evaluates.

  Args:
    config: see `configs/default.py`.
    workdir: the run's folder; everything is written below it.
    allow_changed: dotted keys of the config that may differ from those that the run was started
      with; what changes at which step is kept with the run.
    stop_requested: flag of a caller that catches signals for more than this run; by default the run
      catches them itself.

  Returns:
    Summary of each split of `config.eval.splits`.

  Raises:
    InputError: the config, the dataset, the checkpoints or a full disk need the user.
    Diverged: a metric, a weight or a prediction became NaN or infinite.
    Interrupted: SIGTERM or Ctrl-C; the state is saved.
  """
  workdir = locate(workdir)
  is_first_process = jax.process_index() == 0

  # ---- Config
  changes.check_allowed(allow_changed, config_json.to_json(config))
  setup = build.setup(config, device_count=jax.device_count())
  platform = jax.devices()[0].platform
  logging.info("%d %s devices, %d processes", jax.device_count(), platform, jax.process_count())
  if config.log.wandb_project and is_first_process:
    wandb_run.package()  # found missing now, not when everything is prepared

  # ---- Data
  where: dict[str, Any] = {"data_dir": config.data.dir, "num_landmarks": setup.markup.num}
  source = data.open_split(config.data.name, config.data.train_split, **where)
  mix = data.open_mix(config.data.mix, **where)
  eval_sources = evaluate.open_splits(setup)

  sources = [source, *(other for other, _ in mix)]
  train_images = sum(map(len, sources))
  batch_size = config.train.batch_size
  # An epoch shows each image of the main dataset once, however many others it shows.
  main_share = 1 - sum(share for _, share in mix)
  steps_per_epoch = len(source) / (main_share * batch_size)

  with contextlib.ExitStack() as on_exit:
    # ---- Checkpoint: resume or start
    extra: dict[str, Any] = {
      "config": config_json.to_json(config),
      "train_images": train_images,
      "origin": provenance.of_training(setup, sources),
      "changes": [],
    }
    saver = checkpoint.Checkpoints(workdir, keep=config.checkpoint.keep)
    checkpoints = on_exit.enter_context(saver)  # waits for the last one on every way out

    restored = checkpoints.restore_latest(restore.abstract_state(setup))
    state: Any
    state, saved, start_step = restored or (None, {}, 0)
    changed: dict[str, list[Any]] = {}
    if restored:
      changed = changes.check_resumable(saved, extra, workdir, allow_changed=allow_changed)
      now_changed = [{"step": start_step, "keys": changed}] if changed else []
      extra["changes"] = [*saved.get("changes", []), *now_changed]
    place = changes.place(
      extra["changes"],
      start_step,
      batch_size=batch_size,
      steps_per_epoch=steps_per_epoch,
      epochs=config.train.epochs,
    )
    total_steps = place.total_steps
    if restored and is_first_process:
      print(f"Resuming from step {start_step} of {total_steps} in {workdir}", flush=True)
      for name, (before, after) in changed.items():
        print(f"From here on config.{name} is {after}, it was {before}", flush=True)

    # ---- Weights and optimiser
    recipe = setup.recipe(steps_per_epoch=steps_per_epoch, steps_ahead=place.steps_ahead)
    if state is None:
      state = restore.first_state(config, recipe)
    checkpoints.check_room(state, start_step, total_steps, every=config.checkpoint.every_steps)
    train_step = parallel.make_train_step(recipe)
    frozen = dataclasses.replace(recipe, frozen_statistics=True)
    train_frozen_step = parallel.make_train_step(frozen)  # compiled when it is first called
    predict = parallel.make_predict(setup.network, setup.codec)

    # ---- Log and evaluation
    if is_first_process:
      write_atomic(workdir / "config.json", json.dumps(extra["config"], indent=2) + "\n")
      if extra["changes"]:
        write_atomic(workdir / "changes.json", json.dumps(extra["changes"], indent=2) + "\n")
    also = None
    if config.log.wandb_project and is_first_process:
      also = on_exit.enter_context(wandb_run.start(extra, saved, workdir)).write
    log = MetricLog(
      workdir, resume_step=start_step, saved=saved.get("log"), enabled=is_first_process, also=also
    )
    on_exit.enter_context(log)
    first_split = config.eval.splits[0]
    log.describe(
      config_json.flat(extra["config"]), metrics=["loss", f"{first_split}/nme_{setup.norm}"]
    )

    stop_requested = stop_requested or on_exit.enter_context(stop.stop_on_signal())
    predict_batch = unless_requested(stop_requested, predict)

    def save(step: int) -> None:
      log.save()
      checkpoints.save(step, state, {**extra, "log": log.text})

    def evaluate_splits(
      step: int, splits: Sequence[str], *, report_to: Path | None = None
    ) -> dict[str, dict[str, Any]]:
      summaries = {}
      for split in splits:
        summaries[split] = evaluate.evaluate_split(
          setup,
          split,
          eval_sources[split],
          predict=predict_batch,
          variables=state.variables,
          step=step,
          report_to=report_to,
        )
        if not log.holds(step, split):  # a run that had ended is evaluated again
          log.write(step, reports.scalars(summaries[split], split))
        reports.show_line(step, split, summaries[split], norm=setup.norm)
      log.save()  # a resume from this step's checkpoint does not evaluate again
      return summaries

    if start_step == 0:
      baseline = evaluate.mean_shape(source, eval_sources[first_split], rule=setup.crop)
      summary = evaluate.score(baseline, setup.markup)
      reports.show_line(0, first_split, summary, norm=setup.norm, predictor="mean shape in the box")

    # ---- Loop
    batches = data.train_batches(
      source,
      rule=setup.crop,
      batch_size=batch_size,
      seed=config.seed,
      mix=mix,
      cache=config.data.cache,
      start_step=start_step,
      ahead=place.ahead,
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
    frozen_after = total_steps - round(config.train.frozen * (total_steps + place.steps_ahead))

    def is_eval_due(step: int) -> bool:
      every = config.eval.every_epochs * steps_per_epoch
      return step < total_steps and crosses_multiple(step + place.steps_ahead, every)

    # Saved, and stopped before it was evaluated.
    was_due = start_step > 0 and is_eval_due(start_step)
    if share.said_by_first(was_due and not log.holds(start_step, first_split)):
      evaluate_splits(start_step, [first_split])

    def some_images() -> Any:
      batches = evaluate.padded_batches(
        eval_sources[first_split], rule=setup.crop, batch_size=config.eval.batch_size
      )
      return next(batches)[1]

    watch = diverged.Watch(
      setup,
      source,
      mix,
      predict=predict,
      probe=some_images,
      workdir=workdir,
      ahead=place.ahead,
    )
    for step in range(start_step + 1, total_steps + 1):
      take_step = train_step if step <= frozen_after else train_frozen_step
      state, step_metrics = take_step(state, to_devices(next(batches)))
      watch.take(step, step_metrics)

      last = step == total_steps
      # Asked once: a step announced as saved must have been.
      stop_now = stop.agreed(stop_requested, step)
      log_now = last or step % config.log.every_steps == 0
      save_now = last or stop_now or step % config.checkpoint.every_steps == 0
      eval_now = is_eval_due(step)
      if not (log_now or save_now or eval_now):
        continue  # steps are dispatched without waiting; only below do we look at a result

      # Before anything is written.
      values = watch.look(state if save_now else None, newest=checkpoints.newest)
      if log_now:
        log.progress(step, values, total_steps=total_steps, images_per_step=batch_size)
      if save_now:
        save(step)
      if eval_now and not stop_now:
        try:
          evaluate_splits(step, [first_split])
        except Interrupted:  # the evaluation is made up for when the run resumes
          save(step)
          stop_now = True
      if stop_now and not last:
        raise Interrupted(
          f"Stopped at step {step} of {total_steps} and saved in {workdir}; "
          "run the same command to resume."
        )

    # ---- Final evaluation
    try:
      summaries = evaluate_splits(total_steps, config.eval.splits, report_to=workdir / "eval")
    except Interrupted:
      raise Interrupted(
        f"Stopped in the evaluation after the last step, {total_steps}, which is saved in "
        f"{workdir}; run the same command to evaluate."
      ) from None
    log.worst_faces(total_steps, workdir / "eval", config.eval.splits)
    if start_step < total_steps:
      save(total_steps)  # does nothing, unless there was no room for it before
    if is_first_process:
      curves.draw_run(workdir, split=first_split, norm=setup.norm)

  return summaries


def crosses_multiple(step: float, every: float) -> bool:
  """Whether a multiple of `every`, which may be fractional, lies in (step - 1, step]."""
  return math.floor(step / every) > math.floor((step - 1) / every)
