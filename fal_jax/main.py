"""python -m fal_jax.main --config=configs/wflw.py --workdir=runs/wflw [--mode=train|eval|predict]

Flags and exit codes, nothing else. 0 finished, 2 the user's mistake, 3 diverged, 75 interrupted and saved.
"""

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from fal_jax.errors import InputError

MODES = ("train", "eval", "predict")

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config of the run, e.g. configs/wflw.py; set keys by --config.x.y=z.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs, results.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "train evaluates at its end; predict needs no --config.")
_IMAGES = flags.DEFINE_list("images", [], "predict: image files and folders.")
_BOX = flags.DEFINE_list("box", None, "predict: x0,y0,x1,y1 of the face in image pixels; by default the whole image.")


def main(_: Sequence[str]) -> int:
  try:
    return _run()
  except InputError as error:
    print(error, file=sys.stderr)
    return 2


def _run() -> int:
  if not _WORKDIR.value:
    raise InputError("No --workdir given: name the folder of the run, e.g. --workdir=runs/demo.")
  if _MODE.value == "predict":
    from fal_jax import predict

    directory = predict.run(_WORKDIR.value, _IMAGES.value, _numbers(_BOX.value))
    print(f"Landmarks and pictures are in {directory}")
    return 0
  if _CONFIG.value is None:
    raise InputError("No --config given: name one of the files in configs/, e.g. --config=configs/demo.py.")
  if _MODE.value == "eval":
    from fal_jax import evaluate

    for split, summary in evaluate.run(_CONFIG.value, _WORKDIR.value).items():
      print(evaluate.table(split, summary))
    return 0
  from fal_jax import evaluate, train

  try:
    summaries = train.train_and_evaluate(_CONFIG.value, _WORKDIR.value)
  except train.Diverged as error:
    print(error, file=sys.stderr)
    return 3
  except train.Interrupted as error:
    print(error, file=sys.stderr)
    return 75
  for split, summary in summaries.items():
    print(evaluate.table(split, summary))
  return 0


def _numbers(texts: list[str] | None) -> list[float] | None:
  try:
    return None if texts is None else [float(text) for text in texts]
  except ValueError as error:
    raise InputError(f"--box must be four numbers x0,y0,x1,y1, got {','.join(texts or [])}.") from error


def _parse(argv: Sequence[str]) -> list[str]:
  """Flags, with one sentence instead of a traceback for what absl and ml_collections raise."""
  try:
    return flags.FLAGS(list(argv))
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    print(f"{str(error).strip()}. See configs/default.py for all keys and --help for all flags.", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=_parse)
