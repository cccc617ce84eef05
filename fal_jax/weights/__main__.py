"""python -m fal_jax.weights --workdir=runs/w300_68 --name=w300-68 [--folder=DIR] [--data=TEXT ...]

Packs the newest checkpoint of a run, and what was measured of it, as a network that comes with the
package: `<name>.safetensors` and its model card `<name>.json`. Texts that are not given are kept
from the card that is there. Exit codes are those of fal_jax.main.
"""

from collections.abc import Sequence

from absl import app, flags, logging

from fal_jax import flag_parser
from fal_jax.errors import InputError

_WORKDIR = flag_parser.WORKDIR
flags.declare_key_flag("workdir")  # for --help
_NAME = flags.DEFINE_string("name", None, "Of the network, e.g. w300-68.")
_FOLDER = flags.DEFINE_string("folder", None, "Where the two files go; default: the package's own.")
_TEXTS = {
  "summary": flags.DEFINE_string("summary", None, "Card: one line about the network."),
  "data": flags.DEFINE_string("data", None, "Card: what it was trained on."),
  "licence": flags.DEFINE_string("licence", None, "Card: on which terms it may be used."),
  "notice": flags.DEFINE_string(
    "notice", None, "Card: the line that is printed when it is used; empty: none."
  ),
  "limits": flags.DEFINE_string("limits", None, "Card: where it fails."),
  "command": flags.DEFINE_string("command", None, "Card: the command that trained it."),
}


def main(argv: Sequence[str]) -> int:
  """Packs the run that the flags name, and returns the exit code."""
  del argv  # nothing but flags
  return flag_parser.exit_code(_run)


def _run() -> None:
  if not _WORKDIR.value:
    raise InputError("No --workdir given: name the folder of the run, e.g. --workdir=runs/w300_68.")
  if not _NAME.value:
    raise InputError("No --name given: name the network, e.g. --name=w300-68.")
  texts = {name: flag.value for name, flag in _TEXTS.items() if flag.value is not None}

  from fal_jax.weights import pack, pretrained

  folder = _FOLDER.value or pretrained.FOLDER
  print(pack.run(_WORKDIR.value, _NAME.value, folder=folder, texts=texts))


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=flag_parser.parse)
