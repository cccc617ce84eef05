# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The same on a TPU
#
# A training that takes an hour on a laptop's processor takes minutes on an accelerator. This notebook shows that the
# command stays the same, trains for a few steps on whatever the machine has, and says what to change for a long run.

# %% [markdown]
# ## The environment
#
# The next cell finds the copy of the repository that this notebook lies in, or fetches one, and makes the environment
# of its lock file in `.venv`, which takes about a minute the first time. Your notebook's own Python stays as it is.
#
# **On Colab**: open this file there, put the address of the repository into `REPOSITORY`, and run the cells from the
# top. Colab's own Python has other releases of JAX and NumPy than the library needs, which is why an environment is
# made beside it. We had no access to Colab: these same cells were run on Linux machines only.

# %%
REPOSITORY = ""  # its address, if this notebook is not opened in a copy of the repository

import os
import subprocess
import sys
from pathlib import Path

here = Path.cwd()
root = next((f for f in [here, *here.parents] if (f / "launch/colab").is_dir()), here / "fal_jax")
if not root.exists():
  assert REPOSITORY, "Put the address of the repository into REPOSITORY, at the top of this cell."
  subprocess.run(["git", "clone", "--depth=1", REPOSITORY, root], check=True)

os.chdir(root)
sys.path.insert(0, "launch/colab")
import cells

cells.start()

# %% [markdown]
# From here on there are two kinds of cells, both of which run in that environment:
#
# * `%%bash` is what you would type into a terminal. A command that fails stops the notebook.
# * `%%fal_jax` is Python with the library. Names stay from one such cell to the next; `show` shows a picture.
#
# The few cells without such a first line run in the notebook's own Python.

# %% [markdown]
# ## JAX for this machine
#
# The lock file holds JAX for CPUs, which runs everywhere. If the machine has a TPU or a GPU, the library for it is added
# to the environment, for the same release of JAX. If it has none, all below runs on the CPU, slower, and to the same
# end.
#
# On Colab: choose "TPU" under *Runtime, Change runtime type* before you start. Which kind of TPU you are given is Colab's
# decision. **We had no TPU**: that `jax[tpu]` of our release accepts Colab's is not tested. If it does not, the next
# cells say so and go on with the CPU.

# %% language="bash"
# source launch/accelerator.sh
# if kind=$(accelerator 2>/dev/null) && [ "$kind" != cpu ]; then
#   echo "This machine has an accelerator: installing jax[$kind]"
#   install_jax "$kind"
# else
#   echo "No TPU or GPU is visible here: going on with the CPU"
# fi

# %% language="bash"
# python - <<'END'
# import jax
# print(jax.devices())
# print("JAX computes on:", jax.default_backend())
# END

# %% [markdown]
# One TPU serves one process at a time. So trainings run as commands, one after the other, and the `%%fal_jax` cells
# stay on the CPU: they only look at results.

# %% [markdown]
# ## Data

# %% language="bash"
# python -m tfds_builders.prepare synthetic_faces/small --data_dir=runs/notebooks/data

# %% [markdown]
# ## The same command
#
# Nothing in it says TPU. JAX takes the devices that are there, and each batch is split among all of them. What the
# config leaves to the machine (`model.dtype=auto`) becomes bfloat16 on a TPU or GPU and stays float32 on a CPU.
#
# `data.cache=device` puts all decoded crops into the accelerator's memory once; otherwise the host, which has few cores
# on most of these machines, could not cut them out fast enough.

# %% language="bash"
# python -m fal_jax.main --config=configs/demo.py --workdir=runs/notebooks/tpu \
#   --config.data.name=synthetic_faces/small --config.data.dir=runs/notebooks/data --config.data.cache=device \
#   --config.train.epochs=2 --config.optimizer.drop_epochs=1,1.5 --config.eval.every_epochs=1 \
#   --config.eval.boxes="('landmarks',)" --config.log.every_steps=25

# %%
# %%fal_jax
import json
from pathlib import Path

run = Path("runs/notebooks/tpu")
records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
result = json.loads((run / "eval" / "test.json").read_text())
print([record for record in records if "loss" in record][-1])
show(
  run / "eval" / "test_first.jpg",
  f"After {result['provenance']['step']} steps the mean error is {result['nme_ic']:.1f} %: not a network to use, but a "
  "machine that trains.",
  width=900,
)

# %% [markdown]
# ## A run in earnest
#
# What to change, in this order:
#
# | what | here | in earnest |
# |---|---|---|
# | data | `synthetic_faces/small` | `synthetic_faces/large`, or real faces: [tfds_builders](../../tfds_builders/README.md) |
# | config | `configs/demo.py`, cut short | `configs/free_68.py` (input 128, the recipe of the shipped network), or `configs/synthetic.py`, `configs/wflw.py` ... (the paper's, input 256) |
# | batch | 16 | more, if there are many devices: `--config.train.batch_size` must be a multiple of their number, and the learning rate belongs to it |
# | time | to the end | in slices: Colab takes machines back |
#
# For the last one there is a script. It trains for so many minutes, saves, and copies what is worth keeping to a folder
# that outlives the machine, on Colab a mounted Google Drive. On the next machine, copy the folder back and give the
# same command: it goes on at the same step. `launch/train_gpu.sh` is the same for GPUs.
#
# ```bash
# ./launch/train_tpu.sh --config=configs/free_68.py --config.data.dir=data --workdir=runs/free_68 \
#   --minutes=60 --bring=/content/drive/MyDrive/free_68
# ```
#
# A run on eight devices and one on a single one differ only by the order of sums
# ([configs](../../configs/README.md#the-same-run-on-other-devices)). [launch](../README.md) has more on lent machines.
