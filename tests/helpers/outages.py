"""Times in which nothing reaches a bucket of `buckets`, and clients do not try for long."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import buckets
from orbax.checkpoint._src.serialization import tensorstore_utils


@contextlib.contextmanager
def outage(bucket: buckets.Bucket, kind: str) -> Iterator[None]:
  """Lets every request fail, and clients give up at once.

  Args:
    bucket: which.
    kind: see `Bucket.outage`.

  Yields:
    While it lasts.
  """
  contexts = (tensorstore_utils._BASE_TS_CONTEXT, tensorstore_utils._DEFAULT_OCDBT_TS_CONTEXT)
  hasty = {"gcs_request_retries": {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"}}
  with contextlib.ExitStack() as on_exit:
    for context in contexts:
      on_exit.enter_context(mock.patch.dict(context, hasty))
    bucket.outage = kind
    try:
      yield
    finally:
      bucket.outage = ""
