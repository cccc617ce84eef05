"""Which way imports point, which packages never appear, how long files get, and what stays out.

The floors of fal_jax, top to bottom; an import points downwards, or sideways on the same floor:

  main        the command line
  wings       codec_report/ network_report/ doctor/ bench/ torch_import/ ablation/ photos/: only
              main enters, and no wing enters another
  programs    train, evaluate, predict, score ...: what a mode of the command line runs
  rooms       scoring/ robustness/ plots/ output/ weights/ detect/, and what runs are made from:
              build, data ...
  step        steps.py: one training step, one prediction step
  paper       the method itself: knows no files, checkpoints, scores or plots
  ground      errors, ops/, parsing/, sampling/, flags, configs as JSON, names of splits
"""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

WINGS = {"codec_report", "network_report", "doctor", "bench", "torch_import", "ablation", "photos"}
FLOORS = (
  {"main"},
  WINGS,
  {"train", "evaluate", "predict", "score"},
  {"scoring", "robustness", "plots", "output", "weights", "detect"}
  | {"build", "restore", "parallel", "data", "checkpoint"},
  {"steps"},
  {"siamese", "heatmap", "peaks", "hourglass", "network", "heads", "augment", "affine", "landmarks"}
  | {"corruption"}
  | {"custom_markup", "losses", "metrics", "crop", "images", "optimizer"},
  {"errors", "ops", "parsing", "sampling", "flag_parser", "config_json", "split_names"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

FORBIDDEN = {"tensorflow", "tf_keras", "keras", "torch", "clu", "pickle", "cloudpickle", "dill"}
# Reading the published PyTorch weights is the purpose of the first, being the network they are of
# that of the second, and standing beside ours in the bench that of the others.
ALLOWED = {
  ("state_dict", "torch"),
  ("torch_fan", "torch"),
  ("torch_reference", "torch"),
  ("torch_tasks", "torch"),
}


def python_files() -> list[pathlib.Path]:
  folders = ("fal_jax", "tfds_builders", "configs", "tests")
  return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


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


def own_imports(path: pathlib.Path) -> set[str]:
  """Modules of fal_jax that a file imports."""
  names = {name.removeprefix("fal_jax.") for name in imports(path) if name.startswith("fal_jax.")}
  # `from fal_jax.heatmap import HeatmapCodec` is an import of heatmap.
  return {
    module for module in MODULES if any(f"{name}.".startswith(f"{module}.") for name in names)
  }


def place(module: str) -> str:
  """The file on the ground floor, or the room or wing that a module is in."""
  return module.split(".", maxsplit=1)[0]


def test_every_module_has_a_floor():
  assert {place(module) for module in MODULES} == FLOOR.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_or_sideways(module):
  upwards = {
    other for other in own_imports(MODULES[module]) if FLOOR[place(other)] < FLOOR[place(module)]
  }
  assert not upwards, f"{module} imports {upwards}"


@pytest.mark.parametrize("module", [name for name in MODULES if place(name) in WINGS])
def test_no_wing_enters_another(module):
  others = {place(other) for other in own_imports(MODULES[module])} & WINGS
  assert others <= {place(module)}


def test_no_module_imports_itself_by_a_detour():
  graph = {module: own_imports(path) for module, path in MODULES.items()}
  while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
    for module in leaves:
      del graph[module]
  assert not graph, f"these import each other in a circle: {sorted(graph)}"


def test_at_most_32_modules_on_the_ground_floor():
  assert len(list((ROOT / "fal_jax").glob("*.py"))) <= 32


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_that_the_project_does_without_are_not_imported(path):
  packages = {name.split(".")[0] for name in imports(path)} & FORBIDDEN
  name = path.stem.removesuffix("_test")
  assert {package for package in packages if (name, package) not in ALLOWED} == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_library_knows_neither_its_builders_nor_its_configs(module):
  roots = {name.split(".")[0] for name in imports(MODULES[module])}
  assert not roots & {"tfds_builders", "configs", "tests"}


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


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_four_hundred_lines(path):
  assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


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
