"""FAN in Flax and PyTorch: from the same weights the same heatmaps, loss, gradients, statistics.

`pytest tests/torch_parity_test.py -s` prints how close they are.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fan_variables import PARAMETERS
from quick_xla import QUICKLY

from fal_jax import losses
from fal_jax.torch_import.state_dict import from_torch_state_dict, network_of, to_torch_state_dict

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="no PyTorch here to compare with: pip install torch")
torch_fan = pytest.importorskip("torch_fan")


def smooth_images(count, side):
  """(count, 3, side, side) float64 in [0, 1]: a few waves across the image."""
  waves = np.random.default_rng(0).normal(size=(4, count, 3, 1))
  angle = 2 * np.pi * np.arange(side) / side
  rows, columns = np.sin(waves[0] * angle + waves[1]), np.cos(waves[2] * angle + waves[3])
  return 0.5 + 0.5 * rows[..., None] * columns[..., None, :]


@pytest.mark.parametrize(("stacks", "landmarks"), PARAMETERS)
def test_the_declaration_that_we_compare_with_has_the_published_counts(stacks, landmarks):
  with torch.device("meta"):
    model = torch_fan.FAN(stacks, landmarks)

  assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[stacks, landmarks]
  norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
  assert norms == {1: 55, 2: 98, 4: 184}[stacks]

  keys = list(model.state_dict())
  assert len(keys) == {1: 334, 2: 599, 4: 1129}[stacks]
  weights = [key for key in keys if not key.endswith("num_batches_tracked")]
  assert len(weights) == {1: 279, 2: 501, 4: 945}[stacks]


@pytest.mark.parametrize(
  ("stacks", "pool", "side"),
  [
    (2, "avg", 256),
    pytest.param(2, "max", 128, marks=pytest.mark.heavy),
    pytest.param(4, "avg", 128, marks=pytest.mark.heavy),
  ],
)
def test_both_frameworks_predict_the_same_heatmaps(stacks, pool, side):
  model = torch_fan.randomise(torch_fan.FAN(stacks, 68, pool=pool))
  network = network_of(model.state_dict()).clone(pool=pool)
  images = np.random.default_rng(0).uniform(size=(1, 3, side, side)).astype(np.float32)
  with torch.no_grad():
    expected = model(torch.from_numpy(images)).permute(0, 1, 3, 4, 2).numpy()
  with jax.default_matmul_precision("highest"):
    apply = jax.jit(network.apply, static_argnums=2, compiler_options=QUICKLY)
    heatmaps = apply(from_torch_state_dict(model.state_dict()), images.transpose(0, 2, 3, 1), False)

  assert expected.shape == (stacks, 1, side // 4, side // 4, 68)
  assert expected.std((1, 2, 3, 4)).min() > 0.5, "too faint for the tolerance"
  difference = np.abs(heatmaps - expected).max()
  spread = expected.std()
  print(f"FAN-{stacks}, {pool}: max difference {difference:.1e} in heatmaps of spread {spread:.1f}")
  np.testing.assert_allclose(heatmaps, expected, rtol=0, atol=1e-4)


def torch_step(model, images, target):
  """A step of PyTorch's in training mode.

  Returns:
    Loss, gradients, running statistics, and how many values per channel each BatchNorm saw.
  """
  counts = {}
  for name, module in model.named_modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.register_forward_hook(
        lambda _, inputs, __, name=name: counts.update({name: inputs[0][:, 0].numel()})
      )

  heatmaps = model.double().train()(torch.from_numpy(images))
  loss = ((heatmaps - torch.from_numpy(target)) ** 2).sum() / target[:, :, 0, 0].size
  loss.backward()

  gradients = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
  after = {key: value.numpy() for key, value in model.state_dict().items()}
  return loss.item(), gradients, after, counts


def our_step(network, variables, images, target):
  """Loss, gradients and running statistics, under PyTorch's names."""

  def loss_of(params):
    heatmaps, updated = network.apply(
      {**variables, "params": params}, images, True, mutable=["batch_stats"]
    )
    return losses.heatmap_l2(heatmaps, target, jnp.ones(())) / target[:, 0, 0].size, updated

  step = jax.jit(jax.value_and_grad(loss_of, has_aux=True), compiler_options=QUICKLY)
  (loss, updated), gradients = step(variables["params"])

  arrays = to_torch_state_dict({"params": gradients}), to_torch_state_dict(updated)
  return float(loss), *({key: tensor.numpy() for key, tensor in tree.items()} for tree in arrays)


def norm(arrays):
  """Of all entries of several arrays together."""
  return np.sqrt(sum((array**2).sum() for array in arrays))


@pytest.mark.heavy
@pytest.mark.parametrize(
  ("stacks", "features", "side", "pool"),
  [
    (2, 32, 64, "max"),
    (2, 256, 128, "avg"),
    (4, 32, 64, "avg"),
  ],
)
def test_a_training_step_has_the_same_loss_gradients_and_statistics_in_float64(
  stacks, features, side, pool
):
  """In float32 neither framework's gradients are accurate to more than 3e-4.

  Nothing could be told apart there.
  """
  model = torch_fan.randomise(torch_fan.FAN(stacks, 68, features=features, pool=pool))
  before = {key: value.double().numpy() for key, value in model.state_dict().items()}
  # With fewer images the lowest BatchNorm would normalise hardly any values.
  images = smooth_images(4 if side == 64 else 2, side)
  target = np.random.default_rng(1).uniform(size=(len(images), 68, side // 4, side // 4))
  variables = from_torch_state_dict(before)
  network = network_of(before).clone(pool=pool)

  loss, gradients, after, counts = torch_step(model, images, target)
  with jax.enable_x64(True):
    variables = jax.tree.map(lambda array: array.astype(np.float64), variables)
    our_loss, our_gradients, our_after = our_step(
      network, variables, images.transpose(0, 2, 3, 1), target.transpose(0, 2, 3, 1)
    )
  dtypes = {array.dtype for array in (*our_gradients.values(), *our_after.values())}
  assert dtypes == {np.dtype(np.float64)}

  assert abs(our_loss - loss) <= 1e-9 * loss

  assert our_gradients.keys() == gradients.keys()
  differences = {key: our_gradients[key] - gradients[key] for key in gradients}
  global_difference = norm(differences.values()) / norm(gradients.values())
  print(
    f"FAN-{stacks}, {pool}: loss {loss:.6f}, difference {abs(our_loss - loss):.1e}; "
    f"gradients' {global_difference:.1e}"
  )
  assert global_difference <= 1e-9

  # None hides in the sum. Biases that the next BatchNorm cancels have nothing but rounding on both
  # sides, below 1e-9.
  for key, gradient in gradients.items():
    assert norm([differences[key]]) <= 1e-9 * norm([gradient]) + 1e-9, key

  assert len(our_after) == 2 * len(counts) == 2 * {2: 98, 4: 184}[stacks]
  for key, ours in our_after.items():
    layer, kind = key.rsplit(".", 1)
    # PyTorch normalises by the biased variance, as we do, but keeps the unbiased one in its running
    # statistics.
    unbiased = counts[layer] / (counts[layer] - 1) if kind == "running_var" else 1
    batch = (ours - 0.9 * before[key]) / 0.1
    theirs = 0.9 * before[key] + 0.1 * unbiased * batch
    np.testing.assert_allclose(theirs, after[key], rtol=1e-9, atol=1e-9, err_msg=key)
