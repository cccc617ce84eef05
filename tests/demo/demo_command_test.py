"""python -m fal_jax.demo: its address, its end, and what is wrong with its flags."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny_dataset
from demo_servers import BYTES, ask, portrait

from fal_jax import affine
from fal_jax.demo import load, serve
from fal_jax.errors import InputError
from fal_jax.images import read_image
from fal_jax.predict import FaceAligner

pytest.importorskip("starlette", reason="needs the extra `demo`")


def test_a_port_that_is_taken_is_replaced_only_where_none_was_asked_for(capsys):
  with serve.listen("127.0.0.1", 0, or_any=False) as first:
    port = first.getsockname()[1]
    with serve.listen("127.0.0.1", port, or_any=True) as second:
      assert second.getsockname()[1] not in (0, port)
    assert f"Port {port} is taken" in capsys.readouterr().out
    with pytest.raises(InputError, match=f"--port={port}.*--port=0"):
      serve.listen("127.0.0.1", port, or_any=False)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "8.8.8.8", "a" * 300])
def test_a_host_that_is_not_ours_is_one_sentence(host):
  with pytest.raises(InputError, match="Nothing can listen"):
    serve.listen(host, 0, or_any=True)


def test_the_address_can_be_opened_whatever_is_listened_at():
  with serve.listen("0.0.0.0", 0, or_any=False) as listening:
    port = listening.getsockname()[1]
    assert serve.address("0.0.0.0", listening) == f"http://127.0.0.1:{port}/"
    assert serve.address("::", listening) == f"http://[::1]:{port}/"
    assert serve.address("localhost", listening) == f"http://localhost:{port}/"


def test_a_network_or_detector_that_is_not_there_is_one_sentence(monkeypatch, capsys):
  with pytest.raises(InputError, match="no/such/run"):
    load.load_network("no/such/run")
  with pytest.raises(InputError, match="nothing"):
    load.load_detector("nothing")

  def none(_):
    raise InputError("None is installed.")

  monkeypatch.setattr(load.detect, "load_detector", none)
  assert load.load_detector(None) is None
  assert "asks for boxes. None is installed." in capsys.readouterr().out


def demo(*flags, program="-m", **environment):
  command = [sys.executable, "-W", "error", program, *flags]
  return subprocess.Popen(
    command,
    cwd=tiny_dataset.ROOT,
    env={**os.environ, **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.slow
def test_without_the_extra_one_sentence_names_it():
  program = (
    "import sys; sys.modules['uvicorn'] = None; sys.argv = ['demo']; import runpy; "
    "runpy.run_module('fal_jax.demo', run_name='__main__')"
  )
  with demo(program, program="-c") as process:
    out, err = process.communicate()
  assert process.returncode == 2 and out == ""
  assert err.count("\n") == 1 and "pip install 'fal_jax[demo]'" in err


@pytest.mark.heavy
def test_it_says_where_it_is_answers_like_the_library_and_ends_quietly():
  """The points of the page are those of FaceAligner in the same box."""
  photo = portrait()
  with demo("fal_jax.demo", "--port=0") as process:
    line = process.stdout.readline()
    url = line.split()[1]
    assert line == f"Open {url} in a browser; Ctrl-C ends it.\n"
    name = json.loads(ask(f"{url}api/photos", photo, BYTES)[2])["id"]
    box = [174.0, 170.0, 348.0, 341.0]
    (face,) = json.loads(ask(f"{url}api/photos/{name}/align", {"boxes": [box]})[2])["faces"]
    question = {"box": box, "landmark": 30}
    heatmap = json.loads(ask(f"{url}api/photos/{name}/heatmap", question)[2])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
  assert (process.returncode, out.strip(), err) == (0, "", "")

  aligner = FaceAligner.from_pretrained("free-68")
  image = read_image(photo)
  faces = aligner(image, np.array([box]))
  np.testing.assert_allclose(face["landmarks"], faces.landmarks[0], atol=1e-3)
  np.testing.assert_allclose(face["scores"], faces.scores[0], atol=1e-5)

  values = np.array(heatmap["values"]).reshape(heatmap["size"], heatmap["size"])
  x, y = heatmap["readings"]["argmax"]
  assert values[int(y), int(x)] == values.max()
  assert values.max() == pytest.approx(face["scores"][30], abs=1e-5)
  calibrated = np.array(heatmap["readings"]["calibrated"])
  point = affine.apply(np.array(heatmap["photo_from_heatmap"]), calibrated)
  np.testing.assert_allclose(point, faces.landmarks[0, 30], atol=1e-2)
