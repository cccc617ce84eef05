"""A trained run as a network that comes with the package: weights and model card."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from safetensors.numpy import save as to_safetensors

from fal_jax import build, config_json, restore
from fal_jax.errors import InputError
from fal_jax.output import seal
from fal_jax.output.folders import locate, write_atomic
from fal_jax.weights import card_texts, named

MAX_BYTES = 4_000_000
# What only a person knows; all but the notice must say something.
TEXTS = card_texts.NAMES


def run(workdir: str | Path, name: str, *, folder: str | Path, texts: Mapping[str, str]) -> str:
  """Writes `<name>.safetensors` and `<name>.json`.

  Args:
    workdir: the run's folder; its newest checkpoint is packed, with the numbers of `eval/*.json`.
    name: of the network.
    folder: where the files go.
    texts: those of `TEXTS` that are new; the others are kept from the card in the folder.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: there is no such run, its evaluation is absent or of something else, a text is
      missing, the file would be too large, or nothing can be written.
  """
  folder, workdir = Path(folder).expanduser(), locate(workdir)
  if not re.fullmatch(r"[\w-]+", name):
    raise InputError(f"--name={name} must be of letters, digits, - and _, such as w300-68.")
  if not folder.is_dir():
    raise InputError(f"There is no folder {folder}: create it, or leave --folder out.")
  path = folder / f"{name}.safetensors"
  texts = _complete(texts, path.with_suffix(".json"))

  config = restore.saved_config(workdir)
  variables, step = restore.restore_variables(build.setup(config), workdir)
  content = to_safetensors(arrays(variables))
  if len(content) > MAX_BYTES:
    raise InputError(
      f"The weights of {workdir} take {len(content) / 1e6:.1f} MB and a network of the package at "
      f"most {MAX_BYTES / 1e6:g} MB: train one with fewer --config.model.features."
    )

  evaluations = read_evaluations(workdir, config, step=step)
  card = {
    "name": name,
    **texts,
    "network": network(config, variables, num_bytes=len(content)),
    "training": f"seed {config.seed} alone, {step:,} steps of {config.train.batch_size} images",
    "step": step,
    "git_commit": _commits(evaluations),
    "measured": measured(evaluations),
    "results": {split: results(evaluation) for split, evaluation in evaluations.items()},
    "sha256": hashlib.sha256(content).hexdigest(),
    "config": config_json.to_json(without_folders(config)),
  }
  text = json.dumps(seal.sealed(card), indent=2, ensure_ascii=False) + "\n"
  try:
    # The card first: `pretrained` does not list one without weights, and refuses it beside others.
    write_atomic(path.with_suffix(".json"), text)
    write_atomic(path, content)
  except OSError as error:
    raise InputError(
      f"{path} cannot be written ({error.strerror or error}): name another --folder."
    ) from error
  return f"Wrote {path} ({len(content) / 1e6:.2f} MB) and its card, step {step} of {workdir}"


def arrays(variables: Any) -> dict[str, np.ndarray]:
  """The arrays of a file.

  Weights become float16, and lose a 2,000th at most. Running statistics, one number in a hundred,
  stay float32. In float16 a variance below 6e-5, of a channel that is silent on nearly all images,
  would be a subnormal number: at epsilon 1e-5 its channel's gain would be off by up to 0.15 %,
  others by 0.02 %. One above 65,504 would be infinite, and the channel lost.

  Args:
    variables: `params` and `batch_stats`.

  Returns:
    Name, such as "params/conv1/kernel" -> array (...,).

  Raises:
    InputError: a weight is too large for float16.
  """
  converted = {}
  for path, leaf in flatten_dict(variables).items():
    name, array = "/".join(path), np.asarray(leaf)
    if path[0] == "params":
      with np.errstate(over="ignore"):
        array = array.astype(np.float16)
    if not np.isfinite(array).all():
      raise InputError(f"{name} is not finite in float16: these weights cannot be packed.")
    converted[name] = array
  return converted


def read_evaluations(workdir: Path, config: ConfigDict, *, step: int) -> dict[str, dict[str, Any]]:
  """What was measured of a checkpoint, from `eval/`.

  Args:
    workdir: the run's folder.
    config: what the run was trained under.
    step: of the checkpoint.

  Returns:
    Name of the file below `eval/`, such as "val" -> its content.

  Raises:
    InputError: there is nothing, or something is of another step, crop or decoder.
  """
  again = f"evaluate it, e.g. python -m fal_jax.main --workdir={workdir} --mode=eval"
  found = {}
  for name, evaluation in evaluations(workdir).items():
    path = workdir / "eval" / f"{name}.json"
    if evaluation is None:
      raise InputError(f"{path} is damaged: {again}.")
    if problem := mismatch(evaluation, config, step=step):
      raise InputError(f"{path} {problem}: {again}, or move the file away.")
    found[name] = evaluation

  if not found:
    raise InputError(f"There is no evaluation in {workdir}/eval: {again}.")
  return found


def evaluations(workdir: Path) -> dict[str, dict[str, Any] | None]:
  """All that was measured of a run, whatever of it.

  Args:
    workdir: the run's folder.

  Returns:
    Name of the file below `eval/`, such as "val" -> its content; None of a damaged one.
  """
  found: dict[str, dict[str, Any] | None] = {}
  for path in _json_files(workdir / "eval"):
    name = path.relative_to(workdir / "eval").with_suffix("").as_posix()
    try:
      evaluation = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
      found[name] = None
      continue
    if "provenance" in evaluation:  # else it is not an evaluation
      found[name] = evaluation
  return found


def _json_files(folder: Path) -> list[Path]:
  """All in a folder and below it, sorted; paths in buckets have no rglob."""
  if not folder.is_dir():
    return []
  paths = sorted(folder.iterdir())
  below = [file for path in paths if path.is_dir() for file in _json_files(path)]
  return sorted([*(path for path in paths if path.suffix == ".json"), *below])


def mismatch(evaluation: Mapping[str, Any], config: ConfigDict, *, step: int) -> str:
  """Why an evaluation is not of a network.

  Args:
    evaluation: one of `evaluations`.
    config: what the network predicts under.
    step: of its checkpoint.

  Returns:
    "was measured with step 5 and the run has 12"; empty if it is of this network.
  """
  expected = {
    "step": step,
    "crop": config.crop.to_dict(),
    "codec": config.codec.to_dict(),
  }
  for key, value in expected.items():
    there = evaluation["provenance"][key]
    if there != value:
      return f"was measured with {key} {there} and the run has {value}"
  return ""


def without_folders(config: ConfigDict) -> ConfigDict:
  """The config without the places where data and other runs lay on the machine that trained it.

  Args:
    config: of the run; stays as it is.

  Returns:
    A copy for the card.
  """
  config = config_json.from_json(config_json.to_json(config))
  config.data.dir = None
  if config.init_from and config.init_from not in named.models():
    config.init_from = Path(config.init_from).name
  return config


def _complete(texts: Mapping[str, str], card: Path) -> dict[str, str]:
  """All texts of a card: the given ones, else those of the card that is there."""
  there = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
  known = {**there, **texts}
  for name in TEXTS:
    # Only a notice may say nothing.
    if not known.get(name, "") and not (name == "notice" and name in known):
      raise InputError(f"The card lacks its {name}: give --{name}=TEXT (--help says what it is).")
  return {name: known[name] for name in TEXTS}


def network(config: ConfigDict, variables: Any, *, num_bytes: int) -> str:
  """One line about a network: "fan: stacks 1, features 64, ...; 402,308 numbers, 0.84 MB".

  Args:
    config: what it was trained under.
    variables: `params` and `batch_stats`.
    num_bytes: size of the file.

  Returns:
    The line.
  """
  setup = build.setup(config)
  model, size = config.model, config.crop.size
  numbers = sum(np.size(leaf) for leaf in flatten_dict(variables).values())
  return (
    f"{model.name}: stacks {model.num_stacks}, features {model.features}, depth {model.depth}; "
    f"input {size} px, heatmaps {setup.codec.size} px; {numbers:,} numbers, "
    f"{num_bytes / 1e6:.2f} MB"
  )


def _commits(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
  """The commits of the code that measured: one, usually."""
  commits = [evaluation["provenance"]["git_commit"] for evaluation in evaluations.values()]
  return ", ".join(dict.fromkeys(commit or "unknown" for commit in commits))


def measured(evaluations: Mapping[str, Mapping[str, Any]], *, rounded: bool = True) -> str:
  """One line about how results were made.

  Args:
    evaluations: at least one, all by one decoder.
    rounded: whether the weights were rounded since.

  Returns:
    The line.
  """
  origin = next(iter(evaluations.values()))["provenance"]
  before = ", before they were rounded to float16" if rounded else ""
  return (
    f"percent, by the decoder {origin['codec']['decode']}; 95 % bootstrap intervals; of the run's "
    f"own weights{before}"
  )


def results(evaluation: Mapping[str, Any]) -> dict[str, Any]:
  """What a split is, its metrics with intervals, and the errors on other boxes and under stress.

  Args:
    evaluation: content of a file in `eval/`.

  Returns:
    A mapping ready for JSON.
  """
  numbers = {name: evaluation["provenance"][name] for name in ("dataset", "box")}
  numbers |= _rounded(evaluation)
  for name, bounds in evaluation.get("intervals", {}).items():
    if name.startswith("nme_"):
      numbers[f"{name}_interval"] = [round(bound, 3) for bound in bounds]

  for kind in ("boxes", "stress"):
    if kind in evaluation:
      numbers[kind] = {
        name: values and _rounded(values, starts=("nme_", "catastrophic_"))
        for name, values in evaluation[kind].items()
      }
  return numbers


def _rounded(values: Mapping[str, Any], *, starts: tuple[str, ...] = ("",)) -> dict[str, Any]:
  """The numbers whose names start like this."""
  return {
    name: round(value, 3)
    for name, value in values.items()
    if isinstance(value, int | float) and name.startswith(starts)
  }
