"""A page without npm: onnxruntime-web from another host, if it is the one that we know."""

import base64
import shutil

import demo_servers
import pytest

from fal_jax.errors import InputError
from fal_jax.output import folders

pytest.importorskip("starlette", reason="needs the extra `demo`")
pytest.importorskip("onnx", reason="needs the extra `export`")
pytestmark = pytest.mark.heavy

WAIT_MS = 300_000
BOX = [174.0, 170.0, 348.0, 341.0]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
  """A copy of the files that a CDN would serve."""
  from fal_jax.export import runtime

  folder = tmp_path_factory.mktemp("dist")
  try:
    runtime.copy(folder)
  except InputError as error:
    pytest.skip(f"onnxruntime-web cannot be fetched: {error}")
  package = folders.home() / f"onnxruntime-web-{runtime.VERSION}" / "node_modules"
  for name, _ in runtime._FILES.values():
    shutil.copyfile(package / "onnxruntime-web" / "dist" / name, folder / name)
  return folder


@pytest.mark.parametrize("tampered", [False, True])
def test_only_the_known_runtime_is_run(tmp_path, dist, visitors, tampered):
  from fal_jax.export import runtime, web
  from fal_jax.weights import pretrained

  if tampered:
    script = dist / runtime._FILES["script"][0]
    script.write_bytes(script.read_bytes() + b"\n")
  with (
    demo_servers.hosting(dist, Access_Control_Allow_Origin="*") as cdn,
    demo_servers.hosting(tmp_path / "page") as host,
  ):
    web.write(pretrained.load("free-68"), tmp_path / "page", detector_name="none", cdn=cdn)
    page = visitors(host)
    page.set_default_timeout(WAIT_MS)
    content = base64.b64encode(demo_servers.portrait()).decode()
    question = {"content": content, "boxes": [BOX], "landmark": 30}
    if tampered:
      with pytest.raises(Exception, match="not the file we know"):
        page.evaluate(demo_servers.ASK_ALL, question)
    else:
      (face,) = page.evaluate(demo_servers.ASK_ALL, question)["faces"]
      assert len(face["landmarks"]) == 68
