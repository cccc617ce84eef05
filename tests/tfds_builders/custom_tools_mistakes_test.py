"""Mistakes in annotation tools' files are named by file and place; hostile files do no harm."""

import json
import random

import custom_files as files
import pytest
import tool_files as tools

from fal_jax import custom_markup
from fal_jax.errors import InputError
from tfds_builders.custom.sources import read_folder

SEEDS = range(4)
LABELME = "images/face 01.json"


def labelme(*path, to):
  """One of labelme's files with one value replaced."""
  return json.dumps(tools.changed(tools.labelme(1), *path, to=to))


def label_studio(*path, to):
  """label-studio's export with one value of the second task replaced."""
  return json.dumps(tools.changed(tools.label_studio(SEEDS), 1, *path, to=to))


def region(*path, to):
  return label_studio("annotations", 0, "result", *path, to=to)


def _other_size():
  """The second task's annotations, of an image one pixel wider."""
  text = json.dumps(tools.label_studio(SEEDS)[1]["annotations"])
  return json.loads(text.replace('"original_width": 60', '"original_width": 61'))


def imglab(old, new):
  """imglab's file with one text of the second image replaced."""
  parts = tools.imglab(SEEDS).split("<image ")
  assert old in parts[2]
  parts[2] = parts[2].replace(old, new, 1)
  return "<image ".join(parts)


# Tool -> mistake -> the file's text, and what the one line about it says.
MISTAKES = {
  "labelme": {
    "cut short": (json.dumps(tools.labelme(1))[:-40], f"{LABELME}: is not valid JSON ("),
    "of something else": ('{"shape": []}', f"{LABELME}: not labelme's, it has no shapes"),
    "shapes no list": (labelme("shapes", to=3), f"{LABELME}: imagePath is 'face 01.png', shapes"),
    "no image": (labelme("imagePath", to="none.png"), f"{LABELME}: there is no image "),
    "image elsewhere": (labelme("imagePath", to="/etc/passwd"), "image '/etc/passwd' is outside"),
    "climbs out": (labelme("imagePath", to="../../x.png"), "image '../x.png' is outside"),
    "shape no object": (labelme("shapes", 2, to=7), f"{LABELME}: shapes[2] is 7, expected a label"),
    "group no number": (labelme("shapes", 2, "group_id", to=[1]), "shapes[2] is {'label'"),
    "label no text": (labelme("shapes", 2, "label", to=None), "label of a shape is missing"),
    "point of one number": (
      labelme("shapes", 1, "points", to=[[3]]),
      f"{LABELME}: a point of 'Nose' is [3], expected x and y",
    ),
    "two points": (
      labelme("shapes", 1, "points", to=[[3, 4], [5, 6]]),
      "the points of the point 'Nose' are [[3, 4], [5, 6]], expected 1",
    ),
    "a truth": (
      labelme("shapes", 1, "points", to=[[3, True]]),
      "'Nose' is True, expected a number",
    ),
    "a text": (labelme("shapes", 1, "points", to=[["3", 4]]), "'Nose' is '3', expected a number"),
    "hundreds of digits": (labelme("shapes", 1, "points", to=[[10**400, 4]]), "'Nose' is 1000"),
    "nan": (labelme("shapes", 1, "points", to=[[float("nan"), 4]]), "holds the number NaN"),
    "point twice": (
      labelme("shapes", 2, "label", to="nose"),
      f"{LABELME}: the landmark 'nose' is there twice; are these two faces?",
    ),
    "two boxes": (
      labelme("shapes", 1, to={**tools.labelme(1)["shapes"][0], "label": "face"}),
      f"{LABELME}: 2 rectangles belong to these points",
    ),
    "box without extent": (
      labelme("shapes", 0, "points", to=[[3, 4], [3, 9]]),
      f"{LABELME}: its box has no extent",
    ),
    "another size": (labelme("imageWidth", to=61), "should be 61 x 50, they are 60 x 50"),
    "an infinite size": (
      labelme("imageWidth", to=60.5).replace("60.5", "1e999"),
      f"{LABELME}: imageWidth and imageHeight are inf and 50, expected the image's size",
    ),
  },
  "label-studio": {
    "task no object": (label_studio(to=3), "export.json, task [1]: it is 3, expected a task"),
    "no image": (label_studio("data", to={"n": 3}), "task [1]: its data are {'n': 3}, expected"),
    "image that is not there": (
      label_studio("data", "image", to="/data/upload/1/9d3f2f77-none.png"),
      "the image '/data/upload/1/9d3f2f77-none.png' is outside",
    ),
    "annotations no list": (label_studio("annotations", to={}), "its annotations are {}, expected"),
    "result no list": (region(to=None), "task [1]: its result is missing, expected a list"),
    "value no object": (region(2, "value", to=[1]), "the value of a keypointlabels is [1]"),
    "turned": (region(2, "image_rotation", to=90), "image_rotation is 90: the image was turned"),
    "without size": (
      region(2, "original_width", to=None),
      "original_height of a region are missing and 50, expected",
    ),
    "a side of hundreds of digits": (
      region(2, "original_width", to=10**400),
      "original_width and original_height of a region are 1000",
    ),
    "an infinite side": (
      region(2, "original_width", to=60.5).replace("60.5", "1e999"),
      "original_height of a region are inf and 50, expected",
    ),
    "two labels": (region(2, "value", "keypointlabels", to=["a", "b"]), "are ['a', 'b'], expected"),
    "no number": (region(2, "value", "x", to=None), "the point 'left-mouth' is missing, expected"),
    "huge": (region(2, "value", "x", to=1e300), "the point 'left-mouth' is 1e+300, expected"),
    "box without extent": (region(0, "value", "width", to=0), "task [1]: its box has no extent"),
    "two faces in one": (
      region(2, "value", "keypointlabels", to=["nose"]),
      "task [1], face 0: the landmark 'nose' is there twice",
    ),
    "another size": (
      label_studio("annotations", to=_other_size()),
      "should be 61 x 50, they are 60 x 50",
    ),
  },
  "imglab": {
    "no number": (imglab("name='01' x='", "name='01' x='left"), "x of a part: 'left"),
    "infinite": (imglab("width='40'", "width='1e999'"), "width of a box: '1e999' is out of range"),
    "far away": (imglab("left='10'", "left='1e12'"), "left of a box is '1e12', which is no pixel"),
    "without y": (imglab(" y='", " z='"), "faces.xml, line 18: a part lacks the attribute y"),
    "part twice": (imglab("name='01'", "name='00'"), "line 18: the landmark '00' is there twice"),
    "no extent": (imglab("width='40'", "width='0'"), "line 18: its box has width 0 and height 36"),
    "without a file": (imglab("file='", "fil='"), "faces.xml, line 18: missing image name"),
    "an image that is not there": (imglab("face 01", "none"), "no image 'images/none.png'"),
    "cut short": (tools.imglab(SEEDS)[:-20], "faces.xml, line 47: not XML, no element found"),
    "and sign": (
      imglab("face 01.png", "a&b.png"),
      "faces.xml, line 17: not XML, not well-formed (invalid token) (write & and ' in names as",
    ),
    "entities": (
      tools.imglab(SEEDS).replace(
        "<dataset>", "<!DOCTYPE d [<!ENTITY a 'b'><!ENTITY c '&a;&a;'>]><dataset>&c;", 1
      ),
      "faces.xml: it has a document type or entities, which are not read: remove them",
    ),
    "external entity": (
      tools.imglab(SEEDS).replace("<dataset>", "<!DOCTYPE d SYSTEM '/etc/passwd'><dataset>", 1),
      "faces.xml: it has a document type or entities, which are not read: remove them",
    ),
    "unknown encoding": (
      tools.imglab(SEEDS).replace("ISO-8859-1", "ISO-8859-99").replace("face 01", "f\udce9"),
      "faces.xml: not XML, unknown encoding: ISO-8859-99: save it as UTF-8",
    ),
    "nested deeply": (
      tools.imglab(SEEDS).replace("<images>", "<images>" * 10_000),
      "faces.xml: line 6: elements are nested 21 deep",
    ),
  },
}
NAMES = {"labelme": LABELME, "label-studio": "export.json", "imglab": "faces.xml"}
CASES = [(tool, mistake) for tool, mistakes in MISTAKES.items() for mistake in mistakes]


@pytest.mark.parametrize(("tool", "mistake"), CASES)
def test_a_bad_file_is_refused_with_one_line_for_each_problem(custom_root, refused, tool, mistake):
  if tool == "labelme":
    tools.write_labelme(custom_root, SEEDS)
  tools.declare(custom_root, tools.ORIGINS[tool])
  content, named = MISTAKES[tool][mistake]
  # Bytes that are not UTF-8 stand as surrogates.
  (custom_root / NAMES[tool]).write_bytes(content.encode("utf-8", "surrogateescape"))
  error = refused()

  assert len([line for line in error.splitlines() if named in line]) == 1, error
  assert max(map(len, error.splitlines())) < 500


YOLO = {
  "numbers": ("0 0.5 0.5 0.2", "it has 4 numbers, expected 20: class, box, and 3 for each of 5"),
  "pixels": (
    tools.yolo_line(0).replace(" 2 ", " 2 30.5 ", 1).rsplit(" ", 1)[0],
    "its coordinates are not parts of the image's size, from 0 to 1",
  ),
  "prediction": (tools.yolo_line(0)[:-1] + "0.9", "the visibility of a landmark is 0.9, expected"),
  "text": (tools.yolo_line(0)[:-1] + "two", "'two' is not a decimal number"),
  "no extent": (
    " ".join(["0 0.5 0.5 0 0", *tools.yolo_line(0).split()[5:]]),
    "its box has width 0",
  ),
}


@pytest.mark.parametrize("mistake", YOLO)
def test_a_bad_line_of_yolo_is_named(custom_root, refused, mistake):
  tools.write_yolo(custom_root, {"train": SEEDS})
  tools.declare(custom_root, 0.5)
  line, named = YOLO[mistake]
  (custom_root / "labels/train/face 01.txt").write_text(f"{tools.yolo_line(1)}\n{line}\n")
  assert f"  labels/train/face 01.txt, line 2: {named}" in refused()


def test_yolo_s_files_that_do_not_fit_are_refused(custom_root, refused):
  tools.write_yolo(custom_root, {"train": SEEDS})
  tools.declare(custom_root, 0.5)
  labels = custom_root / "labels/train"
  (labels / "none.txt").write_text(tools.yolo_line(0))
  expected = "none.txt: expected one image of this name in images/train, found none"
  assert f"  labels/train/{expected}" in refused()

  (labels / "none.txt").unlink()
  (labels / "face 01.txt").write_text("1" + tools.yolo_line(1)[1:])
  assert "of the classes 0 (labels/train/face 00.txt, line 1), 1 (labels/train/face 01" in refused()

  for text, named in (
    ("kpt_shape: [17, 3]", "kpt_shape is [17, 3], expected [5, 3] or [5, 2] for a mark-up of 5"),
    (
      "kpt_shape: [5, 3]\nkpt_names: {0: [a, b, c, d, e]}",
      "kpt_names lacks the landmarks right_eye",
    ),
    ("kpt_shape: &a [*a]", "not plain YAML"),
  ):
    (custom_root / "data.yaml").write_text(text)
    assert named in refused()


def test_names_of_no_landmark_and_numbers_that_may_be_two_are_refused(custom_root, refused):
  (custom_root / "faces.xml").write_text(tools.imglab(SEEDS).replace("name='0", "name='point 0"))
  assert "no point is called as a landmark of the mark-up file; they are called 'point 00'" in (
    refused()
  )
  text = tools.imglab(SEEDS).replace("name='00'", "name='nine'").replace("name='nine'", "name='03'")
  (custom_root / "faces.xml").write_text(text.replace("name='04'", "name='02'"))
  assert "called 1 to 3, which may count from 0 or from 1 with 5 in the mark-up" in refused()


def test_a_folder_of_whom_nothing_is_read_says_what_it_holds(custom_root, refused):
  error = refused()
  there = "only 4 .png (images/face 00.png, ...), 1 .yaml (markup.yaml)"
  read = "expected landmarks.csv, annotations.json (COCO), .pts files beside the images, labelme's"
  assert f"holds no landmarks that are read, {there}: {read} JSON, label-studio's JSON" in error

  (custom_root / "my_points.csv").write_text("image,x0,y0\n")
  assert "; is it my_points.csv? Rename it to landmarks.csv." in refused()
  (custom_root / "my_points.csv").unlink()

  for name, text, whose in (
    ("via.json", '{"_via_settings": {}, "_via_img_metadata": {}}', "VIA"),
    ("a.png.json", '{"description": "", "size": {}, "objects": []}', "Supervisely"),
    ("default.json", '{"info": {}, "categories": {}, "items": []}', "Datumaro"),
    ("results.json", '[{"image_id": 1, "keypoints": [], "score": 1}]', "COCO's results"),
    ("annotations.xml", "<?xml version='1.0'?><annotations></annotations>", "CVAT"),
    ("face 00.xml", "<annotation><folder/></annotation>", "Pascal VOC"),
  ):
    (custom_root / name).write_text(text)
    assert f"; {name} is of {whose}, which is not read: export it as COCO" in refused()
    (custom_root / name).unlink()


def test_two_formats_or_two_files_of_one_are_refused(custom_root, refused):
  tools.write_labelme(custom_root, SEEDS)
  (custom_root / "faces.xml").write_text(tools.imglab(SEEDS))
  assert "landmarks more than once, in images/face 00.json and faces.xml: keep one" in refused()

  for file in (custom_root / "images").glob("*.json"):
    file.unlink()
  (custom_root / "faces.xml").unlink()
  for name in ("a.json", "b.json"):
    (custom_root / name).write_text(json.dumps(files.coco(SEEDS)))
  assert "several files of one format, a.json, b.json: keep one, or call the right one" in refused()


def test_face_landmarks_of_coco_whole_body_are_named(custom_root, refused):
  content = files.coco(SEEDS)
  for face in content["annotations"]:
    face |= {"keypoints": [1] * 51, "face_kpts": face["keypoints"]}
  files.write_coco(custom_root, content)
  assert "of COCO-WholeBody, whose landmarks of the face stand in face_kpts" in refused()


def test_coordinates_from_0_to_1_are_recognised(custom_root, refused):
  rows = [[row[0], *[value / 60 for value in row[1:]]] for row in files.rows(SEEDS)[1:]]
  files.write_table(custom_root, [files.HEADER, *rows])
  error = refused()
  assert "4 problems" in error and error.count("parts of the image's size, as MediaPipe's?") == 4


def test_a_file_of_a_gigabyte_is_not_read(custom_root, refused):
  for name in ("faces.json", "faces.xml"):
    with (custom_root / name).open("wb") as file:
      file.write(b"<dataset>")
      file.truncate(2**30)
    assert f"{name} has 1,073,741,824 bytes, more than the" in refused()
    (custom_root / name).unlink()


@pytest.mark.parametrize("tool", ["labelme", "label-studio", "imglab", "YOLO"])
def test_any_damage_is_reported_and_none_is_a_defect(custom_root, tool):
  """One byte after another is replaced, removed or repeated."""
  tools.declare(custom_root, tools.ORIGINS[tool])
  if tool == "YOLO":
    tools.write_yolo(custom_root, {"train": SEEDS})
    path = custom_root / "labels/train/face 01.txt"
  else:
    path = custom_root / NAMES[tool]
    texts = {
      "labelme": json.dumps(tools.labelme(1)),
      "label-studio": json.dumps(tools.label_studio([1])),
      "imglab": tools.imglab([1]),
    }
    path.write_text(texts[tool])

  data = path.read_bytes()
  inside = sorted(custom_root.rglob("*"))
  images = [file for file in inside if file.suffix == ".png"]
  content = custom_markup.read_file(custom_root / "markup.yaml")
  randomness = random.Random(0)
  refused_or_noted = 0
  for _ in range(150):
    at, length = randomness.randrange(len(data)), randomness.choice([1, 1, 4, 40])
    new = randomness.choice(
      [b"", b"\0", b"-", b"9" * 9, b'"', b"null", b"\xff", data[at : at + 90]]
    )
    path.write_bytes(data[:at] + new + data[at + length :])
    findings = []
    try:
      faces = read_folder(custom_root, inside, images, content=content, findings=findings)
    except InputError as error:
      refused_or_noted += 1
      assert len(str(error)) < 1500
      continue
    refused_or_noted += bool(findings)
    assert all(face.landmarks is None or face.landmarks.shape == (5, 2) for face in faces)
    assert all(len(finding.message) < 500 for finding in findings)
  assert refused_or_noted > 50
