"""Training, from a config to a finished run. This page is meant to be read from top to bottom."""

import contextlib
import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fal_jax import build, checkpoint, data, evaluate, parallel, steps
from fal_jax.errors import InputError
from fal_jax.output import metric_log
from fal_jax.plots import curves, figure

# Sections of the config that may change between two starts of one run: they do not touch the
# mathematics. The number of epochs may too, since the learning rate drops at given epochs and not
# at given parts of the run.
FREE_ON_RESUME = (
  "data.dir",
  "data.cache",
  "eval.",
  "checkpoint.",
  "log.",
  "train.epochs",
  "model.remat",
)


class Diverged(RuntimeError):
  """The loss or the weights are no longer finite; the checkpoints are from before that."""


class Interrupted(RuntimeError):
  """A signal asked the run to stop; it has saved its state and the same command goes on from there."""


def train_and_evaluate(
  config: ConfigDict, workdir: str | Path, *, stop_requested: threading.Event | None = None
) -> dict[str, dict[str, Any]]:
  """Trains to the end of `config.train.epochs`, going on from the newest checkpoint if there is
  one, and evaluates.

  Args:
    config: see `configs/default.py`.
    workdir: of the run; everything is written below it.
    stop_requested: flag of a caller that catches signals for more than this run; by default the run
      catches them itself.

  Returns:
    Summary of each split of `config.eval.splits`.

  Raises:
    InputError: the config, the dataset or the checkpoints need the user.
    Diverged: a number became NaN or infinite.
    Interrupted: SIGTERM or Ctrl-C; the state is saved.
  """
  workdir = Path(workdir).expanduser()

  # ---- Config
  build.validate(config, device_count=jax.device_count())
  is_first_process = jax.process_index() == 0
  logging.info(
    "%d %s devices in %d processes",
    jax.device_count(),
    jax.devices()[0].platform,
    jax.process_count(),
  )

  # ---- Data
  rule, markup = build.crop_rule(config), build.markup(config)
  source = data.open_split(
    config.data.name, config.data.train_split, data_dir=config.data.dir, num_landmarks=markup.num
  )
  if not len(source):
    raise InputError(
      f"The split {config.data.train_split!r} of {config.data.name!r} holds no images."
    )
  eval_sources = evaluate.open_splits(config)
  batch_size = config.train.batch_size
  steps_per_epoch = len(source) / batch_size
  total_steps = round(config.train.epochs * steps_per_epoch)

  # ---- Model and optimiser
  recipe = build.train_recipe(config, steps_per_epoch=steps_per_epoch)
  # The rbg generator: XLA takes minutes to compile threefry for hundreds of arrays on some CPU
  # releases.
  init = jax.jit(lambda: steps.init_state(jax.random.key(config.seed, impl="rbg"), recipe))
  state = parallel.replicate(init())
  train_step = parallel.make_train_step(recipe)
  predict = parallel.make_predict(build.model(config, axis_name=None), build.codec(config))

  # ---- Checkpoint: resume or start
  extra = {"config": json.loads(config.to_json_best_effort()), "train_images": len(source)}
  checkpoints = checkpoint.Checkpoints(workdir, keep=config.checkpoint.keep)
  start_step = 0
  with contextlib.ExitStack() as on_exit:
    on_exit.callback(checkpoints.close)  # waits for the last checkpoint on every way out
    restored = checkpoints.restore_latest(state)
    if restored is not None:
      state, saved, start_step = restored
      check_resumable(saved["config"], extra["config"], workdir)
      # Another number would make the order of the images and the learning rate jump; imported
      # weights come with none.
      if saved["train_images"] not in (None, len(source)):
        raise InputError(
          f"{workdir} holds a run on {saved['train_images']} images and {config.data.name!r} now has {len(source)}: "
          "use another --workdir, or the former dataset."
        )
      total_steps = max(total_steps, start_step)  # it may have gone further, under more epochs
      print(f"Going on from step {start_step} of {total_steps} in {workdir}", flush=True)
    checkpoint.write_atomic(workdir / "config.json", json.dumps(extra["config"], indent=2) + "\n")

    # ---- Loop
    log = (
      on_exit.enter_context(metric_log.MetricLog(workdir, resume_step=start_step))
      if is_first_process
      else None
    )
    stop_requested = stop_requested or on_exit.enter_context(stop_on_signal())
    if start_step == 0:
      split = config.eval.splits[0]
      baseline = evaluate.score(evaluate.mean_shape(source, eval_sources[split], rule=rule), markup)
      show_eval(0, split, baseline, norm=config.eval.norm, what="mean shape in the box")
    batches = data.train_batches(
      source,
      rule=rule,
      batch_size=batch_size,
      seed=config.seed,
      cache=config.data.cache,
      start_step=start_step,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    on_exit.callback(batches.close)  # type: ignore[attr-defined]  # grain's iterators have it, typing.Iterator does not
    on_devices: Callable = parallel.split_over_devices
    if config.data.cache == "device":
      on_devices = parallel.make_device_cache(data.decode_all(source, rule))
    if is_first_process and start_step < total_steps:
      steps_left = f"steps {start_step + 1} to {total_steps}"
      print(
        f"Training on {len(source):,} images, {steps_left}; the first one takes longer, it is compiled",
        flush=True,
      )
    eval_every = config.eval.every_epochs * steps_per_epoch
    for step in range(start_step + 1, total_steps + 1):
      state, step_metrics = train_step(state, on_devices(next(batches)))
      last = step == total_steps
      stop = (
        stop_requested.is_set()
      )  # asked once a step, so that no step is announced as saved that was not
      logs = last or step % config.log.every_steps == 0
      saves = last or stop or step % config.checkpoint.every_steps == 0
      evaluates = not last and math.floor(step / eval_every) > math.floor((step - 1) / eval_every)
      if (
        logs or saves or evaluates
      ):  # steps are dispatched without waiting for their results; only here they are looked at
        values = {name: float(value) for name, value in step_metrics.items()}
        check_finite(values, step, workdir)
      if logs and log:
        log.progress(step, values, total_steps=total_steps, images_per_step=batch_size)
      if saves:
        checkpoints.save(step, state, extra)
      if evaluates:
        split = config.eval.splits[0]
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        predictions = evaluate.predict_split(
          predict, variables, eval_sources[split], rule=rule, batch_size=config.eval.batch_size
        )
        summary = evaluate.score(predictions, markup)
        log_eval(log, step, split, summary)
        show_eval(step, split, summary, norm=config.eval.norm)
      if stop and not last:
        raise Interrupted(
          f"Stopped at step {step} of {total_steps} and saved in {workdir}; run the same command to go on."
        )

    # ---- Evaluation
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    summaries = {}
    for split in config.eval.splits:
      summaries[split] = evaluate.report(
        config,
        workdir / "eval",
        split,
        eval_sources[split],
        predict=predict,
        variables=variables,
        step=total_steps,
      )
      log_eval(log, total_steps, split, summaries[split])
      show_eval(total_steps, split, summaries[split], norm=config.eval.norm)
  if is_first_process:
    draw_curves(workdir, split=config.eval.splits[0], norm=config.eval.norm)
  return summaries


def check_resumable(saved: Mapping[str, Any], now: Mapping[str, Any], workdir: Path) -> None:
  """A run goes on only under the config it was started with, as far as its numbers depend on it."""
  differences = checkpoint.config_differences(saved, now)
  refused = {key: pair for key, pair in differences.items() if not key.startswith(FREE_ON_RESUME)}
  if refused:
    lines = "\n".join(
      f"  {key}: {before} there, {after} here" for key, (before, after) in refused.items()
    )
    raise InputError(
      f"{workdir} holds a run with another config; use another --workdir, or take back\n{lines}"
    )


def check_finite(values: Mapping[str, float], step: int, workdir: Path) -> None:
  """Raises before anything bad is saved."""
  bad = [name for name, value in values.items() if not math.isfinite(value)]
  if bad:
    raise Diverged(
      f"{' and '.join(bad)} became NaN or infinite at or shortly before step {step}. The checkpoints in {workdir} are from "
      "before that; lower config.optimizer.learning_rate and start in another --workdir."
    )


def log_eval(
  log: metric_log.MetricLog | None, step: int, split: str, summary: Mapping[str, Any]
) -> None:
  """The numbers of an evaluation, into the log of the first process."""
  if log:
    log.write(
      step,
      {f"{split}/{name}": value for name, value in summary.items() if isinstance(value, float)},
    )


def show_eval(
  step: int, split: str, summary: Mapping[str, Any], *, norm: str, what: str = "network"
) -> None:
  """One line on the screen per evaluation."""
  if jax.process_index() == 0:
    numbers = {
      name: value
      for name, value in summary.items()
      if isinstance(value, float) and f"_{norm}" in name
    }
    print(
      f"step {step}  {split}, {what}: "
      + "  ".join(f"{name} {value:.3f}" for name, value in numbers.items()),
      flush=True,
    )


def draw_curves(workdir: Path, *, split: str, norm: str) -> None:
  """`learning_curve.png`: the training loss and the error on the first evaluation split against
  steps.
  """
  if not figure.has_matplotlib():
    logging.warning("No learning curve drawn: %s", figure.NO_MATPLOTLIB)
    return
  records = metric_log.read(workdir)
  titles = {"loss": "training loss", f"{split}/nme_{norm}": f"NME_{norm} on {split} (%)"}
  values = {
    title: np.array([record.get(name) for record in records], np.float64)
    for name, title in titles.items()
  }
  curves.draw_learning_curve(
    workdir / "learning_curve.png", [record["step"] for record in records], values
  )


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
  """Turns the first SIGTERM or Ctrl-C into a flag that the loop looks at; the second one acts as
  usual.

  Yields:
    The flag. Outside the main thread (a notebook's kernel may run us elsewhere) signals cannot be
    caught and it stays unset.
  """
  asked = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield asked
    return
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

  def restore() -> None:
    for number, handler in before.items():
      signal.signal(number, handler)

  def ask(number: int, _: Any) -> None:
    asked.set()
    restore()
    print(
      f"\nReceived {signal.Signals(number).name}: saving after this step; once more stops at once.",
      flush=True,
    )

  for number in before:
    signal.signal(number, ask)
  try:
    yield asked
  finally:
    restore()
