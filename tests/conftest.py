"""Eight fake CPU devices for every test, and a clean JAX configuration."""

import os
import signal

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A shell that starts a job in the background lets it ignore Ctrl-C; the tests of signals need Python's own handler.
signal.signal(signal.SIGINT, signal.default_int_handler)
