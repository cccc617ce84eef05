"""The READMEs: the front door is short, links lead somewhere, and printed commands exist."""

import importlib.util
import pathlib
import re
import shlex

import pytest
from absl import flags

from configs import default
from fal_jax import main

ROOT = pathlib.Path(__file__).parents[1]
FRONT_DOOR = ROOT / "README.md"
PAGES = [
  FRONT_DOOR,
  ROOT / "CONTRIBUTING.md",
  *sorted(
    page
    for room in ("fal_jax", "configs", "tfds_builders", "launch")
    for page in ROOT.glob(f"{room}/**/*.md")
  ),
]
LINK = re.compile(r"\[[^]]*\]\(([^)#]*)(?:#([^)]*))?\)")

page_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: pathlib.Path) -> set[str]:
  """What GitHub calls the headings of a page in links."""
  headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: pathlib.Path) -> list[list[str]]:
  """The words of each `python -m ...` command in the page's blocks of shell commands."""
  blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
  lines = "".join(blocks).replace("\\\n", " ").splitlines()
  return [shlex.split(line, comments=True) for line in lines if line.startswith("python -m ")]


def test_the_front_door_is_short():
  text = FRONT_DOOR.read_text(encoding="utf-8")

  assert len(text.splitlines()) <= 120
  assert len(text.split()) <= 1600
  assert max(map(len, text.splitlines())) <= 120


def test_the_front_door_names_files_that_exist():
  names = re.findall(r"`(\w+\.py)`", FRONT_DOOR.read_text(encoding="utf-8"))
  assert len(names) > 15

  for name in names:
    assert (ROOT / "fal_jax" / name).is_file() or (ROOT / "configs" / name).is_file(), name


@page_by_page
def test_every_link_leads_somewhere(page):
  for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
    if "://" in path:
      continue
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), f"{page} links to {path}"
    assert not anchor or anchor in anchors(target), f"{page} links to {path}#{anchor}"


@page_by_page
def test_every_command_names_a_module_a_config_and_flags_that_exist(page):
  known = default.get_config()

  for command in commands(page):
    module, arguments = command[2], command[3:]
    assert importlib.util.find_spec(module), command
    for argument in arguments if module == "fal_jax.main" else ():
      name, _, value = argument.removeprefix("--").partition("=")
      if name in ("config", "table"):
        assert (ROOT / value.partition(":")[0]).is_file(), argument
      elif name.startswith("config."):
        section, _, key = name.removeprefix("config.").partition(".")
        assert section in known and (not key or key in known[section]), argument
      else:
        assert name in flags.FLAGS, argument
      assert name != "mode" or value in main.MODES, argument
