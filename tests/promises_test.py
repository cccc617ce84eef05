"""fal_jax/PROMISES.md: every promise names tests, and every test that it names is there."""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "fal_jax" / "PROMISES.md"
ROW = re.compile(r"^\| (\d+) \|.*$", re.MULTILINE)
LINK = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")


def defined_in(path):
  tree = ast.parse(path.read_text(encoding="utf-8"))
  return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_of_fifteen_promises_names_tests_that_exist():
  rows = list(ROW.finditer(PAGE.read_text(encoding="utf-8")))
  assert [int(row[1]) for row in rows] == list(range(1, 16))
  for row in rows:
    links = LINK.findall(row[0])
    assert links and row[0].count("](") == len(links), row[0]
    for name, path in links:
      assert name in defined_in((PAGE.parent / path).resolve()), f"promise {row[1]}: {name}"
