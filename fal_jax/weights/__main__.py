"""python -m fal_jax.weights --workdir=runs/w300_68 --name=w300-68 [--folder=DIR] [--data=TEXT ...]

Packs the newest checkpoint of a run, and what was measured of it, as a network that comes with the
package: `<name>.safetensors` and its model card `<name>.json`. Texts that are not given are kept
from the card that is there. Exit codes are those of fal_jax.main.
"""

if __name__ == "__main__":  # the imports below take a second, in which Ctrl-C may come
  from fal_jax.errors import end_quietly

  end_quietly()

from collections.abc import Sequence

from absl import app, flags, logging

from fal_jax import flag_parser
from fal_jax.errors import InputError
from fal_jax.weights import card_texts

_WORKDIR = flag_parser.WORKDIR
flags.declare_key_flag("workdir")  # for --help
_FOLDER = flags.DEFINE_string("folder", None, "Where the two files go; default: the package's own.")
flags.adopt_module_key_flags(card_texts)


def main(argv: Sequence[str]) -> int:
  """Packs the run that the flags name, and returns the exit code."""
  del argv  # nothing but flags
  return flag_parser.exit_code(_run)


def _run() -> None:
  if not _WORKDIR.value:
    raise InputError("No --workdir given: name the folder of the run, e.g. --workdir=runs/w300_68.")
  name = card_texts.NAME.value
  if not name:
    raise InputError("No --name given: name the network, e.g. --name=w300-68.")

  from fal_jax.weights import pack, pretrained

  folder = _FOLDER.value or pretrained.FOLDER
  print(pack.run(_WORKDIR.value, name, folder=folder, texts=card_texts.given()))


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=flag_parser.parse)
