"""The manners of the public functions of ranks 0 to 2: how arguments are ordered and named, and
what docstrings say.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator

import pytest
from layering_test import MODULES, RANK

# Parameters with a default that may be given by place: these signatures are public promises.
POSITIONAL_DEFAULTS = {
  "metrics.norms": {"box"},
}
ARRAY = re.compile(r"\b(jax\.Array|np\.ndarray|Array|jnp\.ndarray)\b")
SHAPE = re.compile(r"\((?:\.\.\.|[A-Z0-9])[^()]*\)|Scalar|scalar")  # (B, K, 2), (..., 2, 3), (N,)


def public_functions() -> Iterator[tuple[str, Callable]]:
  """Functions and methods of public classes, defined in the modules and not imported into them."""
  for module in (name for name in MODULES if RANK[name] <= 2):
    namespace = importlib.import_module(f"fal_jax.{module}")
    for name, member in vars(namespace).items():
      if name.startswith("_") or getattr(member, "__module__", None) != namespace.__name__:
        continue
      if inspect.isclass(member):
        methods = {key: value for key, value in vars(member).items() if inspect.isfunction(value)}
        for method, function in methods.items():
          if (
            not method.startswith("_")
            and function.__module__ == namespace.__name__
            and function.__doc__ != ""
          ):
            yield f"{module}.{name}.{method}", function
      elif callable(member) and hasattr(inspect.unwrap(member), "__code__"):
        yield f"{module}.{name}", inspect.unwrap(member)


FUNCTIONS = dict(public_functions())
everywhere = pytest.mark.parametrize("name", FUNCTIONS)


def parameters(name: str) -> dict[str, inspect.Parameter]:
  return {
    key: value
    for key, value in inspect.signature(FUNCTIONS[name]).parameters.items()
    if key not in ("self", "cls")
  }


def test_the_functions_are_found():
  some = {
    "affine.warp",
    "heatmap.HeatmapCodec.encode",
    "siamese.combine",
    "steps.train_step",
    "batch_norm.batch_norm_relu",
  }
  assert some <= FUNCTIONS.keys()


@everywhere
def test_a_random_key_comes_first_and_is_called_key(name):
  names = list(parameters(name))
  assert not {"rng", "prng", "rng_key", "prng_key"} & set(names)
  assert "key" not in names[1:]


@everywhere
def test_options_are_given_by_name(name):
  by_place = {
    key
    for key, parameter in parameters(name).items()
    if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
  }
  assert by_place <= POSITIONAL_DEFAULTS.get(name, set())


@everywhere
def test_the_first_line_of_the_docstring_is_a_sentence(name):
  documentation = inspect.getdoc(FUNCTIONS[name])
  assert documentation, f"{name} has no docstring"
  first = documentation.split("\n\n")[0].replace("\n", " ").strip()
  assert first.endswith((".", ":", "?")) or "(" in first, first


def handles_arrays(function: Callable) -> bool:
  """Whether it takes or gives arrays, the random key aside."""
  annotations = [
    str(annotation) for key, annotation in inspect.get_annotations(function).items() if key != "key"
  ]
  return any(
    ARRAY.search(annotation) and "Callable" not in annotation for annotation in annotations
  )


@pytest.mark.parametrize(
  "name", [name for name, function in FUNCTIONS.items() if handles_arrays(function)]
)
def test_arrays_are_described_by_their_shapes(name):
  """One shape at least for arguments and result together: which axis is which is what a caller must
  know.
  """
  assert SHAPE.search(inspect.getdoc(FUNCTIONS[name]) or ""), (
    f"{name} says no shape such as (B, K, 2)"
  )


@everywhere
def test_what_the_docstring_describes_under_args_exists(name):
  """A renamed argument leaves its old name behind in the docstring."""
  section = re.search(
    r"^Args:\n((?:  .*\n?|\n)+)", inspect.getdoc(FUNCTIONS[name]) or "", re.MULTILINE
  )
  described = re.findall(r"^  (\w+): ", section.group(1), re.MULTILINE) if section else []
  assert set(described) <= set(parameters(name))
  if described:
    assert set(described) == set(parameters(name)), "describe all arguments or none"
