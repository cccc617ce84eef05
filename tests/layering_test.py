"""Which way imports point, which packages never appear, how long files get, and what must not be
written down.
"""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# Modules of fal_jax by rank. An import points to a lower rank, or sideways; a new module finds its
# place here first.
RANKS = (
  (
    "errors",
    "affine",
    "heatmap",
    "landmarks",
    "losses",
    "images",
    "collectives",
    "batch_norm",
    "convolution",
    "fusion",
    "peaks",
    "procrustes",
    "flag_parser",
    "timing",
    "flops",
    "own_markup",
    "faces",
  ),
  (
    "augment",
    "hourglass",
    "crop",
    "metrics",
    "roundtrip",
    "heads",
    "auc_variants",
    "intervals",
    "jitter",
    "cross_markup",
    "protocols",
  ),
  (
    "siamese",
    "steps",
    "data",
    "checkpoint",
    "optimizer",
    "metric_log",
    "plots",
    "recipe",
    "parallel",
    "torch_import",
    "annotations",
    "dataset_stats",
    "shape_plots",
    "landmark_files",
    "landmark_plot",
    "reports",
  ),
  (
    "train",
    "evaluate",
    "predict",
    "export",
    "codec_report",
    "decoder_tables",
    "doctor",
    "bench",
    "score",
    "doctor_faces",
    "doctor_findings",
    "doctor_page",
    "doctor_sheets",
    "ablation",
    "ablation_table",
    "bench_work",
    "bench_input",
    "bench_worker",
    "bench_scaling",
    "bench_trace",
    "bench_table",
    "bench_machine",
    "bench_torch",
    "torch_peer",
  ),
  ("main", "ablate"),
)
RANK = {module: rank for rank, modules in enumerate(RANKS) for module in modules}
FORBIDDEN = {"tensorflow", "tf_keras", "keras", "torch", "clu", "pickle", "cloudpickle", "dill"}
# Reading the published PyTorch weights is what the one is for, being the network they are of what
# the other is for, and standing beside ours in the bench what the third is for.
ALLOWED = {
  ("torch_import", "torch"),
  ("torch_fan", "torch"),
  ("torch_peer", "torch"),
  ("bench_torch", "torch"),
}


def python_files() -> list[pathlib.Path]:
  return sorted(
    path
    for folder in ("fal_jax", "tfds_builders", "configs", "tests")
    for path in (ROOT / folder).rglob("*.py")
  )


def imports(path: pathlib.Path) -> set[str]:
  """Dotted names of everything that a file imports, wherever in the file; `from a import b` counts
  as a.b.
  """
  names: set[str] = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}:{node.lineno} imports relatively: write the full name"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def own_imports(path: pathlib.Path) -> set[str]:
  """Modules of fal_jax that a file imports."""
  parts = [name.split(".") for name in imports(path)]
  return {name[1] for name in parts if name[0] == "fal_jax" and len(name) > 1} & RANK.keys()


MODULES = {
  path.stem: path for path in sorted((ROOT / "fal_jax").glob("*.py")) if path.stem != "__init__"
}


def test_every_module_has_a_rank():
  assert MODULES.keys() <= RANK.keys()
  assert not [
    path for path in (ROOT / "fal_jax").iterdir() if path.is_dir() and any(path.glob("*.py"))
  ], "fal_jax is flat"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_or_sideways(module):
  upwards = {other for other in own_imports(MODULES[module]) if RANK[other] > RANK[module]}
  assert not upwards, f"{module} (rank {RANK[module]}) imports {upwards}"


def test_no_module_imports_itself_by_a_detour():
  graph = {module: own_imports(path) for module, path in MODULES.items()}
  while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
    for module in leaves:
      del graph[module]
  assert not graph, f"these import each other in a circle: {sorted(graph)}"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_that_the_project_does_without_are_imported_nowhere(path):
  found = {name.split(".")[0] for name in imports(path)} & FORBIDDEN
  assert {
    package for package in found if (path.stem.removesuffix("_test"), package) not in ALLOWED
  } == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_library_knows_neither_its_builders_nor_its_configs(module):
  roots = {name.split(".")[0] for name in imports(MODULES[module])}
  assert not roots & {"tfds_builders", "configs", "tests"}


def test_importing_the_mathematics_loads_neither_data_nor_checkpoint_libraries():
  heavy = ("tensorflow", "tensorflow_datasets", "orbax", "grain", "torch", "matplotlib")
  program = f"import sys, fal_jax.steps; print([name for name in {heavy} if name in sys.modules])"
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
  listed = subprocess.run(
    ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
  ).stdout.decode()
  # Absolute, so not behind a name or another slash: `.../home/` of a web address is none.
  private = re.compile(r"(?<![\w./~-])/(?:root|home|work|Users|mnt|private)/")
  found = []
  for name in filter(None, listed.split("\0")):
    path = ROOT / name
    content = path.read_bytes() if path.is_file() else b""
    if b"\0" in content[:8192]:
      continue  # a picture
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
      if private.search(line) and path.name != pathlib.Path(__file__).name:
        found.append(f"{name}:{number}: {line.strip()[:100]}")
  assert not found, "\n".join(found)
