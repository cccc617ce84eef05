"""Flags of --mode=predict that contradict each other or cannot be understood: one sentence each."""

import numpy as np
import pytest
import tiny_dataset

from fal_jax.photos import network


@pytest.mark.parametrize(
  ("flags", "named"),
  [
    ({"images": []}, "No image given: name files or folders with --images=photo.jpg,folder"),
    ({"weights": "free-68", "workdir": "runs/a"}, "both name the network: give one of them"),
    ({"box": ["1,2,3,4"], "boxes": "b.csv"}, "--box and --boxes both say where the faces are"),
    ({"boxes": "b.csv", "whole_image": True}, "--boxes and --whole_image both say"),
    ({"box": ["1,2,3,4"], "detector": "yunet"}, "--box and --detector both say"),
    ({"whole_image": True, "small_faces": True}, "--whole_image and --small_faces both say"),
    ({"box": ["1,2,3"]}, "--box must be four numbers x0,y0,x1,y1, got 1,2,3."),
    ({"box": ["1,2,3,4,5,6,7,8"]}, "got 1,2,3,4,5,6,7,8; repeat the flag for several faces."),
    ({"box": ["1,2,x,4"]}, "--box must be four numbers"),
    ({"box": ["1,2,30,40", "30,30,10,10"]}, "--box=30,30,10,10 has x1 < x0"),
    ({"box": ["1,2,1,4"]}, "has no area"),
    ({"box": ["1,2,nan,4"]}, "four finite numbers"),
    ({"box": ["1,2,1e9,4"]}, "four finite numbers"),
    ({"box": ["1,2,3,4"], "views": 0}, "views must be 1 or more"),
    ({"box": ["1,2,3,4"], "decode": "best"}, "best"),
    ({"box": ["1,2,3,4"], "weights": "free68"}, "free68 is neither a network that has a name"),
    ({"boxes": "none.csv"}, "none.csv cannot be read"),
    ({"detector": "viola"}, "There is no face detector 'viola'"),
  ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
  run_main, tmp_path, monkeypatch, flags, named
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.png").write_bytes(tiny_dataset.png(np.zeros((9, 9, 3), np.uint8)))

  code, _, err = run_main(**{"mode": "predict", "images": ["a.png"], **flags})

  assert code == 2
  assert named in err
  assert len(err.splitlines()) == 1, err
  assert not (tmp_path / "predictions").exists()


def test_results_never_go_into_the_folder_of_the_run(run_main, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.png").write_bytes(tiny_dataset.png(np.zeros((9, 9, 3), np.uint8)))
  (tmp_path / "run").mkdir()

  for out, workdir in [("run/predict", "run"), ("run", "run"), (None, ".")]:
    code, _, err = run_main(
      mode="predict", images=["a.png"], box=["1,2,3,4"], workdir=workdir, out=out
    )
    assert code == 2
    assert "lies in the folder of the network" in err and "name another folder" in err


def test_one_bad_photograph_is_refused_before_the_network_is_loaded(
  run_main, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.png").write_bytes(b"")
  monkeypatch.setattr(network, "load", None)

  code, _, err = run_main(mode="predict", images=["a.png"])

  assert code == 2 and err.startswith("a.png: not an image: the file is empty")
  assert not (tmp_path / "predictions").exists()
