"""Exit codes, and flags that stand in for a config."""

import pytest

from fal_jax import flag_parser
from fal_jax.errors import Diverged, InputError, Interrupted


@pytest.mark.parametrize(
  ("error", "code"),
  [(InputError("fix it"), 2), (Diverged("loss is NaN"), 3), (Interrupted("stopped"), 75)],
)
def test_an_expected_end_is_its_sentence_on_stderr_and_its_exit_code(capsys, error, code):
  def fail():
    raise error

  assert flag_parser.exit_code(fail) == code
  printed = capsys.readouterr()
  assert (printed.out, printed.err) == ("", f"{error}\n")


def test_a_run_that_finishes_exits_with_0(capsys):
  assert flag_parser.exit_code(lambda: None) == 0
  assert capsys.readouterr().err == ""


def test_a_defect_of_ours_keeps_its_traceback():
  with pytest.raises(ZeroDivisionError):
    flag_parser.exit_code(lambda: 1 / 0)


@pytest.mark.parametrize(
  ("argv", "parsed", "overrides"),
  [
    (["main", "--mode=eval"], ["main", "--mode=eval"], []),
    (
      ["main", "--config.seed=1", "--mode=eval", "--config.crop.face=50"],
      ["main", "--mode=eval"],
      ["--config.seed=1", "--config.crop.face=50"],
    ),
    (
      ["main", "--config=c.py", "--config.seed=1"],
      ["main", "--config=c.py", "--config.seed=1"],
      [],
    ),
    (["main", "-config", "c.py", "--config.seed=1"], None, []),
  ],
)
def test_keys_are_kept_for_the_saved_config_where_no_config_is_given(
  monkeypatch, argv, parsed, overrides
):
  calls = []
  monkeypatch.setattr(flag_parser, "parse", lambda argv: calls.append(argv) or argv[:1])

  assert flag_parser.parse_with_overrides(argv) == ["main", *overrides]
  assert calls == [argv if parsed is None else parsed]
