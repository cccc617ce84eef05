"""The network that is exported, and what is known of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fal_jax import build, flag_parser
from fal_jax.errors import join_names
from fal_jax.export.options import Options
from fal_jax.output import folders, seal
from fal_jax.output.commit import git_commit
from fal_jax.weights import named, pack
from fal_jax.weights.pretrained import Pretrained

# Of a description, not of the card within it.
_ABOUT = ("name", "summary", "licence", "notice")
# Rendered by our own builder: nobody's photograph or annotation.
_FREE_DATA = "synthetic_faces"
_OWN_DATA = "custom"


def load(options: Options) -> Pretrained:
  """Reads the network that the options name, from a shipped one, an export or a run.

  It computes in float32 wherever it is run, also where it was trained in bfloat16.

  Args:
    options: say which, and what its card is to say.

  Returns:
    The network; its card has name, summary, licence and notice, `origin`, and a `card` of all else
    that a person should know.

  Raises:
    InputError: there is no such network, or the results would go into the folder of its run.
  """
  model = named.find(options.weights)
  if model is None:
    model = _run(options)
  elif "card" not in model.card:
    model = _shipped(model)

  config = flag_parser.override(model.config, options.overrides)
  about = dict(model.card)
  card = dict(about["card"])
  trained = model.config.codec.to_dict()
  if others := [
    f"codec.{key}={value}" for key, value in config.codec.to_dict().items() if value != trained[key]
  ]:
    measured = card["measured"].rstrip(".")
    card["measured"] = f"{measured}. Exported with {' and '.join(others)}, not measured with it"
  if config.model.dtype != "float32":
    print("Note: the export computes in float32, whatever it was trained in", flush=True)
    config.model.dtype = "float32"

  texts = dict(options.texts)
  about |= {key: texts.pop(key) for key in _ABOUT if key in texts}
  about |= {"name": options.name or model.name, "card": {**card, **texts}}
  return Pretrained(about["name"], pack.without_folders(config), model.variables, about)


def _shipped(model: Pretrained) -> Pretrained:
  """A network that comes with the package, its card sorted as that of an export is."""
  card = {
    key: value
    for key, value in model.card.items()
    if key not in (*_ABOUT, "sha256", "config", seal.KEY)
  }
  about = {key: model.card[key] for key in _ABOUT}
  about |= {"origin": {"network": model.name, "sha256": model.card["sha256"]}, "card": card}
  return Pretrained(model.name, model.config, model.variables, about)


def _run(options: Options) -> Pretrained:
  """The newest checkpoint of a run."""
  from fal_jax import restore  # and with it orbax: here, since other networks do not need it

  workdir = named.run_folder(options.weights)
  config = restore.saved_config(workdir)
  restored, step = restore.restore_variables(build.setup(config), workdir)
  variables = jax.tree.map(np.asarray, jax.device_get(restored))

  name = folders.resolve(workdir).name
  evaluations, problems = _evaluations(workdir, config, step)
  for problem in problems:
    print(f"Note: not in the model card: {problem}", flush=True)
  num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
  card = {
    "data": _data(config),
    "limits": "not stated by who trained it",
    "command": "not stated by who trained it; `config` in export.json holds every setting",
    "network": pack.network(config, variables, num_bytes=num_bytes),
    "training": f"seed {config.seed} alone, {step:,} steps of {config.train.batch_size} images",
    "step": step,
    "git_commit": git_commit(),
    "measured": pack.measured(evaluations, rounded=False) if evaluations else "not measured",
    "results": {split: pack.results(evaluation) for split, evaluation in evaluations.items()},
  }
  about = {
    "name": name,
    "summary": f"{config.data.markup} landmarks, trained on {_data(config)}",
    **terms(config, name),
    "origin": {"run": name, "step": step},
    "card": card,
  }
  return Pretrained(name, config, variables, about)


def _evaluations(
  workdir: Path, config: ConfigDict, step: int
) -> tuple[dict[str, dict[str, Any]], list[str]]:
  """What was measured of just this network, and why other evaluations are left out."""
  found: dict[str, dict[str, Any]] = {}
  problems = []
  for name, evaluation in pack.evaluations(workdir).items():
    problem = "is damaged"
    if evaluation is not None:
      problem = pack.mismatch(evaluation, config, step=step)
    if problem or evaluation is None:
      problems.append(f"eval/{name}.json {problem}")
    else:
      found[name] = evaluation
  return found, problems


def _data(config: ConfigDict) -> str:
  """What a run was trained on, in words."""
  start = ""
  if config.init_from:
    start = f", from the weights of {Path(config.init_from).name}"
  return f"{join_names(_datasets(config))} (split {config.data.train_split}){start}"


def _datasets(config: ConfigDict) -> list[str]:
  """Names of all datasets that a run was trained on."""
  return list(dict.fromkeys([config.data.name, *(name for name, *_ in config.data.mix)]))


def terms(config: ConfigDict, name: str) -> Mapping[str, str]:
  """On which terms the weights of a run may be used, as far as its config tells.

  Annotations of every public dataset that the library prepares are licensed for research only, and
  networks that learnt from them inherit that. Rendered faces and a user's own carry no terms that
  the library knows of.

  Args:
    config: of the run.
    name: of the network.

  Returns:
    `licence` and `notice`, which is empty where nothing restricts the use.
  """
  datasets = _datasets(config)
  kinds = {each.partition("/")[0] for each in datasets}
  research = [each for each in datasets if each.partition("/")[0] not in (_FREE_DATA, _OWN_DATA)]
  start = named.find(config.init_from) if config.init_from else None
  notices = []
  if research:
    notices.append(f"has learnt from {join_names(research)}: research use only")
  if start is not None and start.notice:
    notices.append(f"started from {start.name}, of which is said: {start.notice}")
  if notices:
    licence = "research use only: its training data are not licensed for commercial use"
    return {"licence": licence, "notice": f"{name} {'; it '.join(notices).rstrip('.')}."}

  if config.init_from and start is None:
    where = f"it started from {Path(config.init_from).name}, whose terms hold for it, too"
  elif kinds == {_FREE_DATA}:
    where = "it was trained on rendered faces alone, which carry no third party's terms"
  else:
    where = "those of the data that it was trained on hold for it"
  return {"licence": f"not stated by who trained it; {where}", "notice": ""}
