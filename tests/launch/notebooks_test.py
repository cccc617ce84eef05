"""launch/colab: notebooks agree with their sources, and run from the first cell to the last."""

import importlib.util
import json
import re

import notebooks
import pytest

SOURCES = sorted(notebooks.COLAB.glob("*.py"))
NAMES = ["paper_in_pictures", "photo_to_points", "tpu", "train"]

each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def need(*packages):
  """Skips the test where the extra `notebooks` is not installed."""
  for package in packages:
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"{package} is not installed: pip install 'fal_jax[notebooks]'")


def read(source):
  return json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def code_cells(source):
  return ["".join(cell["source"]) for cell in read(source)["cells"] if cell["cell_type"] == "code"]


def test_each_source_has_a_notebook_and_each_notebook_a_source():
  assert [source.stem for source in SOURCES] == NAMES
  assert [path.stem for path in sorted(notebooks.COLAB.glob("*.ipynb"))] == NAMES


@each_notebook
def test_a_notebook_is_what_jupytext_makes_of_its_source(source):
  need("jupytext")
  import jupytext

  made = jupytext.read(source)
  there = read(source)
  assert [(cell["cell_type"], "".join(cell["source"])) for cell in there["cells"]] == [
    (cell["cell_type"], cell["source"]) for cell in made["cells"]
  ], "run `jupytext --to ipynb --update launch/colab/*.py`"
  assert there["metadata"]["kernelspec"] == made["metadata"]["kernelspec"]


@each_notebook
def test_a_notebook_holds_no_outputs_and_nothing_of_the_machine_that_made_it(source):
  notebook = read(source)
  assert notebook["metadata"].keys() == {"kernelspec"}
  assert notebook["metadata"]["kernelspec"]["name"] == "python3"
  for cell in notebook["cells"]:
    assert cell["metadata"].keys() <= {"tags"}
    assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
  assert not re.search(r"/(home|root|Users|tmp|work)/", json.dumps(notebook["cells"]))


def test_all_notebooks_begin_with_the_same_environment():
  first = {code_cells(source)[0] for source in SOURCES}
  assert len(first) == 1
  assert "cells.start()" in first.pop()


@each_notebook
def test_links_of_a_notebook_lead_somewhere(source):
  texts = "".join(
    "".join(cell["source"]) for cell in read(source)["cells"] if cell["cell_type"] == "markdown"
  )
  links = re.findall(r"\]\(([^)#]+)", texts)
  assert links
  for link in links:
    assert (source.parent / link).exists(), link


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
  """One copy for all of them: the dataset that two of them prepare is rendered once."""
  return notebooks.copy_repository(tmp_path_factory.mktemp("colab") / "repository")


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end_and_shows_pictures(name, repository):
  need("nbclient", "ipykernel")
  executed = notebooks.execute(notebooks.COLAB / f"{name}.py", repository)

  outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
  pictures = [output for output in outputs if "image/png" in output.get("data", {})]
  pictures += [output for output in outputs if "image/jpeg" in output.get("data", {})]
  # What is shown has a caption below it.
  captions = [output for output in outputs if "text/markdown" in output.get("data", {})]
  assert pictures and len(pictures) == len(captions)
