"""python -m fal_jax.main --config=configs/wflw.py --workdir=runs/wflw [--mode=MODE]

Flags and exit codes, nothing else. 0 finished, 2 the user's mistake, 3 diverged, 75 interrupted and
saved.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fal_jax import flag_parser
from fal_jax.errors import InputError

MODES = ("train", "eval", "predict", "score", "codec_report", "doctor", "bench", "import_torch")

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config of the run, e.g. configs/wflw.py; set keys by --config.x.y=z."
)
_WORKDIR = flag_parser.WORKDIR
flags.declare_key_flag("workdir")  # for --help
_MODE = flags.DEFINE_enum(
  "mode", "train", MODES, "train evaluates at its end; predict and score need no --config."
)
_IMAGES = flags.DEFINE_list("images", [], "predict: image files and folders.")
_BOX = flags.DEFINE_list(
  "box", None, "predict: x0,y0,x1,y1 of the face in image pixels; by default the whole image."
)
_LANDMARKS = flags.DEFINE_string(
  "landmarks", None, "codec_report: .npz of landmarks (N, K, 2), image px, instead of a dataset."
)
_WEIGHTS = flags.DEFINE_string(
  "weights", None, "import_torch: file with a PyTorch FAN's state dict, e.g. 2DFAN4.pth.tar."
)
_PARTS = flags.DEFINE_list(
  "parts", [], "bench: what to measure, e.g. forward,step; by default all that makes sense here."
)
_ROUNDS = flags.DEFINE_integer(
  "rounds", 7, "bench: how often everything is measured.", lower_bound=1
)
_BATCH_SIZES = flags.DEFINE_list(
  "batch_sizes", [], "bench: images a step; the first is that of the tables."
)
_PREDICTIONS = flags.DEFINE_string(
  "predictions", None, "score: .csv, .json, .npz or .npy of landmarks, original-image px."
)
_TRUTH = flags.DEFINE_string(
  "truth", None, "score: such a file of annotated landmarks, instead of --config of a dataset."
)
_MARKUP = flags.DEFINE_integer(
  "markup", None, "score: number of landmarks of --truth; by default as many as it has."
)
_ORIGIN = flags.DEFINE_integer(
  "origin", 0, "score: number of the first pixel in --predictions.", lower_bound=0, upper_bound=1
)
_ORDER = flags.DEFINE_bool(
  "assume_order", False, "score: take the order for granted where a file has no ids."
)
_MAP = flags.DEFINE_bool(
  "map_98_to_68", False, "score: make the 68 landmarks of 300W of predictions with the 98 of WFLW."
)


def main(_: Sequence[str]) -> int:
  try:
    return _run()
  except InputError as error:
    print(error, file=sys.stderr)
    return 2


def _run() -> int:
  if _CONFIG.value is None and _MODE.value not in ("predict", "score"):
    raise InputError(
      "No --config given: name one of the files in configs/, e.g. --config=configs/demo.py."
    )
  if not _WORKDIR.value:
    raise InputError("No --workdir given: name the folder of the run, e.g. --workdir=runs/demo.")
  if _MODE.value not in (
    "bench",
    "score",
    "doctor",
  ):  # bench measures compiling; the others compile nothing
    enable_compilation_cache(_WORKDIR.value)
  if _MODE.value == "predict":
    box = _numbers(_BOX.value)
    from fal_jax import predict

    directory = predict.run(_WORKDIR.value, _IMAGES.value, box)
    print(f"Landmarks and pictures are in {directory}")
    return 0
  if _MODE.value == "score":
    return _score(_WORKDIR.value)
  config = _config()
  command = shlex.join(["python", "-m", "fal_jax.main", *sys.argv[1:]])
  if _MODE.value == "eval":
    from fal_jax import evaluate

    for split, summary in evaluate.run(config, _WORKDIR.value).items():
      print(evaluate.table(split, summary))
    return 0
  if _MODE.value == "codec_report":
    from fal_jax.codec_report import report as codec_report

    for report in codec_report.run(config, _WORKDIR.value, _LANDMARKS.value, command=command):
      print(report)
    return 0
  if _MODE.value == "doctor":
    from fal_jax.doctor import run as doctor

    print(doctor.run(config, _WORKDIR.value, command=command))
    return 0
  if _MODE.value == "bench":
    sizes = _whole(_BATCH_SIZES.value)
    from fal_jax.bench import run as bench

    parts, rounds = _PARTS.value, _ROUNDS.value
    print(
      bench.run(
        config, _WORKDIR.value, command=command, parts=parts, rounds=rounds, batch_sizes=sizes
      )
    )
    return 0
  if _MODE.value == "import_torch":
    if not _WEIGHTS.value:
      raise InputError(
        "No --weights given: name the file with the PyTorch weights, e.g. --weights=2DFAN4.pth.tar."
      )
    from fal_jax import torch_import

    print(torch_import.run(config, _WORKDIR.value, _WEIGHTS.value))
    return 0
  from fal_jax import evaluate, train

  try:
    summaries = train.train_and_evaluate(config, _WORKDIR.value)
  except train.Diverged as error:
    print(error, file=sys.stderr)
    return 3
  except train.Interrupted as error:
    print(error, file=sys.stderr)
    return 75
  for split, summary in summaries.items():
    print(evaluate.table(split, summary))
  return 0


def enable_compilation_cache(workdir: str) -> None:
  """Lets JAX keep what it compiles in `.compiled` beside the workdir, so that only the first of
  several starts waits for it.

  Args:
    workdir: of the run. JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty; JAX
      reads it when it is imported.
  """
  if "://" not in workdir:
    os.environ.setdefault(
      "JAX_COMPILATION_CACHE_DIR", str(Path(workdir).expanduser().absolute().parent / ".compiled")
    )


def _whole(texts: list[str]) -> list[int]:
  """The numbers of --batch_sizes."""
  try:
    return [int(text) for text in texts]
  except ValueError:
    raise InputError(f"--batch_sizes must be whole numbers, got {','.join(texts)}.") from None


def _score(workdir: str) -> int:
  if not _PREDICTIONS.value:
    raise InputError(
      "No --predictions given: name a .csv, .json, .npz or .npy file of landmarks, e.g. --predictions=mine.csv."
    )
  from fal_jax import score
  from fal_jax.scoring import reports

  title, summary = score.run(
    workdir,
    _PREDICTIONS.value,
    truth=_TRUTH.value,
    config=_config() if _CONFIG.value is not None else None,
    num_landmarks=_MARKUP.value,
    origin=_ORIGIN.value,
    assume_order=_ORDER.value,
    map_98_to_68=_MAP.value,
  )
  print(reports.table(title, summary))
  print(f"As JSON, with the error of each face and pictures: {workdir}/score")
  return 0


def _config() -> ConfigDict:
  if not isinstance(_CONFIG.value, ConfigDict):
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    raise InputError(
      f"--config={path} is not a config that can be read: name one of the files in configs/."
    )
  return _CONFIG.value


def _numbers(texts: list[str] | None) -> list[float] | None:
  """The four numbers of --box; None if it is not given."""
  try:
    numbers = [float(text) for text in texts or []]
  except ValueError:
    numbers = []
  if texts and len(numbers) != 4:
    raise InputError(f"--box must be four numbers x0,y0,x1,y1, got {','.join(texts)}.")
  return numbers or None


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=flag_parser.parse)
