"""The one exception that means "the user can mend this"."""


class InputError(ValueError):
  """Bad input from outside: a file, a flag, a config key, an array at the public edge.

  The message is one sentence a person can act on: what is wrong, where, what was got and expected,
  what to do. The command line prints it alone and exits with 2; every other exception is a defect
  of ours and keeps its traceback.
  """
