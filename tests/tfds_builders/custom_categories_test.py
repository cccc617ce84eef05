"""COCO files of several categories: names decide which are the mark-up's, and in which order."""

import custom_files as files
import numpy as np
import pytest

SEEDS = range(4)
HAND = ["thumb", "index", "middle", "ring", "pinky"]
NUMBERED = files.MARKUP.replace(f"[{', '.join(files.NAMES)}]", "5")
NUMBERED = NUMBERED.replace("[[right_eye, left_eye], [3, 4]]", "[[0, 1], [3, 4]]")


def with_hands(content, *, keypoints=HAND):
  """Adds a category of key-points of something else, and one annotation of it to every image."""
  content["categories"].append({"id": 2, "name": "hand", "keypoints": keypoints})
  for face in content["annotations"][:]:
    points = [10, 20, 2] * len(keypoints)
    content["annotations"].append({**face, "category_id": 2, "keypoints": points})
  return content


def renamed(content, names):
  """The key-points in the order of other names, which stand for the mark-up's in turn."""
  content["categories"][0]["keypoints"] = list(names)
  return content


def reordered(content, order):
  """Names and coordinates of the file in another order."""
  names = content["categories"][0]["keypoints"]
  content["categories"][0]["keypoints"] = [names[k] for k in order]
  for face in content["annotations"]:
    points = np.reshape(face["keypoints"], (-1, 3))
    face["keypoints"] = points[list(order)].ravel().tolist()
  return content


@pytest.fixture
def built(custom_root, prepare_custom):
  """What `prepare` prints of a COCO file, and file name -> record, checked to be the faces."""

  def built(content, *, markup=files.MARKUP):
    (custom_root / "markup.yaml").write_text(markup)
    files.write_coco(custom_root, content)
    out, _, records = prepare_custom(custom_root)
    rows = {row["file_name"].decode(): row for split in records.values() for row in split}
    for seed in SEEDS:
      found = rows[files.name(seed)]["landmarks"]
      np.testing.assert_allclose(found, files.landmarks(seed), atol=4e-6)
    assert sum(map(len, records.values())) == len(SEEDS)
    return out

  return built


@pytest.fixture
def refused_coco(custom_root, refused):
  def refused_coco(content, *options, markup=files.MARKUP):
    (custom_root / "markup.yaml").write_text(markup)
    files.write_coco(custom_root, content)
    return refused(*options)

  return refused_coco


def test_the_category_with_the_mark_up_s_names_is_taken_and_the_other_counted(built):
  out = built(with_hands(files.coco(SEEDS)))
  hand = "'hand' (thumb, index, middle, ring, pinky)"
  first = "annotations.json, annotations[4]"
  assert f"note: of the category {hand}, not used: 4 of these, the first is {first}" in out


def test_bad_annotations_of_another_category_are_nobody_s_business(built):
  content = with_hands(files.coco(SEEDS))
  content["annotations"][-1] |= {"keypoints": "none", "image_id": None, "bbox": [1]}
  built(content)


def test_if_no_category_has_the_names_all_are_named(refused_coco):
  content = with_hands(renamed(files.coco(SEEDS), ["a", "b", "c", "d", "e"]))
  error = refused_coco(content, "--skip_bad")
  assert "no category has the 5 landmarks of the mark-up (right_eye, left_eye, nose," in error
  assert "the file has 'face' (a, b, c, d, e), 'hand' (thumb, index, middle, ring, pinky)" in error
  assert "write `category: NAME` into markup.yaml" in error


def test_landmarks_without_names_are_the_only_category_of_as_many(built, refused_coco):
  error = refused_coco(with_hands(files.coco(SEEDS)), markup=NUMBERED)
  assert "2 categories have the 5 landmarks of the mark-up; the file has 'face' (" in error
  assert "write `category: NAME` into markup.yaml to choose" in error

  built(with_hands(files.coco(SEEDS), keypoints=HAND[:3]), markup=NUMBERED)


@pytest.mark.parametrize("choice", ["face", "Face", "1", "[face]"])
def test_the_mark_up_file_chooses_by_name_or_number(built, choice):
  out = built(with_hands(files.coco(SEEDS)), markup=f"{NUMBERED}\ncategory: {choice}\n")
  assert "of the category 'hand'" in out


@pytest.mark.parametrize(
  ("choice", "named"),
  [
    ("foot", "there is no category 'foot'; the file has 'face' (right_eye, "),
    ("hand", "'hand' (thumb, index, middle) has 3 key-points, but the mark-up has 5 landmarks"),
  ],
)
def test_a_choice_that_cannot_be_is_refused(refused_coco, choice, named):
  content = with_hands(files.coco(SEEDS), keypoints=HAND[:3])
  assert named in refused_coco(content, markup=f"{files.MARKUP}\ncategory: {choice}\n")


def test_an_annotation_of_an_unknown_category_is_an_error(refused_coco):
  content = with_hands(files.coco(SEEDS))
  content["annotations"][2]["category_id"] = 9
  error = refused_coco(content)
  assert "annotations[2]: its category_id 9 is none of the categories'" in error


@pytest.mark.parametrize("change", ["categories", "category_id", "names"])
def test_what_a_plain_file_need_not_say_is_not_asked_for(built, change):
  content = files.coco(SEEDS)
  if change == "categories":
    del content["categories"]
  for face in content["annotations"]:
    if change == "category_id":
      del face["category_id"]
  if change == "names":
    del content["categories"][0]["keypoints"]
  out = built(content)
  assert ("note: its key-points have no names" in out) == (change != "category_id")


@pytest.mark.parametrize(
  "empty",
  [
    {"keypoints": None, "num_keypoints": 0},
    {"keypoints": [], "num_keypoints": 0, "bbox": [0, 0, 0, 0]},
    {"keypoints": [0] * 15, "num_keypoints": 0, "bbox": [0.0, 0.0, 0.0, 0.0]},
    {"keypoints": [0] * 9, "bbox": [0, 0, 0, 0]},
  ],
)
def test_empty_tracks_are_left_out_with_a_note(built, empty):
  content = files.coco(SEEDS)
  content["categories"].append({"id": 2, "name": "glasses"})
  content["annotations"].append({**content["annotations"][0], **empty})
  content["annotations"].append({"image_id": 100, "category_id": 2, "bbox": [1, 2, 3, 4]})
  out = built(content)
  assert out.count("left out: annotations.json, annotations[4]") == 1
  assert "note: of the category 'glasses' (no key-points), not used: annotations" in out


def test_a_face_that_claims_key_points_and_has_none_is_an_error(refused_coco):
  content = files.coco(SEEDS)
  content["annotations"][1]["keypoints"] = []
  assert "annotations[1]: its keypoints are 0 numbers, expected" in refused_coco(content)


def test_a_box_without_area_is_none(built):
  content = files.coco(SEEDS)
  content["annotations"][0]["bbox"] = [0, 0, 0, 0]
  content["annotations"][1]["bbox"] = [12.5, 9, 30, 0]
  assert "note: its bbox has no area: taken for none: 2 of these" in built(content)


def test_scores_in_the_place_of_visibility_are_annotated_and_visible(
  custom_root, prepare_custom, refused_coco
):
  content = files.coco(SEEDS)
  content["annotations"][0]["keypoints"][2] = 1.5
  assert "the visibility of a landmark is 1.5, expected 0, 1 or 2" in refused_coco(content)

  content["annotations"][0]["keypoints"][2::3] = [0.93, 1.0, 1, 0.0, 0.04]
  files.write_coco(custom_root, content)
  out, _, records = prepare_custom(custom_root)
  assert "note: visibilities are scores from 0 to 1: those above 0 count as annotated and" in out
  row = records["test"][0]
  np.testing.assert_array_equal(np.isfinite(row["landmarks"][:, 0]), [1, 1, 1, 0, 1])
  np.testing.assert_array_equal(row["visible"], [1, 1, 1, 0, 1])


@pytest.mark.parametrize(
  "names",
  [
    files.NAMES,
    ["Right_Eye", "Left_Eye", "Nose", "Right_Mouth", "Left_Mouth"],
    ["right eye", "left-eye", "NOSE", "rightMouth", "left_mouth "],
    ["eye_right", "Eye left", "nose", "mouth_right", "mouth_left"],
  ],
)
def test_key_points_in_another_order_are_known_by_their_names(built, names):
  content = reordered(renamed(files.coco(SEEDS), names), [1, 0, 2, 4, 3])
  out = built(content)
  order = "key-points are put into the mark-up's order: right_eye, left_eye, nose, right_mouth,"
  assert f"note: {order} left_mouth" in out
  assert ("spelled otherwise" in out) == (names[0] in ("Right_Eye", "right eye"))
  assert ("warning: the names of key-points are the mark-up's with" in out) == (
    names[0] == "eye_right"
  )


def test_names_that_are_truly_others_are_a_warning_with_both_orders(built):
  out = built(renamed(files.coco(SEEDS), ["eye_a", "eye_b", "nose", "mouth_a", "mouth_b"]))
  warning = (
    "warning: the names of key-points are not the mark-up's, so nothing tells whether their order "
    "is: eye_a, eye_b, nose, mouth_a, mouth_b in the file, right_eye, left_eye, nose, right_mouth, "
    "left_mouth in markup.yaml"
  )
  assert warning in out


@pytest.mark.parametrize("prefix", ["", "point ", "kp_"])
def test_names_that_only_count_are_a_note(built, prefix):
  out = built(renamed(files.coco(SEEDS), [f"{prefix}{k}" for k in range(1, 6)]))
  assert "note: its key-points are numbered" in out and "warning" not in out


@pytest.mark.parametrize(
  ("names", "named"),
  [
    (
      ["right_eye", "left_eye", "lip_a", "lip_b", "nose"],
      "key-point 4 is 'nose' but landmark 2 is 'nose'",
    ),
    (
      ["L_Ocular", "R_Ocular", "tip", "lip_a", "lip_b"],
      "key-point 0 is 'L_Ocular' but landmark 0 is 'right_eye', of the other side",
    ),
  ],
)
def test_names_that_contradict_the_order_are_refused(refused_coco, names, named):
  error = refused_coco(renamed(files.coco(SEEDS), names), "--skip_bad")
  assert named in error and "write the file's names into `landmarks`" in error


def test_the_library_s_own_names_are_asked_of_nobody(custom_root, prepare_custom):
  (custom_root / "markup.yaml").write_text("name: my_faces\norigin: 0\nmarkup: 19\n")
  content = renamed(files.coco(SEEDS), [f"p{k * 7 % 19}" for k in range(19)])
  points = np.random.default_rng(0).uniform(5, 45, (4, 19, 2))
  for face, own in zip(content["annotations"], points, strict=True):
    face["keypoints"] = np.insert(own, 2, 2, axis=1).ravel().tolist()
  files.write_coco(custom_root, content)
  out, _, records = prepare_custom(custom_root)
  assert "key-points" not in out and sum(map(len, records.values())) == 4
