"""Which way imports point, which packages never appear, how long files get, and what stays out.

The floors of fal_jax, top to bottom; an import points downwards, or sideways on the same floor:

  main        the command line
  wings       codec_report/ network_report/ doctor/ bench/ torch_import/ ablation/ photos/ export/
              demo/: only main enters, and no wing enters another
  programs    train, evaluate, predict, score ...: what a mode of the command line runs;
              consistency/, which evaluates too
  rooms       scoring/ robustness/ plots/ output/ weights/ detect/ page/ prepared/ distributed/,
              and what runs are made from: build, data ...
  step        steps.py: one training step, one prediction step
  paper       the method itself: knows no files, checkpoints, scores or plots
  ground      errors, ops/, parsing/, sampling/, flags, configs as JSON
"""

import ast
import functools
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

WINGS = {"codec_report", "network_report", "doctor", "bench", "torch_import", "ablation", "photos"}
WINGS |= {"export", "demo"}
FLOORS = (
  {"main"},
  WINGS,
  {"train", "evaluate", "predict", "score", "consistency"},
  {
    "scoring",
    "robustness",
    "plots",
    "output",
    "weights",
    "detect",
    "page",
    "distributed",
    "prepared",
  }
  | {"build", "restore", "parallel", "data", "checkpoint"},
  {"steps"},
  {
    "siamese",
    "heatmap",
    "peaks",
    "hourglass",
    "mobile_unet",
    "network",
    "heads",
    "augment",
    "affine",
    "landmarks",
  }
  | {"corruption"}
  | {"custom_markup", "losses", "metrics", "crop", "images", "optimizer"},
  {"errors", "ops", "parsing", "sampling", "flag_parser", "config_json"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

FORBIDDEN = {"tensorflow", "tf_keras", "keras", "torch", "clu", "pickle", "cloudpickle", "dill"}
# Reading the published PyTorch weights is the purpose of the first, being the network they are of
# that of the second, and standing beside ours in the bench that of the others.
ALLOWED = {
  ("state_dict", "torch"),
  ("torch_file", "torch"),
  ("torch_fan", "torch"),
  ("torch_reference", "torch"),
  ("torch_tasks", "torch"),
}


def python_files() -> list[pathlib.Path]:
  folders = ("fal_jax", "tfds_builders", "configs", "tests")
  return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def imports(path: pathlib.Path) -> set[str]:
  """Dotted names of all that a file imports; `from a import b` counts as a.b."""
  names: set[str] = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}:{node.lineno} imports relatively: write the full name"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def module_name(path: pathlib.Path) -> str:
  """`scoring.reports` for fal_jax/scoring/reports.py."""
  return ".".join(path.relative_to(ROOT / "fal_jax").with_suffix("").parts)


MODULES = {
  module_name(path): path
  for path in sorted((ROOT / "fal_jax").rglob("*.py"))
  if path.name != "__init__.py"
}


@functools.cache
def own_imports(path: pathlib.Path) -> set[str]:
  """Modules of fal_jax that a file imports."""
  names = {name.removeprefix("fal_jax.") for name in imports(path) if name.startswith("fal_jax.")}
  # `from fal_jax.heatmap import HeatmapCodec` is an import of heatmap.
  parts = [name.split(".") for name in names]
  return {".".join(name[:end]) for name in parts for end in range(1, len(name) + 1)} & set(MODULES)


def place(module: str) -> str:
  """The file on the ground floor, or the room or wing that a module is in."""
  return module.split(".", maxsplit=1)[0]


def test_every_module_has_a_floor():
  assert {place(module) for module in MODULES} == FLOOR.keys()


# A test goes through all files and names the offenders: cases for each file would be 1,300.


def test_imports_point_down_or_sideways():
  upwards = [
    f"{module} imports {other}"
    for module, path in MODULES.items()
    for other in own_imports(path)
    if FLOOR[place(other)] < FLOOR[place(module)]
  ]
  assert not upwards


def test_no_wing_enters_another():
  entries = [
    f"{module} imports {other}"
    for module, path in MODULES.items()
    for other in own_imports(path)
    if place(module) in WINGS and place(other) in WINGS - {place(module)}
  ]
  assert not entries


def test_no_module_imports_itself_by_a_detour():
  graph = {module: own_imports(path) for module, path in MODULES.items()}
  while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
    for module in leaves:
      del graph[module]
  assert not graph, f"these import each other in a circle: {sorted(graph)}"


def test_at_most_32_modules_on_the_ground_floor():
  assert len(list((ROOT / "fal_jax").glob("*.py"))) <= 32


def test_packages_that_the_project_does_without_are_not_imported():
  forbidden = [
    f"{path.relative_to(ROOT)} imports {package}"
    for path in python_files()
    for package in {name.split(".")[0] for name in imports(path)} & FORBIDDEN
    if (path.stem.removesuffix("_test"), package) not in ALLOWED
  ]
  assert not forbidden


def test_the_library_knows_neither_its_builders_nor_its_configs():
  known = [
    f"{module} imports {name}"
    for module, path in MODULES.items()
    for name in imports(path)
    if name.split(".")[0] in {"tfds_builders", "configs", "tests"}
  ]
  assert not known


@pytest.mark.parametrize(
  "lines",
  [
    "import fal_jax.steps",
    "from fal_jax.predict import FaceAligner; FaceAligner.from_pretrained('free-68')",
  ],
)
def test_the_mathematics_and_a_face_wait_for_no_library_of_data_or_training(lines):
  heavy = ("tensorflow", "tensorflow_datasets", "orbax", "grain", "torch", "matplotlib", "scipy")
  heavy += ("optax", "dm_pix", "tensorboardX")
  program = f"{lines}\nimport sys; print([name for name in {heavy} if name in sys.modules])"
  result = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"


def test_no_file_is_longer_than_four_hundred_lines():
  lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
  assert not {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 400}


def test_no_tracked_file_holds_a_path_of_somebody_s_machine():
  if shutil.which("git") is None or not (ROOT / ".git").exists():
    pytest.skip("not a git checkout: there is no list of tracked files")
  command = ["git", "ls-files", "-z"]
  tracked = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()

  # Absolute, so not behind a name or another slash: `.../home/` of a web address is not one.
  private = re.compile(r"(?<![\w./~-])/(?:root|home|work|Users|mnt|private)/")
  lines = []
  for name in filter(None, tracked.split("\0")):
    path = ROOT / name
    content = path.read_bytes() if path.is_file() else b""
    if b"\0" in content[:8192] or path.name == pathlib.Path(__file__).name:
      continue  # an image, or this pattern itself
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
      if private.search(line):
        lines.append(f"{name}:{number}: {line.strip()[:100]}")
  assert not lines, "\n".join(lines)
