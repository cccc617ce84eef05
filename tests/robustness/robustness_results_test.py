"""What the README says of the shipped networks is what the results beside it say."""

import pathlib
import re
import shlex

import pytest

from fal_jax.network_report import calibration, robustness
from fal_jax.parsing import plain_json

README = pathlib.Path(__file__).parents[2] / "fal_jax" / "robustness" / "README.md"
NETWORKS = ("w300-68", "free-68")
# Whose curves stand in the README.
CURVES = NETWORKS


def results(name: str, part: str) -> dict:
  return plain_json.loads((README.parent / "results" / f"{name}_{part}.json").read_text())


def test_the_readme_has_the_tables_of_the_results():
  tables = [calibration.table(results(name, "calibration")) for name in NETWORKS]
  if CURVES:
    tables.append(robustness.doubling_table({name: results(name, "robustness") for name in CURVES}))
  for table in tables:
    assert table in README.read_text(), f"put this into the README:\n{table}"


@pytest.mark.parametrize(
  ("name", "part"),
  [*((name, "calibration") for name in NETWORKS), *((name, "robustness") for name in CURVES)],
)
def test_a_command_of_the_readme_measures_the_same_faces(name, part):
  result = results(name, part)
  assert (result["dataset"], result["split"], result["num_images"]) == ("w300", "val", 202)

  words = {word for word in shlex.split(result["command"]) if not word.startswith("--parts=")}
  blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
  printed = [{*shlex.split(line)} for line in "".join(blocks).replace("\\\n", "").splitlines()]
  assert any(words | {"--parts=robustness,calibration"} == command for command in printed)
