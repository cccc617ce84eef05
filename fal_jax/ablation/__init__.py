"""`python -m fal_jax.ablation`: trains the rows of a table over seeds and compares them."""
