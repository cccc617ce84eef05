"""--mode=predict from the command line: what is written, and what bad input costs."""

import csv
import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny_dataset
from PIL import Image

from fal_jax.photos import network, overlay, sources
from fal_jax.predict import FaceAligner
from fal_jax.scoring import landmark_files

SIZE = 90, 100  # rows and columns of the test photograph
BOX = "20,15,80,80"


@pytest.fixture(scope="module")
def aligner(workdir):
  return FaceAligner.from_checkpoint(workdir)


@pytest.fixture(scope="module")
def face():
  """(90, 100, 3) uint8: a face that was not trained on."""
  return tiny_dataset.draw_face(tiny_dataset.face_landmarks(999, SIZE), SIZE)


@pytest.fixture
def predict(run_main, aligner, monkeypatch, tmp_path):
  """Runs the mode with a network that is loaded once, in an empty folder."""
  monkeypatch.setattr(network, "load", lambda options: aligner)
  monkeypatch.chdir(tmp_path)

  def run(*images, **flags):
    return run_main(mode="predict", images=list(map(str, images)), **flags)

  return run


def save(image, *names):
  for name in names:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    Image.fromarray(image).save(name)


def read_csv(name="predictions/predictions.csv"):
  """id -> landmarks (K, 2) and scores (K,)."""
  with open(name, encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  assert len({row["id"] for row in rows}) == len(rows)
  num = tiny_dataset.MARKUP
  return {
    row["id"]: (
      np.array([[row[f"x{k}"], row[f"y{k}"]] for k in range(num)], float),
      np.array([row[f"score{k}"] for k in range(num)], float),
    )
    for row in rows
  }


def read_json(name="predictions/predictions.json"):
  with open(name, encoding="utf-8") as file:
    return json.load(file)


def written(folder="predictions"):
  return sorted(
    os.path.relpath(os.path.join(root, name), folder)
    for root, _, names in os.walk(folder)
    for name in names
  )


# ---- What is written


def test_a_photograph_becomes_points_with_scores_and_a_drawing(predict, aligner, face):
  save(face, "photo.png")

  code, out, err = predict("photo.png", box=[BOX])

  assert (code, err) == (0, "")
  table = "predictions/predictions.csv"
  assert out == f"Wrote 1 face of 1 image to {table}, drawings to predictions/overlays\n"
  assert written() == ["overlays/photo.png.jpg", "predictions.csv", "predictions.json"]
  expected = aligner(face, [[20, 15, 80, 80]])
  landmarks, scores = read_csv()["photo.png"]
  np.testing.assert_allclose(landmarks, expected.landmarks[0], atol=1e-3)
  np.testing.assert_allclose(scores, expected.scores[0], atol=1e-3)


@pytest.mark.slow
def test_the_table_is_one_that_the_scorer_reads(predict, face):
  save(face, "deep/a, b.png")
  predict(".", recursive=True, box=[BOX, "5,5,50,50"])
  file = landmark_files.read("predictions/predictions.csv")
  assert file.ids == ["deep/a, b.png", "deep/a, b.png#1"]
  np.testing.assert_array_equal(file.landmarks[0], read_csv()["deep/a, b.png"][0])


def test_the_json_says_how_each_point_was_made(predict, aligner, face, workdir):
  save(face, "photo.png")
  predict("photo.png", box=[BOX])

  content = read_json()

  assert content["complete"] and content["failed"] == {}
  assert content["command"].startswith("python -m fal_jax.main")
  assert content["network"] == {
    "workdir": str(workdir),
    "step": 12,
    "landmarks": tiny_dataset.MARKUP,
    "decode": "local_softargmax",
    "refine": 0,
    "views": 1,
  }
  (image,) = content["images"]
  assert (image["id"], image["path"], image["size"]) == ("photo.png", "photo.png", [100, 90])
  (found,) = image["faces"]
  assert (found["id"], found["box"], image["box_source"]) == ("photo.png", [20, 15, 80, 80], "flag")
  expected = aligner(face, [[20, 15, 80, 80]])
  np.testing.assert_allclose(found["covariance"], expected.covariance[0], atol=1e-4)
  np.testing.assert_allclose(found["score"], expected.scores.mean(), atol=1e-3)
  assert found["uncertainty"] is None


@pytest.mark.slow
def test_views_bring_an_uncertainty_per_landmark(run_main, face, workdir, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  save(face, "photo.png")
  options = {"weights": str(workdir), "views": 2, "refine": 1, "decode": "argmax"}

  code, _, err = run_main(mode="predict", images=["photo.png"], box=[BOX], **options)

  assert code == 0, err
  with open("predictions/predictions.csv") as file:
    header, row = csv.reader(file)
  last = tiny_dataset.MARKUP - 1
  assert (header[-1], float(row[-1]) >= 0) == (f"uncertainty{last}", True)
  said = read_json()["network"]
  assert (said["views"], said["refine"], said["decode"]) == (2, 1, "argmax")


def test_several_boxes_are_several_faces(predict, face):
  """Field case 13: one row of the last box, the others dropped silently."""
  save(face, "000.png")
  assert predict("000.png", box=["47,52,91,97", "10,10,60,60"])[0] == 0
  assert list(read_csv()) == ["000.png", "000.png#1"]
  assert [face["box"] for face in read_json()["images"][0]["faces"]] == [
    [47, 52, 91, 97],
    [10, 10, 60, 60],
  ]


def test_a_file_gives_each_image_its_faces(predict, face):
  save(face, "in/a.png", "in/b.png", "in/c.png")
  rows = [
    "image,x0,y0,x1,y1",
    "b.png,20,15,80,80",
    "a.png,1,1,70,70",
    "b.png,5,5,50,50",
    "z,1,1,2,2",
  ]
  with open("boxes.csv", "w") as file:
    file.write("\n".join(rows))

  code, out, _ = predict("in", boxes="boxes.csv")

  assert code == 0
  assert out.splitlines()[:2] == [
    "boxes.csv: not among --images: z.",
    "No face in 1 image: c.png",
  ]
  assert list(read_csv()) == ["a.png", "b.png", "b.png#1"]
  assert read_json()["without_face"] == ["c.png"]

  predict("in", boxes="predictions/predictions.json", out="again")
  assert read_csv("again/predictions.csv").keys() == read_csv().keys()


def test_pts_files_count_from_one_and_mirror_the_folders(predict, face):
  save(face, "in/deep/a.png", "in/deep/a.jpg")
  predict("in", recursive=True, box=[BOX, "5,5,50,50"], pts=True, overlays=False)

  assert written() == [
    "predictions.csv",
    "predictions.json",
    "pts/deep/a#1.pts",
    "pts/deep/a#1_2.pts",
    "pts/deep/a.pts",
    "pts/deep/a_2.pts",
  ]
  with open("predictions/pts/deep/a_2.pts") as file:
    head, body = file.read().split("{\n")
  assert head == f"version: 1\nn_points: {tiny_dataset.MARKUP}\n"
  points = np.array(body.removesuffix("}\n").split(), float).reshape(-1, 2)
  np.testing.assert_allclose(points - 1, read_csv()["deep/a.png"][0], atol=1e-3)


def test_faces_below_the_lowest_score_are_left_out_and_said(predict, aligner, face):
  save(face, "a.png")
  boxes = np.array([[2, 2, 12, 12], [20, 15, 80, 80]])
  low, high = np.sort(aligner(face, boxes).scores.mean(1))
  texts = [",".join(map(str, box)) for box in boxes]

  code, out, _ = predict("a.png", box=texts, min_score=float((low + high) / 2))

  assert code == 0
  assert "1 face, in a.png" in out
  (image,) = read_json()["images"]
  assert [len(image["faces"]), len(image["dropped"])] == [1, 1]
  assert list(read_csv()) == ["a.png"]

  code, _, err = predict("a.png", box=texts, min_score=9.0)
  assert (code, err) == (2, "No face is above --min_score=9: lower it.\n")


def test_without_a_box_the_whole_image_is_a_face_only_if_asked_for(predict, face, aligner):
  save(face, "a.png")
  assert predict("a.png", whole_image=True)[0] == 0
  expected = aligner(face, [[-0.5, -0.5, 99.5, 89.5]]).landmarks[0]
  np.testing.assert_allclose(read_csv()["a.png"][0], expected, atol=1e-3)


# ---- What bad input costs


def test_one_bad_file_costs_none_of_the_others(predict, face, tmp_path):
  """Field case 1: of four images the third was cut short, and no result was written."""
  save(face, "in/000.png", "in/001.png", "in/002.png")
  whole = (tmp_path / "in/000.png").read_bytes()
  (tmp_path / "in/0015.png").write_bytes(whole[: len(whole) // 2])

  code, out, err = predict("in", box=[BOX])

  assert code == 2
  assert err.startswith(
    "1 of 4 images could not be used, the others are written: in/0015.png: this"
  )
  assert len(err.splitlines()) == 1
  assert "Skipped: in/0015.png: this PNG file cannot be decoded" in out
  assert list(read_csv()) == ["000.png", "001.png", "002.png"]
  assert list(read_json()["failed"]) == ["0015.png"]


def test_an_earlier_call_s_results_are_never_left(predict, face, tmp_path):
  save(face, "a.png", "deep/b.png")
  predict("a.png", ".", recursive=True, box=[BOX], pts=True)
  kept = tmp_path / "predictions" / "overlays" / "mine.txt"
  kept.write_text("mine")
  (tmp_path / "bad.jpg").write_text("<html>")

  code, _, err = predict("bad.jpg", box=[BOX])

  assert (code, err) == (
    2,
    "bad.jpg: not an image: looks like HTML (a login or error page?), download it again.\n",
  )
  assert written() == ["overlays/mine.txt", "predictions.csv", "predictions.json"]
  assert read_csv() == {}
  assert list(read_json()["failed"]) == ["bad.jpg"]


def test_a_mistake_in_a_flag_leaves_an_earlier_call_s_results_alone(predict, face):
  save(face, "a.png")
  predict("a.png", box=[BOX])
  before = written()
  assert predict("missing.png", box=[BOX])[0] == 2
  assert written() == before


def test_a_table_that_was_corrected_or_is_somebody_s_is_never_replaced(predict, face):
  save(face, "a.png")
  assert predict("a.png", box=[BOX])[0] == 0
  assert predict("a.png", box=[BOX])[0] == 0  # as it was written it is

  with open("predictions/predictions.csv", "a", encoding="utf-8") as file:
    file.write("by hand\n")
  code, _, error = predict("a.png", box=[BOX])
  assert (code, error.count("\n")) == (2, 1)
  assert "was changed after it was written" in error
  assert Path("predictions/predictions.csv").read_text().endswith("by hand\n")
  assert os.listdir("predictions/overlays")

  for name, content in (("predictions.csv", "id,score\n"), ("predictions.json", '{"images": []}')):
    file = Path(f"of_{name}") / name
    file.parent.mkdir()
    file.write_text(content)
    code, _, error = predict("a.png", box=[BOX], out=file.parent)
    assert (code, "move it away" in error) == (2, True)
    assert file.read_text() == content


def test_names_as_long_as_a_file_system_allows_are_cut_in_those_of_drawings(predict, face):
  long = "a" * 100 + "ü" * 75  # 250 bytes
  save(face, f"{long}.png", f"{long}.bmp")

  assert predict(f"{long}.png", f"{long}.bmp", box=[BOX], pts=True)[0] == 0

  assert list(read_csv()) == [f"{long}.png", f"{long}.bmp"]
  assert len(os.listdir("predictions/overlays")) == len(os.listdir("predictions/pts")) == 2


def test_deep_images_are_stretched_as_the_network_was_trained(predict, aligner, monkeypatch):
  Image.fromarray(np.full(SIZE, 30_000, np.uint16)).save("thermal.png")
  config = aligner.setup.config.copy_and_resolve_references().unlock()
  config.data.value_range = (29_000.0, 31_000.0)
  monkeypatch.setattr(aligner, "setup", dataclasses.replace(aligner.setup, config=config))
  seen = []
  monkeypatch.setattr(overlay, "draw", lambda image, *_: seen.append(image) or image)

  assert predict("thermal.png", box=[BOX])[0] == 0

  assert np.unique(seen[0]).tolist() == [128]


def test_what_a_killed_call_wrote_is_removed_by_the_next(predict, face, tmp_path, monkeypatch):
  save(face, "a.png", "b.png")
  with monkeypatch.context() as patch:
    patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(SystemExit))  # in the first file
    with pytest.raises(SystemExit):
      predict("a.png", "b.png", box=[BOX])
  shutil.copy(tmp_path / "a.png", tmp_path / "predictions" / "overlays" / "other.png")
  # A kill leaves what leaving by an exception removes.
  (tmp_path / "predictions" / "predictions.json.unfinished").write_text(
    '{\n"images": [\n{"id": "a.png", "files": ["overlays/a.png.jpg", "../a.png"]},\n{"id": "b.p'
  )
  predict("b.png", box=[BOX])
  assert written() == [
    "overlays/b.png.jpg",
    "overlays/other.png",
    "predictions.csv",
    "predictions.json",
  ]
  assert (tmp_path / "a.png").exists()


def test_ctrl_c_keeps_what_was_predicted(predict, face, monkeypatch):
  save(face, "a.png", "b.png", "c.png")
  read = sources._read

  def interrupted(item, value_range):
    if item.id == "b.png":
      os.kill(os.getpid(), signal.SIGINT)
    return read(item, value_range)

  monkeypatch.setattr(sources, "_read", interrupted)
  code, _, err = predict(".", box=[BOX])

  assert code == 75
  assert err.startswith("Interrupted after 2 of 3 images")
  assert list(read_csv()) == ["a.png", "b.png"]
  assert read_json()["complete"] is False


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(predict, face, monkeypatch):
  save(face, "a.png", "b.png")
  predict("a.png", box=[BOX])

  def full(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(overlay, "jpeg", full)
  code, _, err = predict("b.png", box=[BOX])

  assert code == 2
  assert err == (
    "Nothing can be written to --out=predictions (No space left on device): name another folder.\n"
  )
  assert written() == []


def test_an_image_that_the_network_cannot_take_is_a_failure_of_its_own(predict, face, monkeypatch):
  save(face, "a.png", "b.png")
  monkeypatch.setattr("fal_jax.photos.boxes._whole_image", lambda frame: _too_much(frame.id))

  code, _, err = predict("a.png", "b.png", whole_image=True)

  assert code == 2
  assert "b.png" in read_json()["failed"]["b.png"]
  assert "1 of 2" in err


def _too_much(name):
  from fal_jax.photos.boxes import Boxes

  if name == "b.png":
    raise MemoryError("Unable to allocate 600 MiB")
  return Boxes(np.array([[1.0, 2, 30, 40]]), "image")
