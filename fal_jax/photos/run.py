"""--mode=predict: finds the files, and refuses a lone bad photograph before JAX is imported."""

from collections.abc import Sequence

from fal_jax.errors import InputError
from fal_jax.output.stopping import stop_on_signal
from fal_jax.photos import sources
from fal_jax.photos.options import Options
from fal_jax.photos.sources import Frame, Item


def run(options: Options, *, command: str) -> None:
  """Predicts all images that the options name, writes the results and says where they are.

  Args:
    options: what, and how.
    command: the command line, for the JSON.

  Raises:
    InputError: an image could not be read, after all others were written; or no face was found
      anywhere; or nothing can be done at all.
    Interrupted: by Ctrl-C or SIGTERM; what was predicted before is written.
  """
  with stop_on_signal(after="image") as stop_requested:
    found = sources.find(options.images, recursive=options.recursive, out=options.out)
    # Where there are results of an earlier call, the writer must take these away first.
    only = None if options.out.exists() else _only_photograph(found.items)

    from fal_jax.photos import predict_files  # imports JAX, which takes a second

    writer = predict_files.run(
      found, options, only=only, stop_requested=stop_requested, command=command
    )
  for line in predict_files.summary(writer, options):
    print(line, flush=True)
  predict_files.check(writer, options, found.items)


def _only_photograph(items: Sequence[Item]) -> Frame | None:
  """Reads a lone photograph, so that a bad one is refused at once.

  Args:
    items: all that there are.

  Returns:
    It, if all that there is is one photograph; otherwise None.

  Raises:
    InputError: it cannot be read.
  """
  if len(items) != 1 or items[0].kind != "image":
    return None
  (frame,) = sources.frames(items)
  if frame.failure:
    raise InputError(frame.failure)
  return frame
