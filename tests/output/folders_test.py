"""The folder of compiled programs, which are run as they are found."""

import os

import pytest

from fal_jax.errors import InputError
from fal_jax.output import compiled, folders

CACHE = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
  """No cache is named, FAL_JAX_HOME is empty, and what a test sets is taken back."""
  copy = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
  monkeypatch.setattr(os, "environ", {**copy, "FAL_JAX_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize(
  ("workdir", "place"), [("", "home/compiled"), ("runs/a", "runs/.compiled")]
)
def test_a_private_folder_is_made_and_used_again(tmp_path, capsys, workdir, place):
  (tmp_path / "runs").mkdir()
  for _ in range(2):
    compiled.keep(str(tmp_path / workdir) if workdir else "")
    assert os.environ.pop(CACHE) == str(tmp_path / place)
  assert (tmp_path / place).stat().st_mode & 0o777 == 0o700
  assert capsys.readouterr().out == ""


def test_the_place_that_the_user_names_is_left_to_the_user(tmp_path):
  os.environ[CACHE] = ""
  compiled.keep("")
  assert os.environ[CACHE] == "" and not (tmp_path / "home").exists()


def test_a_mistyped_workdir_leaves_nothing_behind(tmp_path):
  compiled.keep(str(tmp_path / "typo" / "run"))
  assert not (tmp_path / "typo").exists()


def writable_by_others(folder, monkeypatch):
  folder.mkdir()
  folder.chmod(0o777)


def of_another_user(folder, monkeypatch):
  folder.mkdir()
  monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)


def a_link_to_what_is_writable_by_others(folder, monkeypatch):
  writable_by_others(folder.with_name("there"), monkeypatch)
  folder.symlink_to("there")


def a_file(folder, monkeypatch):
  folder.write_bytes(b"")


@pytest.mark.parametrize(
  ("make", "named"),
  [
    (writable_by_others, "other users may write"),
    (of_another_user, "belongs to another user"),
    (a_link_to_what_is_writable_by_others, "other users may write"),
    (a_file, "cannot be created"),
  ],
)
def test_what_others_may_have_put_there_is_not_run(tmp_path, monkeypatch, capsys, make, named):
  make(tmp_path / ".compiled", monkeypatch)

  compiled.keep(str(tmp_path / "run"))

  assert CACHE not in os.environ
  note = capsys.readouterr().out
  assert note.count("\n") == 1 and named in note and str(tmp_path / ".compiled") in note

  with pytest.raises(InputError, match=named):
    folders.make_private_dir(tmp_path / ".compiled")
