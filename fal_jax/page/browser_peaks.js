// Where the peak of a heatmap lies: `fal_jax.peaks`, in double precision.
//
// A heatmap is {size, values}, row by row. Positions are [x, y] in heatmap px, (0, 0) being the
// centre of the first cell.

const FIT_STEPS = 8;
const WIDTH_DAMPING = 1e-2;
const MAX_LOG_WIDTH = 0.4;

// What several decoders say about one heatmap; codec is {sigma, window, temperature}.
export function readings(heatmap, codec) {
  const cell = peakCell(heatmap);
  const patch = windowAround(heatmap, cell, Math.max(3, codec.window));
  const soft = softmaxMean(patch, codec.temperature);
  const fit = gaussianFit(patch, soft, codec.sigma);
  return {
    argmax: cell,
    local_softargmax: [cell[0] + soft[0], cell[1] + soft[1]],
    calibrated: [cell[0] + fit[0], cell[1] + fit[1]],
  };
}

// The highest cell; of equal ones the first in reading order.
function peakCell({ size, values }) {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at] > values[best]) best = at;
  return [best % size, Math.floor(best / size)];
}

// The cells around one, [{dx, dy, heat}], without those beyond the map; reach is theirs.
function windowAround({ size, values }, [x, y], side) {
  const reach = (side - 1) / 2;
  const cells = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const inside = x + dx >= 0 && x + dx < size && y + dy >= 0 && y + dy < size;
      if (inside) cells.push({ dx, dy, heat: values[(y + dy) * size + x + dx] });
    }
  }
  return { reach, cells };
}

// Mean position under softmax(temperature * heat), Eq. 4-5 of the paper.
function softmaxMean({ cells }, temperature) {
  const highest = Math.max(...cells.map(({ heat }) => heat));
  let [total, x, y] = [0, 0, 0];
  for (const { dx, dy, heat } of cells) {
    const share = Math.exp(temperature * (heat - highest));
    total += share;
    x += share * dx;
    y += share * dy;
  }
  return [x / total, y / total];
}

// The centre of the Gaussian that fits best in position, height and width, by Gauss-Newton.
function gaussianFit({ reach, cells }, start, sigma) {
  let [x, y, logWidth] = [...start, 0];
  for (let step = 0; step < FIT_STEPS; step++) {
    const precision = Math.exp(-2 * logWidth) / sigma ** 2;
    const model = cells.map(({ dx, dy, heat }) => {
      const [fromX, fromY] = [dx - x, dy - y];
      const square = fromX ** 2 + fromY ** 2;
      const shape = Math.exp(-0.5 * precision * square);
      const slopes = [fromX, fromY, square].map((part) => shape * precision * part);
      return { heat, shape, weight: shape ** 2, slopes };
    });
    const total = (term) => model.reduce((sum, cell) => sum + cell.weight * term(cell), 0);

    // The model is linear in its height: solve for it, and remove it from residual and slopes.
    const norm = total(({ shape }) => shape ** 2);
    const height = Math.max(total(({ shape, heat }) => shape * heat) / norm, 1e-6);
    for (const index of [0, 1, 2]) {
      const overlap = total(({ shape, slopes }) => slopes[index] * shape) / norm;
      for (const cell of model) cell.slopes[index] -= cell.shape * overlap;
    }

    const curvature = [0, 1, 2].map((i) =>
      [0, 1, 2].map((j) => total(({ slopes }) => slopes[i] * slopes[j])),
    );
    const pull = [0, 1, 2].map((i) =>
      total(({ slopes, heat, shape }) => slopes[i] * (heat / height - shape)),
    );
    curvature[2][2] += WIDTH_DAMPING;
    pull[2] -= WIDTH_DAMPING * logWidth;
    const [dx, dy, dWidth] = solveSymmetric(curvature, pull);

    // Short steps within the window: far from the peak the equations are not to be trusted.
    x = clip(x + clip(dx, 0.5), reach);
    y = clip(y + clip(dy, 0.5), reach);
    logWidth = clip(logWidth + clip(dWidth, 0.2), MAX_LOG_WIDTH);
  }
  return [x, y];
}

function clip(value, limit) {
  return Math.min(Math.max(value, -limit), limit);
}

// A symmetric 3 x 3 system; 0 where it is singular.
function solveSymmetric([[a, b, c], [, d, e], [, , f]], right) {
  const adjugate = [
    [d * f - e * e, c * e - b * f, b * e - c * d],
    [c * e - b * f, a * f - c * c, b * c - a * e],
    [b * e - c * d, b * c - a * e, a * d - b * b],
  ];
  const determinant = a * adjugate[0][0] + b * adjugate[0][1] + c * adjugate[0][2];
  if (determinant <= 1e-12) return [0, 0, 0];
  return adjugate.map((row) => row.reduce((sum, x, i) => sum + x * right[i], 0) / determinant);
}
