"""python -m fal_jax.main --config=configs/wflw.py [--workdir=runs/wflw] [--mode=MODE]

Flags and modes, nothing else. Exit codes: 0 finished, 2 the user's mistake, 3 diverged,
75 interrupted and saved.
"""

if __name__ == "__main__":  # the imports below take a second, in which Ctrl-C may come
  from fal_jax.errors import end_quietly

  end_quietly()

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fal_jax import flag_parser
from fal_jax.distributed import processes
from fal_jax.errors import InputError, end_quietly
from fal_jax.export import options as export_options
from fal_jax.output import compiled
from fal_jax.photos import options as photo_options

MODES = (
  "train",
  "eval",
  "predict",
  "score",
  "codec_report",
  "network_report",
  "doctor",
  "bench",
  "import_torch",
  "export",
)
# Modes that take the config which their run has saved, unless one is given; flags override it.
MODES_OF_A_RUN = ("eval", "network_report")
# predict always takes it; score needs one only for a dataset.
MODES_WITHOUT_CONFIG = ("predict", "score", "export", *MODES_OF_A_RUN)
# bench measures compiling; the others do not compile.
MODES_WITHOUT_COMPILATION = ("bench", "score", "doctor")
# Modes that a config is enough for: without a --workdir they write to runs/<config>.
MODES_OF_A_CONFIG = ("train", *MODES_OF_A_RUN, "codec_report", "doctor", "bench")

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config of the run, e.g. configs/wflw.py; set keys by --config.x.y=z."
)
_WORKDIR = flag_parser.WORKDIR
# For --help:
flags.declare_key_flag("workdir")
flags.declare_key_flag("debug")
flags.adopt_module_key_flags(photo_options)
flags.adopt_module_key_flags(export_options)
flags.adopt_module_key_flags(processes)
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  MODES,
  "train evaluates at its end; predict, score and export need no --config, eval and "
  "network_report take the run's own.",
)
_ALLOW_CHANGED = flags.DEFINE_list(
  "allow_changed",
  [],
  "train: keys such as train.batch_size that may differ from what a run was started with, and are "
  "then changed from its newest checkpoint on.",
)
_LANDMARKS = flags.DEFINE_string(
  "landmarks",
  None,
  "codec_report: .npz, .csv or .json of landmarks, image px, instead of a dataset.",
)
_VIEWS = flags.DEFINE_integer(
  "views",
  None,
  "network_report: random views per face whose landmarks are compared, default 8, 0: none; "
  "predict: looks at each face, whose mean is taken, default 1.",
  lower_bound=0,
)
_WEIGHTS = flags.DEFINE_string(
  "weights",
  None,
  "predict: a network that comes with fal_jax, free-68 (default) or w300-68, one of your own that "
  "has a name (README of fal_jax/export), or the folder of an export or a run; export: the same; "
  "eval, network_report: a network that has a name or an export, instead of the run's; "
  "import_torch: file with a PyTorch FAN's state dict, e.g. 2DFAN4.pth.tar.",
)
_HEATMAPS = flags.DEFINE_list(
  "heatmaps",
  [],
  "predict: landmarks, by number from 0 or name, whose heatmaps are drawn for each face of a "
  "photograph; network_report: these pictures of one face of the first split alone.",
)
_FACE = flags.DEFINE_string(
  "face", None, "network_report: id of the face that --heatmaps are of; default: the first."
)
_RUNS = flags.DEFINE_list(
  "runs",
  [],
  "network_report: LABEL=WORKDIR,...; the error and the agreement of views at every checkpoint of "
  "these runs, in one figure, instead of the tables; with --parts=robustness LABEL=FILE,... of "
  "<split>_robustness.json.",
)
_PARTS = flags.DEFINE_list(
  "parts",
  [],
  "bench: e.g. forward,step (default: all that apply); network_report: robustness,calibration.",
)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "bench: number of rounds.", lower_bound=1)
_BATCH_SIZES = flags.DEFINE_list(
  "batch_sizes", [], "bench: images per step; the first is that of the tables."
)
_PREDICTIONS = flags.DEFINE_list(
  "predictions",
  [],
  "score: .csv, .json, .npz or .npy of landmarks, original-image px; several, each FILE or "
  "LABEL=FILE, are compared with the first.",
)
_TRUTH = flags.DEFINE_string(
  "truth", None, "score: such a file of annotated landmarks, instead of --config of a dataset."
)
_MARKUP = flags.DEFINE_integer(
  "markup", None, "score: number of landmarks that --truth must have; default: as many as it has."
)
_MARKUP_FILE = flags.DEFINE_string(
  "markup_file",
  None,
  "score: markup.yaml that describes --truth (tfds_builders/custom/README.md); default: the "
  "mark-up of ours with as many landmarks, if there is one.",
)
_ORIGIN = flags.DEFINE_integer(
  "origin",
  0,
  "score: index of the first pixel (0 or 1) in --predictions.",
  lower_bound=0,
  upper_bound=1,
)
_ORDER = flags.DEFINE_bool("assume_order", False, "score: match faces by order if ids are missing.")
_MAP = flags.DEFINE_bool("map_98_to_68", False, "score: convert WFLW-98 predictions to 300W-68.")
_INNER = flags.DEFINE_bool(
  "map_68_to_51", False, "score: compare the 51 inner points alone, of all files that have 68."
)
_MISSING = flags.DEFINE_enum(
  "missing",
  "error",
  ["error", "failure"],
  "score: what a face without a prediction is; failure: an infinite error to areas and failure "
  "rates, while nme is over the faces that were found.",
)
_THRESHOLDS = flags.DEFINE_list(
  "thresholds",
  [],
  "score: percents at which areas and failure rates are taken, e.g. 7,8,10; default: those of the "
  "protocol.",
)
_BASELINE = flags.DEFINE_bool(
  "baseline", False, "score: beside the predictions, the mean shape in each face's annotated box."
)


def main(argv: Sequence[str]) -> int:
  """Runs the mode that the flags ask for, and returns the exit code."""
  overrides = argv[1:]  # of the saved config, where no --config was given
  return processes.exit_code(_MODE.value, lambda: _run(overrides))


def _run(overrides: Sequence[str]) -> None:
  """Runs the mode; every heavy import waits until it is known which one."""
  mode = _MODE.value
  # Overrides are of a config; without one, these modes alone apply them, to the run's own.
  applies = mode == "export" or mode in MODES_OF_A_RUN
  needs_config = mode not in MODES_WITHOUT_CONFIG or (overrides and not applies)
  if needs_config and _CONFIG.value is None:
    if photo_options.IMAGES.value:
      raise InputError("--images are for --mode=predict: add it to the command.")
    raise InputError(
      "No --config given: name one of the files in configs/, e.g. --config=configs/demo.py; for "
      "landmarks on a photograph --mode=predict --images=photo.jpg."
    )
  workdir = _WORKDIR.value or "" if mode in ("predict", "export") else _workdir(mode)
  if mode not in MODES_WITHOUT_COMPILATION:
    compiled.keep(workdir)
  command = shlex.join(["python", "-m", "fal_jax.main", *sys.argv[1:]])

  match mode:
    case "train":
      from fal_jax import train
      from fal_jax.scoring import reports

      changed = _ALLOW_CHANGED.value
      reports.show(train.train_and_evaluate(_config(), workdir, allow_changed=changed))

    case "eval":
      from fal_jax import evaluate
      from fal_jax.scoring import reports

      config = None if _CONFIG.value is None else _config()
      summaries = evaluate.run(
        config,
        workdir,
        weights=_WEIGHTS.value,
        overrides=overrides,
        directory=photo_options.OUT.value,
      )
      reports.show(summaries)

    case "predict":
      if _CONFIG.value is not None:
        print("Note: --config is not used, a network is run under the config of its training.")
      options = photo_options.read(
        weights=_WEIGHTS.value,
        workdir=_WORKDIR.value,
        views=_VIEWS.value,
        heatmaps=_HEATMAPS.value,
      )
      from fal_jax.photos import run as photos

      photos.run(options, command=command)

    case "score":
      _score(workdir)

    case "codec_report":
      from fal_jax.codec_report import report

      for table in report.run(_config(), workdir, _LANDMARKS.value, command=command):
        print(table)

    case "network_report":
      config = None if _CONFIG.value is None else _config()
      for text in _network_report(config, workdir, overrides=overrides, command=command):
        print(text)

    case "doctor":
      from fal_jax.doctor import run as doctor

      print(doctor.run(_config(), workdir, command=command))

    case "bench":
      batch_sizes = _parse_ints(_BATCH_SIZES.value)
      from fal_jax.bench import run as bench

      print(
        bench.run(
          _config(),
          workdir,
          command=command,
          parts=_PARTS.value,
          rounds=_ROUNDS.value,
          batch_sizes=batch_sizes,
        )
      )

    case "import_torch":
      if not _WEIGHTS.value:
        raise InputError(
          "No --weights given: name the file with the PyTorch weights, "
          "e.g. --weights=2DFAN4.pth.tar."
        )
      from fal_jax.torch_import import outline

      outline.check(_WEIGHTS.value)  # what is refused does not wait for JAX's import
      from fal_jax.torch_import import run as torch_import

      print(torch_import.run(_config(), workdir, _WEIGHTS.value))

    case "export":
      if _CONFIG.value is not None:
        print("Note: --config is not used, a network is exported with the config of its training.")
      wanted = export_options.read(
        weights=_WEIGHTS.value,
        workdir=_WORKDIR.value,
        out=photo_options.OUT.value,
        decode=photo_options.DECODE.value,
        detector=photo_options.DETECTOR.value,
        overrides=tuple(overrides),
      )
      from fal_jax.export import run as export

      print(export.run(wanted))


def _network_report(
  config: ConfigDict | None, workdir: str, *, overrides: Sequence[str], command: str
) -> Iterator[str]:
  """The tables of a run, the heatmaps of a face, or the curves of several runs."""
  if _FACE.value and not _HEATMAPS.value:
    raise InputError(
      f"--face={_FACE.value} is the face whose --heatmaps are drawn: name landmarks as well, e.g. "
      "--heatmaps=36, or leave it out."
    )
  if _RUNS.value and (_WEIGHTS.value or _HEATMAPS.value):
    other = "--weights" if _WEIGHTS.value else "--heatmaps"
    raise InputError(
      f"--runs and {other} are two reports: --runs measures the checkpoints of the runs that it "
      "names. Leave one of them out."
    )
  if _PARTS.value and _HEATMAPS.value:
    raise InputError("--parts and --heatmaps are two reports: leave one of them out.")

  options: dict[str, Any] = {"overrides": overrides, "command": command}
  if _RUNS.value or _PARTS.value:
    from fal_jax.network_report import learning, parts

    runs, views = learning.parse(_RUNS.value), 4 if _VIEWS.value is None else _VIEWS.value
    if not _PARTS.value:
      return learning.run(config, workdir, runs, views=views, **options)
    options["weights"] = _WEIGHTS.value
    return parts.run(config, workdir, _PARTS.value, runs=runs, views=views, **options)

  options["weights"] = _WEIGHTS.value
  if _HEATMAPS.value:
    from fal_jax.network_report import pictures

    return pictures.run(config, workdir, _HEATMAPS.value, face=_FACE.value, **options)

  from fal_jax.network_report import run as network_report

  views = 8 if _VIEWS.value is None else _VIEWS.value
  return network_report.run(config, workdir, views=views, **options)


def _workdir(mode: str) -> str:
  """The folder that --workdir names, or the one that goes with --config."""
  has_default = mode in MODES_OF_A_CONFIG and _CONFIG.value is not None
  if _WORKDIR.value is None and has_default:
    _config()  # an unreadable config is not announced as a run
    return flag_parser.default_workdir(config_flags.get_config_filename(flags.FLAGS["config"]))
  if _WORKDIR.value is None and mode in MODES_OF_A_RUN and _WEIGHTS.value:
    return f"runs/{Path(_WEIGHTS.value).name}"
  if not _WORKDIR.value:
    raise InputError("No --workdir given: name the folder of the run, e.g. --workdir=runs/demo.")
  return _WORKDIR.value


def _score(workdir: str) -> None:
  if not _PREDICTIONS.value:
    raise InputError(
      "No --predictions given: name a .csv, .json, .npz or .npy file of landmarks, "
      "e.g. --predictions=mine.csv."
    )
  from fal_jax import score
  from fal_jax.scoring import reports

  files = score.label_files(_PREDICTIONS.value)
  thresholds = score.parse_thresholds(_THRESHOLDS.value)
  options = score.Options(
    truth=_TRUTH.value,
    config=None if _CONFIG.value is None else _config(),
    num_landmarks=_MARKUP.value,
    markup_file=_MARKUP_FILE.value,
    origin=_ORIGIN.value,
    assume_order=_ORDER.value,
    map_98_to_68=_MAP.value,
    map_68_to_51=_INNER.value,
    missing=_MISSING.value,
  )
  if len(files) > 1 or _BASELINE.value:
    baseline = _BASELINE.value
    print(score.compare(workdir, files, options, thresholds=thresholds, baseline=baseline))
  else:
    ((name, path),) = files.items()
    title, summary = score.run(workdir, path, options, name=name, thresholds=thresholds)
    print(reports.table(title, summary))
  print(f"As JSON, with the error of each face and figures: {workdir}/score")


def _config() -> ConfigDict:
  if not isinstance(_CONFIG.value, ConfigDict):
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    raise InputError(
      f"--config={path} is not a config that can be read: name one of the files in configs/."
    )
  return _CONFIG.value


def _parse_ints(texts: list[str]) -> list[int]:
  """The whole numbers of --batch_sizes."""
  try:
    return [int(text) for text in texts]
  except ValueError:
    raise InputError(f"--batch_sizes must be whole numbers, got {','.join(texts)}.") from None


def cli() -> None:
  """The console script `fal_jax`: `main`, with the flags of --help and the exit code."""
  end_quietly()
  logging.set_verbosity(logging.WARNING)
  for flag in flags.FLAGS.get_key_flags_for_module(sys.modules[__name__]):
    # --help lists the key flags of the program, which is the script.
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  app.run(main, flags_parser=flag_parser.parse_with_overrides)


if __name__ == "__main__":
  cli()
