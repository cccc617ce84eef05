"""launch/predict.sh: what it hands to --mode=predict, with a stand-in for the Python of .venv."""

import shutil
import subprocess
import sys

import pytest
import tiny_dataset

# Asked for matplotlib's folder it says one; otherwise it prints the words that it is given.
STAND_IN = """\
#!/usr/bin/env bash
if [ "$1" = -c ]; then
  echo /sample/grace_hopper.jpg
  exit
fi
pwd
printf '%s\\n' "$@"
exit 2
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
  """The script in a folder of its own, whose environment looks as if it were made."""
  root = tmp_path / "a clone"
  shutil.copytree(tiny_dataset.ROOT / "launch", root / "launch")
  shutil.copy(tiny_dataset.ROOT / "pyproject.toml", root)
  lock = f"launch/locks/py{sys.version_info[0]}{sys.version_info[1]}.txt"
  texts = [sys.version, (root / lock).read_text(), (root / "pyproject.toml").read_text()]
  python = root / ".venv" / "bin" / "python"
  python.parent.mkdir(parents=True)
  python.write_text(STAND_IN)
  python.chmod(0o755)
  made_from = "\n".join([texts[0], "".join(texts[1:])])
  (root / ".venv" / "made_from").write_text(made_from)
  monkeypatch.setenv("FAL_JAX_PYTHON", sys.executable)
  return root / "launch" / "predict.sh"


def call(script, folder, *arguments):
  done = subprocess.run(
    [str(script), *arguments], cwd=folder, capture_output=True, text=True, check=False
  )
  assert done.returncode == 2, done  # that of the command goes through
  return done.stdout.splitlines()


def test_photographs_are_named_from_where_the_user_is_and_flags_go_through(script, tmp_path):
  where, *words = call(script, tmp_path, "a b.jpg", "*.png", "--weights=w300-68", "--out", "o")
  assert where == str(tmp_path)
  assert words == [
    *("-m", "fal_jax.main", "--mode=predict"),
    *("--images=a b.jpg", "--images=*.png", "--weights=w300-68", "--out", "o"),
  ]


@pytest.mark.parametrize("arguments", [[], ["--out=there"]])
def test_without_a_photograph_it_takes_one_and_says_so(script, tmp_path, arguments):
  said, _, *words = call(script, tmp_path, *arguments)
  assert said == "No photograph given: taking /sample/grace_hopper.jpg"
  assert words[3:] == [*arguments, "--images=/sample/grace_hopper.jpg"]


@pytest.mark.parametrize("words", [["--images=a.jpg"], ["--images", "a.jpg"], ["--help"]])
def test_images_may_be_named_by_the_flag_too(script, tmp_path, words):
  assert call(script, tmp_path, *words)[4:] == words
