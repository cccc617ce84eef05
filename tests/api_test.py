"""Manners of the public functions: how arguments are ordered and named, what docstrings say.

Of the paper, the run and the rooms; the wings are entered by `main` alone and are free.
"""

import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "fal_jax"
WINGS = {"codec_report", "network_report", "doctor", "bench", "ablation", "photos"}

# Parameters with a default that may be given by position: these signatures are public promises.
POSITIONAL_DEFAULTS = {
  "metrics.norms": {"box"},
  "output.folders.make_dir": {"name"},
}

ARRAY = re.compile(r"\b(Array|ndarray)\b")
AXIS = r"(?:\.\.\.|[A-Z][a-z]?'?|\d{1,3})"
LATER_AXIS = rf"(?:{AXIS}|[a-z_]+(?:\[\d\])?)(?: [/*+-] \w+)?"
SHAPE = re.compile(
  rf"\({AXIS}(?: [/*+-] \w+)?(?:, {LATER_AXIS})*,?\)"  # (B, K, 2), (..., 2, 3), (N,), (B, H / 4)
  rf"|\((?:[a-z_]+(?:\[\d\])?, )+{AXIS}(?:, {AXIS})*\)"  # (size, size, 3), (h, w, C, F)
  r"|\(\)|\b[Ss]calars?\b"
)


def public_functions() -> Iterator[tuple[str, Callable]]:
  """Functions and methods of public classes, defined in the modules and not imported into them."""
  for path in sorted(PACKAGE.rglob("*.py")):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] in WINGS or parts[-1] == "__init__":
      continue

    module = importlib.import_module(".".join(("fal_jax", *parts)))

    for name, member in vars(module).items():
      if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
        continue

      prefix = ".".join((*parts, name))
      if inspect.isclass(member):
        for method, function in public_methods(member):
          yield f"{prefix}.{method}", function
      elif callable(member) and hasattr(inspect.unwrap(member), "__code__"):
        yield prefix, inspect.unwrap(member)


def public_methods(cls: type) -> Iterator[tuple[str, Callable]]:
  """Those written in the class, not what a decorator such as `dataclass` adds."""
  for name, member in vars(cls).items():
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if (name.startswith("_") and name != "__call__") or not callable(function):
      continue

    function = inspect.unwrap(function)
    if inspect.isfunction(function) and function.__module__ == cls.__module__ and function.__doc__:
      yield name, function


FUNCTIONS = dict(public_functions())
everywhere = pytest.mark.parametrize("name", FUNCTIONS)


def parameters(name: str) -> dict[str, inspect.Parameter]:
  return {
    key: value
    for key, value in inspect.signature(FUNCTIONS[name]).parameters.items()
    if key not in ("self", "cls")
  }


def section(name: str, title: str) -> str:
  """What stands under `title:` in a docstring; empty without such a section."""
  documentation = inspect.getdoc(FUNCTIONS[name]) or ""
  match = re.search(rf"^{title}:\n((?:  .*\n?|\n)+)", documentation, re.MULTILINE)
  return match[1] if match else ""


def described_arguments(name: str) -> dict[str, str]:
  """Argument -> its description."""
  # An entry begins with a name in the section's first column; its further lines are indented.
  entries = re.split(r"^  (?=\*{0,2}\w+: )", section(name, "Args"), flags=re.MULTILINE)
  pairs = (entry.split(":", 1) for entry in entries if ":" in entry)
  return {argument.lstrip("*"): text for argument, text in pairs}


def is_array(annotation: object) -> bool:
  text = str(annotation)
  return bool(ARRAY.search(text)) and "Callable" not in text


def test_the_functions_are_found():
  some = {
    "affine.warp",
    "heatmap.HeatmapCodec.encode",
    "siamese.combine",
    "steps.train_step",
    "ops.batch_norm.batch_norm_relu",
    "predict.FaceAligner.from_checkpoint",
    "scoring.jitter.jitter",
    "plots.sheets.draw_faces",
  }
  assert some <= FUNCTIONS.keys()
  assert not {name for name in FUNCTIONS if name.split(".")[0] in WINGS}


@everywhere
def test_a_random_key_comes_first_and_is_called_key(name):
  names = list(parameters(name))
  assert not {"rng", "prng", "rng_key", "prng_key"} & set(names)
  assert "key" not in names[1:]


@everywhere
def test_options_are_given_by_name(name):
  by_position = {
    key
    for key, parameter in parameters(name).items()
    if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
  }
  assert by_position <= POSITIONAL_DEFAULTS.get(name, set())


@everywhere
def test_the_first_line_of_the_docstring_is_a_sentence(name):
  documentation = inspect.getdoc(FUNCTIONS[name])
  assert documentation, f"{name} has no docstring"
  first = documentation.split("\n\n")[0].replace("\n", " ").strip()
  assert first.endswith((".", ":", "?")) or "(" in first, first


@everywhere
def test_every_array_argument_has_its_shape_and_so_has_an_array_result(name):
  """Which axis is which is what a caller must know."""
  arguments = described_arguments(name)
  annotations = inspect.get_annotations(FUNCTIONS[name])
  lacking = [
    key
    for key in parameters(name)
    if key != "key" and is_array(annotations.get(key)) and not SHAPE.search(arguments.get(key, ""))
  ]
  assert not lacking, f"{name}: the description of {lacking} gives no shape such as (B, K, 2)"

  if is_array(annotations.get("return")):
    results = section(name, "Returns") or (inspect.getdoc(FUNCTIONS[name]) or "")
    assert SHAPE.search(results), f"{name}: its result has no shape such as (B, K, 2)"


@everywhere
def test_what_is_returned_is_described_if_the_arguments_are(name):
  returned = inspect.get_annotations(FUNCTIONS[name]).get("return")
  if described_arguments(name) and returned is not None:
    assert section(name, "Returns") or section(name, "Yields"), f"{name} has no Returns:"


@everywhere
def test_what_the_docstring_describes_under_args_exists(name):
  """A renamed argument leaves its old name behind in the docstring."""
  described = set(described_arguments(name))
  assert described <= set(parameters(name))
  if described:
    assert described == set(parameters(name)), "describe all arguments or none"
