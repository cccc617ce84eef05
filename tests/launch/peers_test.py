"""launch/peers: tuning finds what was planted, systems answer or refuse, the report is current."""

import json
import os
import shutil
import subprocess
import sys

import drawings
import numpy as np
import pytest
import tiny_dataset

from fal_jax.landmarks import markup, tight_boxes
from launch.peers import faces, measure, report, times, tuning
from launch.peers.systems import SYSTEMS, Client, Refused, System

FOLDER = tiny_dataset.ROOT / "launch" / "peers"
FLIP = markup(68).flip


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope="module")
def results():
  return json.loads(measure.RESULTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def timed():
  return json.loads(times.TIMES.read_text(encoding="utf-8"))


def shapes(rng, count):
  """(count, 68, 2) px: random points, with eyes of different distance and direction."""
  points = rng.uniform(0, 200, (count, 68, 2))
  points[:, 45] = points[:, 36] + rng.uniform(30, 90, (count, 2))
  return points


def test_the_mesh_s_mirror_is_the_one_that_is_known():
  mirror = tuning.mesh_mirror()

  known = {33: 263, 133: 362, 61: 291, 78: 308, 127: 356, 234: 454, 58: 288, 70: 300, 107: 336}
  assert {vertex: mirror[vertex] for vertex in known} == known
  assert all(mirror[vertex] == vertex for vertex in (0, 1, 4, 13, 14, 17, 152, 168, 197))
  assert (mirror[mirror] == np.arange(tuning.MESH)).all()


def test_the_vertices_nearest_to_the_annotation_are_chosen_in_pairs_and_once_each(rng):
  mirror = tuning.mesh_mirror()
  planted = np.zeros(68, int)
  middle = np.flatnonzero(np.arange(68) == FLIP)
  planted[middle] = rng.permutation(tuning.MIDLINE)[: len(middle)]
  right = [k for k, name in enumerate(markup(68).names) if name.startswith("right_")]
  half = np.setdiff1d(np.arange(tuning.MESH), tuning.MIDLINE)[:220]
  planted[right] = rng.permutation(half)[: len(right)]
  planted[FLIP[right]] = mirror[planted[right]]

  mesh = rng.uniform(0, 200, (9, 478, 2))
  true = mesh[:, planted] + rng.normal(0, 1, (9, 68, 2))
  mesh[4] = np.nan  # not found

  np.testing.assert_array_equal(tuning.choose_vertices(mesh, true), planted)


def test_the_vertices_that_were_used_are_pairs_and_no_two_are_the_same(results):
  vertices = np.array(results["systems"]["mediapipe"]["vertices"])

  assert len(np.unique(vertices)) == 68
  np.testing.assert_array_equal(tuning.mesh_mirror()[vertices], vertices[FLIP])


def test_a_square_is_as_far_down_and_as_large_as_it_is_told():
  box = np.array([[10.0, 20.0, 50.0, 110.0]])  # sqrt(w h) is 60

  np.testing.assert_allclose(tuning.square(box, down=0.1, scale=1.5), [[-15, 26, 75, 116]])


@pytest.mark.parametrize("planted", [(0.06, 1.36), (-0.2, 0.9), (0.0, 1.2)])
def test_the_search_finds_the_smallest_loss_and_asks_once_for_each_pair(planted):
  asked = []

  def loss(down, scale):
    asked.append((down, scale))
    return (down - planted[0]) ** 2 + 0.3 * (scale - planted[1]) ** 2

  found = tuning.search(loss, start=(0.0, 1.2), steps=(0.05, 0.1), halvings=2)

  np.testing.assert_allclose(found, planted, atol=(0.05 / 8 + 0.1 / 8) + 1e-9)
  assert len(set(asked)) == len(asked) < 60


def test_planted_offsets_are_recovered_and_taken_off(rng):
  pred = shapes(rng, 40)
  offsets = 0.1 * (rng.normal(size=68) + 1j * rng.normal(size=68))
  true = tuning.add_offsets(pred, offsets)
  true[::4] += rng.uniform(-50, 50, (10, 68, 2))  # a minority that is wrong
  pred[3] = np.nan  # and one that was not found

  found = tuning.fit_offsets(pred, true)

  # Medians stay within the few values around what all others say.
  np.testing.assert_allclose(found, offsets, atol=1e-9)
  assert np.isnan(tuning.add_offsets(pred, found)[3]).all()


def test_offsets_turn_and_grow_with_the_face():
  pred = np.zeros((2, 68, 2))
  pred[0, 45], pred[1, 45] = (10, 0), (0, 30)  # upright; three times as large, turned by 90 degrees
  moved = tuning.add_offsets(pred, np.full(68, 0.1 + 0.2j))

  np.testing.assert_allclose(moved[0, 0], (1, 2))
  np.testing.assert_allclose(moved[1, 0], (-6, 3))


def test_no_face_counts_more_than_a_lost_one(rng):
  true = shapes(rng, 4)
  eyes = np.linalg.norm(true[:, 45] - true[:, 36], axis=-1)
  pred = true.copy()
  pred[0, :, 0] += 0.05 * eyes[0]
  pred[1] += 1000
  pred[2] = np.nan

  assert tuning.error(pred, true) == pytest.approx((5 + 2 * tuning.LOST + 0) / 4)


def test_of_several_faces_the_one_that_overlaps_most_is_meant(rng):
  true = shapes(rng, 1)[0]
  (box,) = tight_boxes(true[None])

  assert measure.best_match([], box) is None
  assert measure.best_match([true + 500], box) is None
  np.testing.assert_array_equal(
    measure.best_match([true + 40, true + 2, true + 500], box), true + 2
  )


STAND_IN = """\
import sys
sys.path.insert(0, {adapters!r})
import wire
answers = wire.take_stdout()
print("a library's greeting")
def align(image, box):
  height, width = image.shape[:2]
  return [] if box is None else [[(width, height), box[:2], image[0, 1, :2]]]
wire.serve(answers, align, versions={{"it": "1"}}, weights={{}})
"""


def client(program, *words, folder=FOLDER):
  system = System("it", (program, *words))
  return Client(system, env=folder, onnx=folder)


def test_a_system_is_asked_about_pixels_and_boxes_and_answers_with_points(tmp_path, rng):
  image = rng.integers(0, 256, (4, 3, 3), np.uint8)
  faces.write_ppm(tmp_path / "a.ppm", image)
  stand_in = tmp_path / "it.py"
  stand_in.write_text(STAND_IN.format(adapters=str(FOLDER / "adapters")))

  with client(sys.executable, str(stand_in)) as it:
    assert it.versions == {"it": "1"}
    assert it.ask(tmp_path / "a.ppm", None).faces == []
    (points,) = it.ask(tmp_path / "a.ppm", np.array([1.5, 2, 7, 8])).faces

  np.testing.assert_array_equal(points, [(3, 4), (1.5, 2), image[0, 1, :2]])


@pytest.mark.parametrize(
  ("command", "says"),
  [
    (("{python}", "dlib_peer.py"), "it: dlib cannot be used here"),
    (("{python}", "mediapipe_peer.py"), "it: mediapipe cannot be used here"),
    (("node", "face_api.mjs", "{env}/nowhere"), "it: (face-api cannot be used|there is no node)"),
    (("{env}/no/python", "dlib_peer.py"), "it: there is no .*no/python"),
  ],
)
def test_a_system_that_is_not_installed_refuses_in_one_sentence(command, says):
  with pytest.raises(Refused, match=says) as refusal:
    client(*command)
  assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")


def test_what_cannot_be_installed_is_named_and_the_rest_goes_on(tmp_path):
  (tmp_path / "list").write_text("a==1\n")
  script = """
    source install.sh
    fails() { echo first; echo 'no such version' >&2; return 1; }
    works() { mkdir -p "$1"; }
    for turn in 1 2; do
      install_peer A "$0/a" "$0/list" fails
      install_peer B "$0/b" "$0/list" works
    done
  """
  done = subprocess.run(
    ["bash", "-euc", script, str(tmp_path)], cwd=FOLDER, capture_output=True, text=True, check=True
  )

  left_out = "A is left out, it cannot be installed here: no such version"
  assert done.stdout.splitlines() == [
    f"Installing A into {tmp_path}/a",
    left_out,
    f"Installing B into {tmp_path}/b",
    f"Installing A into {tmp_path}/a",
    left_out,
  ]
  assert not (tmp_path / "a").exists()


def test_the_script_measures_what_is_installed_in_the_folders_it_is_told(tmp_path):
  shutil.copytree(FOLDER, tmp_path / "launch" / "peers")
  (tmp_path / "launch" / "environment.sh").write_text("make_environment() { :; }\n")
  stand_ins = {  # this repository's Python, which makes no environment, and npm, which is broken
    ".venv/bin/python": '[ "$2" = venv ] && echo "no venv" && exit 1\necho "$*"\n',
    "bin/npm": "echo 'no registry' >&2\nexit 1\n",
  }
  for name, lines in stand_ins.items():
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/usr/bin/env bash\n{lines}")
    path.chmod(0o755)

  done = subprocess.run(
    [tmp_path / "launch" / "peers" / "run.sh", "faces", "out"],
    env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    capture_output=True,
    text=True,
    check=True,
  )

  said = [line for line in done.stdout.splitlines() if not line.startswith("Installing")]
  flags = "--data_dir=faces --workdir=out --env=.cache/peers --onnx=out/onnx"
  assert said == [
    "dlib is left out, it cannot be installed here: no venv",
    "mediapipe is left out, it cannot be installed here: no venv",
    "face-api is left out, it cannot be installed here: no registry",
    "-m fal_jax.main --mode=export --weights=w300-68 --formats=onnx --out=out/onnx",
    f"-m launch.peers.measure {flags}",
    f"-m launch.peers.times {flags}",
    "-m launch.peers.report",
  ]


def test_the_readme_has_the_table_of_the_committed_results(results, timed):
  page = (FOLDER / "README.md").read_text(encoding="utf-8")
  assert report.table(results["rows"], timed["rows"]) in page


@pytest.mark.slow
def test_the_figure_shows_every_system_that_was_timed(tmp_path, results, timed):
  report.draw(tmp_path / "peers.png", results["rows"], timed["rows"])

  text = (tmp_path / "peers.svg").read_text()
  for system in {row["system"] for row in results["rows"]}:
    assert f">{report.SEEN.get(system, system)}<" in text
  pixels = drawings.read_rgb(tmp_path / "peers.png")
  for colour in report.OTHERS[:3]:
    rgb = tuple(bytes.fromhex(colour[1:]))
    assert drawings.where(pixels, rgb, 10).sum() > 30


def test_every_committed_row_is_of_a_system_that_is_listed(results):
  names = {system.name for system in SYSTEMS}
  assert {row["system"] for row in results["rows"]} <= names
  assert results["faces"] == 202


def test_a_time_is_the_median_of_rounds():
  rounds = [{"cpu_ms": cpu, "wall_ms": 2 * cpu} for cpu in (3.0, 1.0, 2.0)]
  assert times.summary(rounds) == {"cpu_ms": 2.0, "cpu_ms_range": [1.0, 3.0], "wall_ms": 4.0}
