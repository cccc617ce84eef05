"""python -m fal_jax.demo: the page in a browser, computed by this machine."""
