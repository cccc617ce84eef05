"""--mode=doctor: looks at a prepared dataset and says, on one page, what is wrong or odd in it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fal_jax import build, data
from fal_jax.doctor import page, sheets
from fal_jax.doctor.examine import examine
from fal_jax.doctor.findings import Finding, severity_counts
from fal_jax.doctor.splits import read_split
from fal_jax.errors import InputError
from fal_jax.output.folders import make_dir
from fal_jax.sampling import shares

_ARRAYS = ("heat", "distances")  # of the report, for the page alone


def run(config: ConfigDict, workdir: str | Path, *, command: str) -> str:
  """Writes `doctor/<dataset>.html` and `.json`.

  Args:
    config: names the dataset and its mark-up; gives crop, codec, and which splits train and test.
    workdir: the folder to write to.
    command: the command line that makes the page again.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: the dataset is absent, damaged or of another mark-up, or nothing can be written.
  """
  if not config.data.name:
    raise InputError(
      "config.data.name is empty: name a prepared dataset, e.g. --config.data.name=wflw."
    )
  # Built only so that mistakes in them come up before anything is read.
  build.crop_rule(config)
  build.codec(config)
  shares.check(config.data.mix)
  markup = build.markup(config)

  where = {"data_dir": config.data.dir, "num_landmarks": markup.num}
  builder = data.open_dataset(config.data.name, **where)
  names = [name for name, split in builder.info.splits.items() if split.num_examples]
  sources = {name: data.open_split(config.data.name, name, **where) for name in names}
  if not sources:
    raise InputError(f"The dataset {config.data.name!r} holds no image: prepare it again.")
  directory = make_dir(workdir, "doctor")

  splits = {name: read_split(source, title=name) for name, source in sources.items()}
  metadata = dict(builder.info.metadata or {})
  numbers, findings, flags = examine(splits, config, metadata=metadata)
  report = {"dataset": builder.info.full_name, "command": command, **numbers}

  path = directory / f"{config.data.name.replace('/', '_').replace(':', '_')}.html"
  written = {key: value for key, value in report.items() if key not in _ARRAYS}
  written["findings"] = [dataclasses.asdict(finding) for finding in findings]
  path.with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

  shown = page.largest(report)
  tiles = sheets.draw(
    splits, sources, markup, distances=report["distances"], flags=flags, shown=shown
  )
  path.write_text(page.render(report, findings, tiles, markup), encoding="utf-8")
  return f"{summarise(report, findings)}\nPage: {path}"


def summarise(report: Mapping[str, Any], findings: Sequence[Finding]) -> str:
  """Counts and findings for the screen.

  Args:
    report: `dataset`, and `splits` with their number of faces, see `examine`.
    findings: worst first.

  Returns:
    Lines: the faces of each split, one line per finding, and how many of each severity.
  """
  sizes = ", ".join(f"{name} {row['faces']:,}" for name, row in report["splits"].items())
  lines = [f"{report['dataset']}: {sizes} faces"]

  for finding in findings:
    counts = ", ".join(f"{split} {len(ids):,}" for split, ids in finding.faces.items())
    affected = f" ({counts})" if counts else ""
    lines.append(f"  {finding.severity:<8} {finding.title}{affected}")

  lines.append(severity_counts(findings, zeros=True))
  return "\n".join(lines)
