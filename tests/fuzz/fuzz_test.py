"""A thousand damaged files for each parser: read, or refused in one sentence; nothing else."""

import ast
import importlib.util

import fuzz_cases
import fuzz_parsers
import fuzz_run
import pytest
from layering_test import ROOT

CASES = 1000
TEXTS = (".pts", ".txt", ".csv", ".json", ".jsonl", ".yaml", ".xml")

# Calls that read bytes of others, and the modules that make them but for what is no file from
# outside, or is handled elsewhere.
READERS = {"json.loads", "json.load", "yaml.load", "csv.reader", "csv.DictReader", "torch.load"}
READERS |= {
  "zipfile.ZipFile",
  "tarfile.open",
  "expat.ParserCreate",
  "scipy.io.loadmat",
  "h5py.File",
}
READERS |= {"Image.open", "cv2.imdecode", "cv2.VideoCapture", "np.load", "load_safetensors"}
READERS |= {"plain_json.loads"}
NOT_TRIED = {
  "fal_jax.parsing.plain_json": "is what the parsers of JSON call",
  "fal_jax.parsing.isolated": "reads our own requests",
  "fal_jax.parsing.worker": "reads our own requests",
  "fal_jax.parsing.answers": "tests/parsing/isolated_test.py",
  "fal_jax.custom_markup": "JSON in the config of a run; its files are `markup_yaml`",
  "fal_jax.config_json": "configs that we wrote",
  "fal_jax.prepared.fingerprint": "tests/prepared_split_test.py",
  "fal_jax.output.seal": "values of our own, through JSON",
  "fal_jax.output.owner": "tests/output/bucket_test.py",
  "fal_jax.ablation.run": "results that we wrote",
  "fal_jax.ablation.measures": "results that we wrote",
  "fal_jax.weights.exported": "tests/weights/exported_test.py",
  "fal_jax.weights.pretrained": "comes with the package",
  "fal_jax.weights.pack": "results that we wrote",
  "fal_jax.bench.worker": "messages of our own process",
  "fal_jax.bench.trace": "a trace that JAX wrote",
  "fal_jax.bench.first_answer": "output of our own process",
  "fal_jax.photos.outputs": "files that we wrote, of which a damaged line is passed over",
  "fal_jax.photos.video": "FFmpeg, see README.md",
  "tfds_builders.w300vw.frames": "FFmpeg, see README.md",
  "tfds_builders.synthetic_faces.photo": "an image encoded a line before",
  "fal_jax.demo.app": "tests/demo/demo_server_test.py",
  "fal_jax.export.consumers.use_onnx": "an example",
  "fal_jax.export.consumers.use_stablehlo": "an example",
  "fal_jax.export.consumers.use_safetensors": "an example",
}


@pytest.mark.slow
@pytest.mark.parametrize("parser", fuzz_parsers.PARSERS, ids=lambda parser: parser.name)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_in_one_sentence(parser):
  if parser.package and importlib.util.find_spec(parser.package) is None:
    pytest.skip(f"{parser.package} is not installed")
  tally = fuzz_cases.Tally()
  fuzz_run.run(parser, tally, seed=0, until=CASES // parser.slow)
  assert not tally.failures, tally.failures[:5]
  assert tally.read and (tally.refused or parser.lists), "no damage, or nothing else"


@pytest.mark.slow
@pytest.mark.parametrize(
  "parser",
  [each for each in fuzz_parsers.PARSERS if each.file.endswith(TEXTS)],
  ids=lambda parser: parser.name,
)
def test_a_long_row_of_one_thing_takes_no_longer_than_others(parser, tmp_path):
  """Time would grow with the square of its length in a pattern that can split it in many ways."""
  seeds = parser.seeds(tmp_path)
  tally = fuzz_cases.Tally()
  for content in fuzz_cases.rows(seeds):
    fuzz_cases.run(parser, content, tmp_path / parser.file, tally)
  assert not tally.failures, tally.failures[:5]
  assert tally.refused or parser.lists


def test_a_case_is_a_function_of_its_number():
  parser = fuzz_parsers.find(["pts"])[0]
  seeds = [b"1 2\n3 4\n", b"5 6\n"]
  first = [fuzz_cases.case(parser, seeds, seed=0, number=number) for number in range(20)]
  again = [fuzz_cases.case(parser, seeds, seed=0, number=number) for number in range(20)]
  other = [fuzz_cases.case(parser, seeds, seed=1, number=number) for number in range(20)]
  assert first == again != other and len({*first}) > 15


@pytest.mark.parametrize(
  ("failure", "expected"),
  [
    (KeyError("a"), "KeyError: 'a'"),
    (MemoryError(), "MemoryError: "),
    (fuzz_parsers.InputError("two\nlines"), "not one line"),
    (fuzz_parsers.InputError("a" * 2000), "2000 characters"),
    (fuzz_parsers.InputError(f"the word {'a' * 500}"), "509 characters"),
  ],
)
def test_what_is_no_sentence_of_ours_is_a_failure(tmp_path, failure, expected):
  def read(_):
    raise failure

  parser = fuzz_parsers.Parser("x", [], "a", lambda _: [b"seed"], read)
  tally = fuzz_cases.Tally()
  fuzz_cases.run(parser, b"a", tmp_path / "a", tally)
  assert tally.cases == len(tally.failures) == 1 and tally.failures[0].startswith(expected)


@pytest.mark.slow
def test_a_run_goes_on_where_the_last_one_stopped(tmp_path, capsys):
  options = ["--parser=pts", f"--out={tmp_path}", "--seconds=100"]
  assert fuzz_run.main([*options, "--cases=5"]) == 0
  assert "| pts | 5 |" in capsys.readouterr().out
  assert fuzz_run.main([*options, "--cases=8"]) == 0
  assert "| pts | 8 |" in capsys.readouterr().out
  assert fuzz_run.main([*options, "--cases=3", "--restart"]) == 0
  assert "| pts | 3 |" in capsys.readouterr().out
  with pytest.raises(SystemExit, match="no parser 'nothing'; there are pts, "):
    fuzz_run.main(["--parser=nothing"])


def test_every_module_that_reads_files_of_others_is_in_the_table():
  named = {module for parser in fuzz_parsers.PARSERS for module in parser.modules}
  found = set()
  for folder in ("fal_jax", "tfds_builders"):
    for path in (ROOT / folder).rglob("*.py"):
      tree = ast.parse(path.read_text(encoding="utf-8"))
      calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
      if calls & READERS:
        found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
  assert found - named - {*NOT_TRIED} == set(), "add a parser to tests/fuzz/fuzz_parsers.py"
