"""Which processes train as one, by what launchers leave in the environment."""

import pytest

from fal_jax.distributed.group import Group, find
from fal_jax.errors import InputError

SLURM = {
  "SLURM_JOB_ID": "7",
  "SLURM_STEP_NODELIST": "node[1-2]",
  "SLURM_NTASKS": "2",
  "SLURM_PROCID": "1",
  "SLURM_LOCALID": "0",
}
ALONE = {"SLURM_NTASKS_PER_NODE": "1", "SLURM_GPUS_ON_NODE": "4"}


@pytest.mark.parametrize(
  "environ",
  [
    {},
    {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
    # A batch script that starts the program without srun runs it once.
    {key: value for key, value in SLURM.items() if key != "SLURM_STEP_NODELIST"},
    {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
    {"TPU_WORKER_HOSTNAMES": "localhost"},
    {"MEGASCALE_NUM_SLICES": "1"},
  ],
)
def test_a_process_without_others_runs_alone(environ):
  assert find(environ) is None


@pytest.mark.parametrize(
  ("environ", "group"),
  [
    (SLURM, Group("Slurm", 1, 2)),
    # JAX gives each task of Slurm one GPU; the only task on a machine shall have all.
    ({**SLURM, **ALONE}, Group("Slurm", 1, 2, local_devices=(0, 1, 2, 3))),
    (
      {**SLURM, "SLURM_STEP_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "2"},
      Group("Slurm", 1, 2, local_devices=(0, 1)),
    ),
    ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, Group("Open MPI", 3, 4)),
    (
      {"TPU_WORKER_HOSTNAMES": "t-0,t-1", "TPU_WORKER_ID": "0"},
      Group("the TPU slice (TPU_WORKER_HOSTNAMES)"),
    ),
    ({"MEGASCALE_NUM_SLICES": "2"}, Group("the TPU slices (MEGASCALE_NUM_SLICES)")),
  ],
)
def test_a_launcher_s_variables_name_the_processes(environ, group):
  assert find(environ) == group


def test_flags_name_the_processes_and_win_over_a_launcher():
  options = {"coordinator": "node1:7777", "process_index": 2, "process_count": 3}
  assert find(SLURM, **options) == Group("--coordinator", 2, 3, "node1:7777")
  assert find({}, coordinator="auto") == Group("--coordinator=auto")
  assert find({}, coordinator="node1:7777", process_index=0, process_count=1) is None


@pytest.mark.parametrize(
  ("environ", "options", "sentence"),
  [
    ({}, {"coordinator": "a:1"}, "need all of --coordinator"),
    ({}, {"process_index": 0, "process_count": 2}, "need all of --coordinator"),
    ({}, {"coordinator": "a", "process_index": 0, "process_count": 2}, "not HOST:PORT"),
    ({}, {"coordinator": ":1", "process_index": 0, "process_count": 2}, "not HOST:PORT"),
    ({}, {"coordinator": "a:1", "process_index": 2, "process_count": 2}, "not one of 0 to 1"),
    ({}, {"coordinator": "auto", "process_index": 0}, "leave --process_index"),
    ({**SLURM, "SLURM_PROCID": "x"}, {}, "SLURM_PROCID='x'"),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, {}, "OMPI_COMM_WORLD_RANK=''"),
  ],
)
def test_incomplete_or_wrong_names_are_a_sentence(environ, options, sentence):
  with pytest.raises(InputError, match=sentence):
    find(environ, **options)
