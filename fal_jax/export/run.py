"""--mode=export: a trained network as a folder of files that other programs run."""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fal_jax import build
from fal_jax.build import Setup
from fal_jax.errors import InputError
from fal_jax.export import arrays, card, describe, folder, source, stablehlo, verify
from fal_jax.export.options import FORMATS, Options
from fal_jax.output import seal
from fal_jax.weights import exported, named
from fal_jax.weights.pretrained import Pretrained

_CONSUMERS = Path(__file__).parent / "consumers"


def run(options: Options) -> str:
  """Exports a network, and compares what was written with the library.

  Args:
    options: which network, and where to.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: there is no such network, nothing can be written there, a package is missing, or a
      file does not compute what the library does.
  """
  if options.out is not None:
    folder.check(options.out, weights=options.weights)
    _check_onnx(options)
  model = source.load(options)
  if model.notice:
    print(model.notice, flush=True)
  setup = build.setup(model.config)

  lines = []
  if options.out is not None:
    check = functools.partial(folder.check, options.out, weights=options.weights)
    with folder.replaced(options.out, check=check) as unfinished:
      found = _write(unfinished, model, setup, options.formats)
    lines += _summary(options.out, found)
  if options.web is not None:
    from fal_jax.export import runtime, web

    cdn = runtime.CDN if options.web_cdn else None
    lines.append(web.write(model, options.web, detector_name=options.web_detector, cdn=cdn))
  return "\n".join(lines)


def _check_onnx(options: Options) -> None:
  """Refuses at once what would fail after a minute."""
  if "onnx" in options.formats and importlib.util.find_spec("onnx") is None:
    others = ",".join(name for name in options.formats if name != "onnx")
    without = f", or leave it out with --formats={others}" if others else ""
    raise InputError(
      "model.onnx needs the package onnx, so nothing was exported: "
      f"pip install 'fal_jax[export]'{without}."
    )


def _write(
  directory: Path, model: Pretrained, setup: Setup, formats: tuple[str, ...]
) -> dict[str, str]:
  """Writes all files, and returns what the comparison found of each."""
  models: Mapping[str, Callable[[], bytes]] = {
    "stablehlo": lambda: stablehlo.write(setup, model.variables),
    "onnx": lambda: _onnx(model, setup),
    "safetensors": lambda: arrays.write(model.variables),
  }
  for name in formats:
    (directory / f"model.{name}").write_bytes(models[name]())
    (directory / f"use_{name}.py").write_bytes((_CONSUMERS / f"use_{name}.py").read_bytes())
  found = verify.differences(setup, model.variables, directory)

  names: dict[str, dict[str, Any]] = {f"model.{name}": {} for name in formats}
  about = describe.describe(model, setup, files=names)
  (directory / "README.md").write_text(card.write(about), encoding="utf-8")
  (directory / "LICENSE").write_text(card.licence_file(about), encoding="utf-8")

  about["files"] = {path.name: _fingerprint(path) for path in sorted(directory.iterdir())}
  text = json.dumps(seal.sealed(about), indent=2, ensure_ascii=False)
  (directory / exported.DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
  if "safetensors" in formats:
    exported.load(directory)  # as its reader will
  return found


def _onnx(model: Pretrained, setup: Setup) -> bytes:
  """Content of model.onnx."""
  from fal_jax.export import onnx_model  # needs the package onnx

  licence = " ".join(filter(None, (model.card["licence"], model.notice)))
  proto = onnx_model.write(setup, model.variables, name=model.name, licence=licence)
  return proto.SerializeToString()


def _fingerprint(path: Path) -> dict[str, Any]:
  """What export.json says of a file."""
  content = path.read_bytes()
  return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _summary(out: Path, found: Mapping[str, str]) -> list[str]:
  """Lines about what was written, how it compares, and how to use it."""
  lines = [f"Exported to {out}:"]
  for name in (f"model.{name}" for name in FORMATS):
    if (out / name).is_file():
      size = f"{(out / name).stat().st_size / 1e6:.2f} MB"
      lines.append(f"  {name}: {size}, {found.get(name, 'read back')}")
  if (out / exported.WEIGHTS).is_file():
    is_named = out.resolve().parent == named.folder().resolve()
    use = f'from_pretrained("{out.name}")' if is_named else f'from_exported("{out}")'
    lines.append(f"In Python: FaceAligner.{use}; README.md in it says how to use each file")
  return lines
