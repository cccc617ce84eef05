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
WINGS = {"codec_report", "network_report", "doctor", "bench", "ablation", "photos", "export"}

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


@pytest.fixture(scope="module")
def functions() -> dict[str, Callable]:
  """All public functions: one test goes through them and names those that break its rule."""
  return dict(public_functions())


def parameters(function: Callable) -> dict[str, inspect.Parameter]:
  return {
    key: value
    for key, value in inspect.signature(function).parameters.items()
    if key not in ("self", "cls")
  }


def section(function: Callable, title: str) -> str:
  """What stands under `title:` in a docstring; empty without such a section."""
  documentation = inspect.getdoc(function) or ""
  match = re.search(rf"^{title}:\n((?:  .*\n?|\n)+)", documentation, re.MULTILINE)
  return match[1] if match else ""


def described_arguments(function: Callable) -> dict[str, str]:
  """Argument -> its description."""
  # An entry begins with a name in the section's first column; its further lines are indented.
  entries = re.split(r"^  (?=\*{0,2}\w+: )", section(function, "Args"), flags=re.MULTILINE)
  pairs = (entry.split(":", 1) for entry in entries if ":" in entry)
  return {argument.lstrip("*"): text for argument, text in pairs}


def is_array(annotation: object) -> bool:
  text = str(annotation)
  return bool(ARRAY.search(text)) and "Callable" not in text


def test_the_functions_are_found(functions):
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
  assert some <= functions.keys()
  assert not {name for name in functions if name.split(".")[0] in WINGS}


def test_a_random_key_comes_first_and_is_called_key(functions):
  names = {name: list(parameters(function)) for name, function in functions.items()}
  another_name = {"rng", "prng", "rng_key", "prng_key"}
  assert not [name for name, keys in names.items() if another_name & set(keys)]
  assert not [name for name, keys in names.items() if "key" in keys[1:]]


def test_options_are_given_by_name(functions):
  by_position = {
    name: {
      key
      for key, parameter in parameters(function).items()
      if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
    }
    - POSITIONAL_DEFAULTS.get(name, set())
    for name, function in functions.items()
  }
  assert not {name: keys for name, keys in by_position.items() if keys}


def test_the_first_line_of_the_docstring_is_a_sentence(functions):
  documentation = {name: inspect.getdoc(function) for name, function in functions.items()}
  assert not [name for name, text in documentation.items() if not text]

  first = {
    name: text.split("\n\n")[0].replace("\n", " ").strip() for name, text in documentation.items()
  }
  assert not {
    name: line
    for name, line in first.items()
    if not line.endswith((".", ":", "?")) and "(" not in line
  }


def test_every_array_argument_has_its_shape(functions):
  """Which axis is which is what a caller must know: the description says, e.g., (B, K, 2)."""
  lacking = []
  for name, function in functions.items():
    arguments = described_arguments(function)
    annotations = inspect.get_annotations(function)
    lacking += [
      f"{name}: {key}"
      for key in parameters(function)
      if key != "key"
      and is_array(annotations.get(key))
      and not SHAPE.search(arguments.get(key, ""))
    ]
  assert not lacking


def test_every_array_that_is_returned_has_its_shape(functions):
  lacking = [
    name
    for name, function in functions.items()
    if is_array(inspect.get_annotations(function).get("return"))
    and not SHAPE.search(section(function, "Returns") or inspect.getdoc(function) or "")
  ]
  assert not lacking


def test_what_is_returned_is_described_if_the_arguments_are(functions):
  lacking = [
    name
    for name, function in functions.items()
    if described_arguments(function)
    and inspect.get_annotations(function).get("return") is not None
    and not (section(function, "Returns") or section(function, "Yields"))
  ]
  assert not lacking


def test_the_docstring_describes_all_arguments_that_exist_and_no_others_or_none(functions):
  """A renamed argument leaves its old name behind in the docstring."""
  differences = {
    name: set(described) ^ set(parameters(function))
    for name, function in functions.items()
    if (described := described_arguments(function))
  }
  assert not {name: keys for name, keys in differences.items() if keys}
