"""The flags of --mode=export, and what they say together.

Nothing heavy is imported here: a mistake in a flag is answered at once.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from absl import flags

from fal_jax.errors import InputError, join_names
from fal_jax.output import folders
from fal_jax.weights import card_texts

# Each is a file of its own; the description, the model card and the programs that use them come
# along with any of them.
FORMATS = ("stablehlo", "onnx", "safetensors")

_FORMATS = flags.DEFINE_list(
  "formats", list(FORMATS), "export: which of stablehlo, onnx and safetensors are written."
)
_WEB = flags.DEFINE_string(
  "web", None, "export: folder for a web page that runs the network in the browser."
)
_WEB_CDN = flags.DEFINE_bool(
  "web_cdn",
  False,
  "export: the page loads onnxruntime-web from a CDN, checked by its hashes, not from its folder.",
)
flags.adopt_module_key_flags(card_texts)


@dataclasses.dataclass(frozen=True)
class Options:
  """What is to be exported, and where to.

  Attributes:
    weights: a network that has a name, or the folder of an export or a run.
    out: folder for the export; None for none, where only the page is wanted.
    web: folder for the page; None for none.
    web_cdn: whether the page loads onnxruntime-web from a CDN.
    web_detector: the page's face detector, see `web.write`.
    formats: those of `FORMATS` that are written.
    name: what the network is to be called; by default as now, or as the folder of its run.
    texts: of the model card, see `card_texts`.
    overrides: flags of the form --config.codec.x=y.
  """

  weights: str
  out: Path | None
  web: Path | None = None
  web_cdn: bool = False
  web_detector: str | None = None
  formats: tuple[str, ...] = FORMATS
  name: str | None = None
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  overrides: tuple[str, ...] = ()


def read(
  *,
  weights: str | None,
  workdir: str | None,
  out: str | None,
  decode: str | None,
  detector: str | None = None,
  overrides: tuple[str, ...] = (),
) -> Options:
  """The options that the flags ask for.

  Args:
    weights: --weights.
    workdir: --workdir, another way to name the run whose network is exported.
    out: --out.
    decode: --decode, short for --config.codec.decode.
    detector: --detector, of the page.
    overrides: flags of the form --config.x.y=z.

  Returns:
    Options that do not contradict each other.

  Raises:
    InputError: they do, or a flag is missing or cannot be understood.
  """
  if weights and workdir:
    raise InputError(
      f"--weights={weights} and --workdir={workdir} both name the network: give one of them, and "
      "--out for where the export goes."
    )
  if not (weights or workdir):
    raise InputError(
      "No network named: give --weights=NAME (free-68, w300-68) or the folder of a run, e.g. "
      "--weights=runs/w300."
    )
  if not (out or _WEB.value):
    raise InputError(
      "No --out given: name a folder for the export, e.g. --out=exported (and --web=DIR for the "
      "page)."
    )
  if out and _WEB.value and _folder(_WEB.value).is_relative_to(_folder(out)):
    raise InputError(
      f"--web={_WEB.value} lies in --out={out}, which an export has for itself: name a folder "
      "beside it."
    )

  fixed = [flag for flag in overrides if not flag.startswith("--config.codec.")]
  if fixed:
    raise InputError(
      f"{join_names(fixed)} cannot be changed for an export, the weights were trained with it: "
      "only --config.codec.* can."
    )
  formats = tuple(dict.fromkeys(_FORMATS.value))
  unknown = [name for name in formats if name not in FORMATS]
  if unknown or not formats:
    raise InputError(f"--formats={','.join(formats)}: choose from {','.join(FORMATS)}.")

  return Options(
    # A run's folder may have the name of a network, which --workdir does not mean.
    weights=weights or str(folders.resolve(workdir or "")),
    out=folders.local(out, flag="--out") if out else None,
    web=folders.local(_WEB.value, flag="--web") if _WEB.value else None,
    web_cdn=_WEB_CDN.value,
    web_detector=detector,
    formats=tuple(name for name in FORMATS if name in formats),
    name=card_texts.NAME.value,
    texts=card_texts.given(),
    overrides=(*overrides, *([f"--config.codec.decode={decode}"] if decode else [])),
  )


def _folder(text: str) -> Path:
  return Path(text).expanduser().resolve()
