"""Mistakes in `annotations.json` are named by the number of the annotation, all at once."""

import json

import custom_files as files
import pytest

SEEDS = range(4)


def face(**changes):
  return lambda content: content["annotations"][1].update(changes)


KEYPOINTS = files.coco(SEEDS)["annotations"][1]["keypoints"]
COCO = {
  "not an object": (
    lambda _: [1],
    "annotations.json is not a COCO file, it has no list annotations and no list images",
  ),
  "no annotations": (lambda content: {"images": content["images"]}, "it has no list annotations."),
  "of another image": (
    face(image_id=7),
    "annotations.json, annotations[1]: no image has its image_id",
  ),
  "without keypoints": (
    face(keypoints=None),
    "annotations[1]: its keypoints are missing, expected x, y, v of 5 landmarks",
  ),
  "of another mark-up": (
    face(keypoints=KEYPOINTS[:12]),
    "its keypoints are 12 numbers, expected x, y, v of 5 landmarks, 15",
  ),
  "texts": (face(keypoints=[*KEYPOINTS[:14], "2"]), "annotations[1]: its keypoints are ["),
  "truths": (face(keypoints=[*KEYPOINTS[:14], True]), "annotations[1]: its keypoints are ["),
  "null": (face(keypoints=[*KEYPOINTS[:14], None]), "annotations[1]: its keypoints are ["),
  "nan": (
    face(keypoints=[float("nan"), *KEYPOINTS[1:]]),
    "holds the number NaN; mark landmarks that are not annotated",
  ),
  "hundreds of digits": (
    face(keypoints=[10**400, *KEYPOINTS[1:]]),
    "annotations[1]: its keypoints are [1000",
  ),
  "fourth visibility": (
    face(keypoints=[*KEYPOINTS[:14], 3]),
    "the visibility of a landmark is 3, expected 0, 1 or 2",
  ),
  "box of corners": (
    face(bbox=[40, 36, -10, -8]),
    "its bbox is [40, 36, -10, -8], expected x, y, width, height",
  ),
  "box of two": (face(bbox=[40, 36]), "its bbox is [40, 36]"),
  "image id twice": (
    lambda content: content["images"].append(content["images"][0]),
    "the id 100 belongs to two images",
  ),
  "image without a name": (
    lambda content: content["images"].append({"id": 3}),
    "images[4] is {'id': 3}, expected an id and",
  ),
  "image elsewhere": (
    lambda content: content["images"][1].update(file_name="../a.png"),
    "the image '../a.png' is outside",
  ),
  "image turned": (
    lambda content: content["images"][1].update(width=50, height=60),
    "width and height of images/face 01.png should be 50 x 60, they are 60 x 50: "
    "turned or resized?",
  ),
  "face twice": (
    lambda content: content["annotations"].append(content["annotations"][1]),
    "annotations.json, annotations[4]: "
    "same image and landmarks as annotations.json, annotations[1]",
  ),
}


@pytest.mark.parametrize("mistake", COCO)
def test_a_bad_file_is_refused_with_one_line_for_each_problem(custom_root, refused, mistake):
  change, named = COCO[mistake]
  content = json.loads(json.dumps(files.coco(SEEDS)))
  content = change(content) or content
  files.write_coco(custom_root, content)
  error = refused()
  assert len([line for line in error.splitlines() if named in line]) == 1, error
  assert max(map(len, error.splitlines())) < 500


@pytest.mark.parametrize(
  ("content", "named"),
  [("{", "is not valid JSON ("), ("[" * 100_000, "is not valid JSON ("), ("", "is empty")],
)
def test_a_broken_file_is_refused(custom_root, refused, content, named):
  (custom_root / "annotations.json").write_text(content)
  assert named in refused()
