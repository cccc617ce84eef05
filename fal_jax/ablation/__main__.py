"""python -m fal_jax.ablation --table=TABLE[:BASE] [--workdir=DIR] [--seeds=N] [--config.KEY=VALUE]

Trains and evaluates the rows of a table over seeds, on top of the config in configs/ that follows
the colon, e.g. --table=configs/ablations/table2.py:demo; a key given as in --config.data.dir=data
is set in all rows. DIR is runs/<table> by default. Started again, it does what is missing. Exit
codes are those of fal_jax.main.
"""

if __name__ == "__main__":  # the imports below take a second, in which Ctrl-C may come
  from fal_jax.errors import end_quietly

  end_quietly()

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fal_jax import config_json, flag_parser
from fal_jax.errors import InputError

if TYPE_CHECKING:
  from fal_jax.ablation.run import Row

_TABLE = config_flags.DEFINE_config_file(
  "table",
  None,
  "Table config, optionally followed by :base, e.g. configs/ablations/table2.py:demo.",
)
_WORKDIR = flag_parser.WORKDIR
flags.declare_key_flag("workdir")  # for --help
_SEEDS = flags.DEFINE_integer(
  "seeds", 3, "How many seeds, from config.seed upwards.", lower_bound=1
)


def main(argv: Sequence[str]) -> int:
  return flag_parser.exit_code(lambda: _run(argv[1:]))


def _run(overrides: Sequence[str]) -> None:
  if _WORKDIR.value == "":
    raise InputError(
      "No --workdir given: name the folder of the ablation, e.g. --workdir=runs/ablation."
    )
  if _TABLE.value is None:
    raise InputError(
      "No --table given: name one of those in configs/ablations/, e.g. "
      "--table=configs/ablations/table2.py:demo."
    )

  path = config_flags.get_config_filename(flags.FLAGS["table"]).split(":")[0]
  if not isinstance(_TABLE.value, ConfigDict) or "rows" not in _TABLE.value:
    raise InputError(f"--table={path} is not a table: name one of those in configs/ablations/.")
  command = shlex.join(["python", "-m", "fal_jax.ablation", *sys.argv[1:]])
  rows = read_rows(_TABLE.value, Path(path).parent, overrides)
  workdir = _WORKDIR.value or flag_parser.default_workdir(path)

  from fal_jax.ablation import run as ablation

  lines = ablation.run(
    _TABLE.value, rows, workdir, name=Path(path).stem, seeds=_SEEDS.value, command=command
  )
  for line in lines:
    print(line, flush=True)


def read_rows(table: ConfigDict, folder: Path, overrides: Sequence[str]) -> list["Row"]:
  """Loads the configs of a table's rows as the command line of `fal_jax.main` would.

  Args:
    table: its `rows` name files in the folder, their labels and the paper's results; its `base` is
      given to each.
    folder: where the files are.
    overrides: --config.x.y=z, for all rows.

  Returns:
    The rows in the order of the table.

  Raises:
    InputError: the table or a config is wrong, or an override would make rows equal.
  """
  from fal_jax.ablation.run import Row

  if not table.rows or any(len(row) != 3 for row in table.rows):
    raise InputError(
      "The table's `rows` must be a non-empty list of (file, label, the paper's number or None)."
    )

  files = [folder / f"{name}.py" for name, _, _ in table.rows]
  plain = [_load(file, table.base, []).to_dict() for file in files]
  varied = {key for config in plain for key in config_json.differences(plain[0], config)}
  keys = {override: override.removeprefix("--config.").split("=")[0] for override in overrides}
  if taken := [override for override, key in keys.items() if key in varied]:
    raise InputError(
      f"{' '.join(taken)} would erase the difference between rows of the table: leave it out."
    )

  return [
    Row(name, label, paper, _load(file, table.base, overrides))
    for file, (name, label, paper) in zip(files, table.rows, strict=True)
  ]


def _load(file: Path, base: str, overrides: Sequence[str]) -> ConfigDict:
  """The config of one row on top of a base."""
  argv = ["ablation", f"--config={file}:{base}", *overrides]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  flag_parser.read(values, argv)
  if not isinstance(values.config, ConfigDict):
    raise InputError(f"{file}, a row of the table, is not a config that can be read.")
  return values.config


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses the flags of this program; those of the rows' configs are handed on to `main`."""
  overrides = [argument for argument in argv if argument.startswith("--config.")]
  own = [argument for argument in argv if argument not in overrides]
  return [*flag_parser.parse(own), *overrides]


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=_parse)
