"""Files of annotation tools give the faces that a table of the same points does."""

import json

import custom_files as files
import numpy as np
import prepared
import pytest
import tool_files as tools
from PIL import Image

from fal_jax import custom_markup
from fal_jax.images import IMAGE_SUFFIXES
from tfds_builders import prepare
from tfds_builders.custom.sources import read_folder

SEEDS = range(4)


@pytest.fixture
def read(custom_root):
  """Reads `custom_root`, with the mark-up file's origin replaced: faces, and findings."""

  def read(origin=0, more=""):
    tools.declare(custom_root, origin, more=more)
    inside = sorted(custom_root.rglob("*"))
    images = [path for path in inside if path.suffix in IMAGE_SUFFIXES]
    content = custom_markup.read_file(custom_root / "markup.yaml")
    findings = []
    faces = read_folder(custom_root, inside, images, content=content, findings=findings)
    return faces, [(finding.file, finding.message, finding.severity) for finding in findings]

  return read


def write_json(root, content, name="export.json"):
  (root / name).write_text(json.dumps(content), encoding="utf-8")


def write_label_studio(root, seeds):
  write_json(root, tools.label_studio(seeds))


def write_json_min(root, seeds):
  write_json(root, tools.json_min(seeds))


def write_imglab(root, seeds):
  (root / "faces.xml").write_text(tools.imglab(seeds))


def write_yolo(root, seeds):
  tools.write_yolo(root, {"train": seeds})


# Tool -> how its files are written, and what a finding calls the second image's first face.
TOOLS = {
  "labelme": (tools.write_labelme, "images/face 01.json"),
  "label-studio": (write_label_studio, "export.json, task [1], face 0"),
  "JSON-MIN": (write_json_min, "export.json, task [1], face 0"),
  "imglab": (write_imglab, "faces.xml, line 18"),
  "YOLO": (write_yolo, "labels/train/face 01.txt, line 1"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_s_points_boxes_and_sizes_are_read_in_our_frame(custom_root, read, tool):
  write, where = TOOLS[tool]
  write(custom_root, SEEDS)
  faces, findings = read(tools.ORIGINS[tool])

  assert findings == []
  assert len(faces) == len(SEEDS) and faces[1].where == where
  for seed, face in enumerate(faces):
    np.testing.assert_allclose(face.landmarks, files.landmarks(seed), rtol=0, atol=1e-8)
    np.testing.assert_allclose(face.box, tools.BOX, rtol=0, atol=1e-8)
    assert face.size == (tools.WIDTH, tools.HEIGHT)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_origin_of_the_mark_up_file_decides_and_another_is_warned_of(custom_root, read, tool):
  TOOLS[tool][0](custom_root, SEEDS)
  faces, ((_, message, severity),) = read(1)

  moved = tools.ORIGINS[tool] - 1
  np.testing.assert_allclose(faces[0].landmarks, files.landmarks(0) + moved, rtol=0, atol=1e-8)
  np.testing.assert_allclose(faces[0].box, np.array(tools.BOX) + moved, rtol=0, atol=1e-8)
  name = "label-studio" if tool == "JSON-MIN" else tool
  own = f"{tools.ORIGINS[tool]:g}"
  assert message.startswith(f"{name} itself calls the first pixel's centre {own}, and markup.yaml")
  assert severity == "warning"


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_wrote_is_prepared(custom_root, capfd, tool):
  TOOLS[tool][0](custom_root, SEEDS)
  tools.declare(custom_root, tools.ORIGINS[tool])
  folder = custom_root.parent / "data"
  code = prepare.main(["custom", f"--manual_dir={custom_root}", f"--data_dir={folder}"])
  assert code == 0, capfd.readouterr().err

  rows = [row for rows in prepared.read(folder, "custom/my_faces")[1].values() for row in rows]
  for row in rows:
    seed = int(row["file_name"][-6:-4])
    np.testing.assert_allclose(row["landmarks"], files.landmarks(seed), rtol=0, atol=4e-6)
    np.testing.assert_allclose(row["box_dataset"], tools.BOX, rtol=0, atol=4e-6)
    assert row["visible"].all()
  assert sorted(int(row["file_name"][-6:-4]) for row in rows) == [*SEEDS]


def test_two_groups_of_labelme_are_two_faces_and_points_without_one_a_third(custom_root, read):
  content = tools.labelme(0)
  content["shapes"] = [
    {**shape, "group_id": group}
    for group, seed in ((7, 0), (None, 1), ("b", 2))
    for shape in tools.labelme(seed)["shapes"]
  ]
  write_json(custom_root, content, "images/face 00.json")
  faces, findings = read(0.5)

  assert findings == []
  name = "images/face 00.json"
  expected = [f"{name}, group_id 7", name, f"{name}, group_id 'b'"]
  assert [face.where for face in faces] == expected
  for seed, face in enumerate(faces):
    np.testing.assert_allclose(face.landmarks, files.landmarks(seed), rtol=0, atol=1e-8)
    np.testing.assert_allclose(face.box, tools.BOX, rtol=0, atol=1e-8)


def test_labelme_s_images_are_found_from_its_own_folder_and_with_backslashes(custom_root, read):
  (custom_root / "labels").mkdir()
  content = {**tools.labelme(0), "imagePath": "..\\images\\face 00.png", "version": "6.0.0"}
  del content["imageData"]
  write_json(custom_root, content, "labels/face 00.json")
  faces, findings = read(0.5)

  assert [face.image for face in faces] == ["images/face 00.png"] and findings == []


def test_what_labelme_draws_besides_is_listed_and_missing_points_are_not_annotated(
  custom_root, read
):
  content = tools.labelme(0)
  content["shapes"][1] |= {"label": "Thumb"}
  content["shapes"][2] |= {"shape_type": "polygon", "points": [[1, 2], [3, 4], [5, 6]]}
  write_json(custom_root, content, "images/face 00.json")
  write_json(custom_root, {"more": 1}, "notes.json")
  (face,), findings = read(0.5)

  missing = [name not in list(tools.named(0, 0))[:2] for name in files.NAMES]
  np.testing.assert_array_equal(np.isfinite(face.landmarks).all(-1), missing)
  name = "images/face 00.json"
  assert findings == [
    (name, "shapes of the type 'polygon' are not read, only point and rectangle", "note"),
    ("notes.json", "not labelme's, it has no shapes or no imagePath", "note"),
    (name, "points called 'Thumb' are not read, the mark-up has no such landmark", "note"),
  ]


def test_of_several_annotations_in_label_studio_the_last_not_cancelled_counts(custom_root, read):
  tasks = tools.label_studio(SEEDS)
  for task, seed in zip(tasks[:2], (2, 3), strict=True):
    other = tools.label_studio([seed])[0]["annotations"][0]
    task["annotations"].insert(0, {**other, "created_at": "2024-02-01T00:00:00Z"})
  tasks[1]["annotations"][0]["was_cancelled"] = True
  tasks[3]["annotations"] = []
  write_json(custom_root, tasks)
  faces, findings = read(0.5)

  for face, seed in zip(faces, (2, 1, 2), strict=True):
    np.testing.assert_allclose(face.landmarks, files.landmarks(seed), rtol=0, atol=1e-8)
  assert findings == [
    ("export.json, task [0]", "of several annotations that created last is taken", "note"),
    ("export.json, task [3]", "it has no annotation that was not cancelled", "note"),
  ]


def test_key_points_of_label_studio_belong_to_the_box_above_them(custom_root, read):
  tasks = tools.label_studio([0])
  result = tasks[0]["annotations"][0]["result"]
  for region in tools.label_studio([1])[0]["annotations"][0]["result"]:
    region = {**region, "id": region["id"] + "b"}
    result.append(region | ({"parentID": "box-0b"} if "parentID" in region else {}))
  result[6]["value"]["x"] -= 10
  result.append({**result[6], "id": "empty"})
  write_json(custom_root, tasks)
  faces, findings = read(0.5)

  for face, seed, shift in zip(faces, (0, 1), (0, 6), strict=True):
    np.testing.assert_allclose(face.landmarks, files.landmarks(seed), rtol=0, atol=1e-8)
    expected = np.array(tools.BOX) - [shift, 0, shift, 0]
    np.testing.assert_allclose(face.box, expected, rtol=0, atol=1e-8)
  message = "1 boxes without key-points nested below them, not used"
  assert findings == [("export.json, task [0]", message, "note")]


def test_boxes_of_imglab_that_are_to_be_ignored_or_have_no_parts_are_noted(custom_root, read):
  (custom_root / "faces.xml").write_text(
    tools.imglab([0], more="    <box top='1' left='1' width='2' height='2' ignore='1'/>\n").replace(
      "</image>", "  <box top='1' left='1' width='2' height='2'/>\n  </image>"
    )
  )
  faces, findings = read()

  assert len(faces) == 1
  assert findings == [
    ("faces.xml, line 16", "a box with ignore='1', left out", "note"),
    ("faces.xml, line 17", "no landmark is annotated, left out", "note"),
  ]


def test_parts_of_imglab_may_have_names_and_files_the_letters_of_a_code_page(custom_root, read):
  text = tools.imglab([0])
  for k, name in enumerate(files.NAMES):
    text = text.replace(f"name='{k:02d}'", f"name='{name}'")
  text = text.replace("face 00.png", "für.png")
  for encoding in ("utf-8", "latin-1"):
    (custom_root / "faces.xml").write_bytes(text.encode(encoding))
    (face,), findings = read()

    assert face.image == "images/für.png" and findings == []
    np.testing.assert_allclose(face.landmarks, files.landmarks(0), rtol=0, atol=1e-8)


def test_roboflow_s_folders_are_the_splits(custom_root, capfd):
  tools.write_roboflow(custom_root, {"train": [0, 1], "valid": [2], "test": [3]})
  folder = custom_root.parent / "data"
  code = prepare.main(["custom", f"--manual_dir={custom_root}", f"--data_dir={folder}"])
  assert code == 0, capfd.readouterr().err

  records = prepared.read(folder, "custom/my_faces")[1]
  assert {split: sorted(row["file_name"] for row in rows) for split, rows in records.items()} == {
    "train": [b"train/face 00.png", b"train/face 01.png"],
    "val": [b"valid/face 02.png"],
    "test": [b"test/face 03.png"],
  }
  (row,) = records["val"]
  np.testing.assert_allclose(row["landmarks"], files.landmarks(2), rtol=0, atol=4e-6)
  np.testing.assert_array_equal(row["box_dataset"], tools.BOX)


@pytest.mark.parametrize("dims", [2, 3])
def test_yolo_s_folders_are_the_splits_and_zero_is_not_annotated(custom_root, read, dims):
  tools.write_yolo(custom_root, {"train": [0], "val": [1]}, dims=dims)
  words = tools.yolo_line(0, dims=dims).split()
  words[5 : 5 + dims] = ["0"] * dims
  if dims == 3:
    words[-1] = "1"
  (custom_root / "labels/train/face 00.txt").write_text(" ".join(words))
  faces, findings = read(0.5)

  assert [(face.image, face.split) for face in faces] == [
    ("images/train/face 00.png", "train"),
    ("images/val/face 01.png", "val"),
  ]
  assert findings == [] and np.isnan(faces[0].landmarks[0]).all()
  np.testing.assert_allclose(faces[0].landmarks[1:], files.landmarks(0)[1:], rtol=0, atol=1e-7)
  np.testing.assert_array_equal(faces[0].visible, [False, True, True, True, dims == 2])


@pytest.mark.parametrize(
  ("upright", "size"), [(None, (50, 60)), (True, (50, 60)), (False, (60, 50))]
)
def test_yolo_s_coordinates_are_parts_of_the_upright_size_if_not_said(
  custom_root, read, upright, size
):
  tools.write_yolo(custom_root, {"train": [0]})
  exif = Image.Exif()
  exif[0x0112] = 6
  path = custom_root / "images/train/face 00.png"
  Image.open(path).save(path, exif=exif)
  (face,), _ = read(0.5, more="" if upright is None else f"upright: {str(upright).lower()}\n")

  assert face.size == size
  expected = (files.landmarks(0) + 0.5) * size / [60, 50] - 0.5
  np.testing.assert_allclose(face.landmarks, expected, rtol=0, atol=1e-7)


def test_yolo_s_names_of_key_points_decide_their_order(custom_root, read):
  tools.write_yolo(custom_root, {"train": [0]})
  names = [files.NAMES[k] for k in (1, 0, 2, 4, 3)]
  with (custom_root / "data.yaml").open("a") as file:
    file.write(f"kpt_names:\n  0: [{', '.join(names)}]\n")
  (face,), _ = read(0.5)
  np.testing.assert_allclose(face.landmarks, files.landmarks(0)[[1, 0, 2, 4, 3]], rtol=0, atol=1e-7)


def test_yolo_s_labels_may_be_in_the_folders_of_roboflow_too(custom_root, read):
  tools.write_yolo(custom_root, {"train": [0]})
  (custom_root / "valid").mkdir()
  for kind in ("images", "labels"):
    (custom_root / kind / "train").rename(custom_root / "valid" / kind)
  (face,), findings = read(0.5)
  assert (face.image, face.split, findings) == ("valid/images/face 00.png", "val", [])


def test_a_coco_file_may_have_the_name_and_the_folders_of_cvat(custom_root, capfd):
  (custom_root / "annotations").mkdir()
  write_json(custom_root, files.coco(SEEDS), "annotations/person_keypoints_default.json")
  (custom_root / "images").rename(custom_root / "default")
  (custom_root / "images").mkdir()
  (custom_root / "default").rename(custom_root / "images/default")
  folder = custom_root.parent / "data"
  code = prepare.main(["custom", f"--manual_dir={custom_root}", f"--data_dir={folder}"])
  assert code == 0, capfd.readouterr().err
  records = prepared.read(folder, "custom/my_faces")[1]
  assert sum(map(len, records.values())) == len(SEEDS)


def test_lists_beside_the_mark_up_file_count_more_than_folders(custom_root, read):
  tools.write_yolo(custom_root, {"train": SEEDS})
  (custom_root / "test.txt").write_text("images/train/face 00.png\n")
  assert {face.split for face in read(0.5)[0]} == {None}


def test_predictions_are_a_first_annotation(custom_root, read):
  header = ["id", *files.HEADER[1:], *(f"score{k}" for k in range(5)), "uncertainty0"]
  rows = [
    [name, *files.landmarks(seed).ravel().tolist(), *[0.9] * 5, 1.5]
    for name, seed in (
      ("images/face 00.png", 0),
      ("images/face 00.png#1", 1),
      ("faces/images/face 02.png", 2),
    )
  ]
  files.write_table(custom_root, [header, *rows])
  (custom_root / "landmarks.csv").rename(custom_root / "predictions.csv")
  faces, findings = read(1)

  assert [face.image for face in faces] == [*["images/face 00.png"] * 2, "faces/images/face 02.png"]
  for seed, face in enumerate(faces):
    np.testing.assert_allclose(face.landmarks, files.landmarks(seed), rtol=0, atol=1e-8)
  assert [message for _, message, _ in findings] == [
    "the columns score0, score1, score2 and 3 more are not used",
    "predictions count from 0, so `origin: 1` is not subtracted from them",
  ]
