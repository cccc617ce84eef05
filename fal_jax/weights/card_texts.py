"""Flags for what only a person knows about a network, for its model card.

Nothing heavy is imported here: a mistake in a flag is answered at once.
"""

from absl import flags

NAME = flags.DEFINE_string("name", None, "Card: name of the network, e.g. w300-68.")
_TEXTS = {
  "summary": flags.DEFINE_string("summary", None, "Card: one line about the network."),
  "data": flags.DEFINE_string("data", None, "Card: what it was trained on."),
  "licence": flags.DEFINE_string("licence", None, "Card: on which terms it may be used."),
  "notice": flags.DEFINE_string(
    "notice", None, "Card: the line that is printed when it is used; empty: none."
  ),
  "limits": flags.DEFINE_string("limits", None, "Card: where it fails."),
  "command": flags.DEFINE_string("command", None, "Card: the command that trained it."),
}
NAMES = tuple(_TEXTS)


def given() -> dict[str, str]:
  """The texts that the command line has, by their names."""
  return {name: flag.value for name, flag in _TEXTS.items() if flag.value is not None}
