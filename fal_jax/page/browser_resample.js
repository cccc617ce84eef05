// Resampling as the library does it with OpenCV, so that both see the same pixels.
//
// An image is {width, height, data}: RGB or RGBA bytes, row by row. All maps are parallel to the
// axes. A line {start, step} says where they come from, per axis: result px i is at start + step * i
// of the source, (0, 0) being the centre of the first pixel. Results are RGB; black outside.

// The pixels of a square, `fal_jax.crop.extract`: first averaged by a whole factor where the image
// shrinks to less than half, since bilinear samples alone would skip pixels.
export function extract(image, x, y, size) {
  const factor = Math.trunc(Math.min(x.step, Math.max(image.width, image.height)));
  if (factor < 2) return sample(image, x, y, size, size);

  const small = { x: atFactor(x, factor), y: atFactor(y, factor) };
  const columns = reach(small.x, size, Math.ceil(image.width / factor));
  const rows = reach(small.y, size, Math.ceil(image.height / factor));
  const part = blockMeans(image, factor, columns, rows);
  const shiftedX = { start: small.x.start - columns.first, step: small.x.step };
  const shiftedY = { start: small.y.start - rows.first, step: small.y.step };
  return sample(part, shiftedX, shiftedY, size, size);
}

// Bilinear samples; black outside. `transposed` writes columns as rows.
export function sample(image, x, y, width, height, transposed = false) {
  const { data } = image;
  const channels = channelsOf(image);
  const columns = places(x, width);
  const rows = places(y, height);
  const result = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const { low: y0, part: v } = rows[row];
    const upper = y0 >= 0 && y0 < image.height ? 1 - v : 0;
    const lower = y0 >= -1 && y0 < image.height - 1 ? v : 0;
    if (!upper && !lower) continue;
    for (let column = 0; column < width; column++) {
      const { low: x0, part: u } = columns[column];
      const left = x0 >= 0 && x0 < image.width ? 1 - u : 0;
      const right = x0 >= -1 && x0 < image.width - 1 ? u : 0;
      const from = (y0 * image.width + x0) * channels;
      const below = from + image.width * channels;
      const to = (transposed ? column * height + row : row * width + column) * 3;
      for (let channel = 0; channel < 3; channel++) {
        // A weight of 0 takes undefined beyond the array's ends, hence the tests.
        let value = 0;
        if (upper && left) value += upper * left * data[from + channel];
        if (upper && right) value += upper * right * data[from + channels + channel];
        if (lower && left) value += lower * left * data[below + channel];
        if (lower && right) value += lower * right * data[below + channels + channel];
        result[to + channel] = rounded(value);
      }
    }
  }
  return { width: transposed ? height : width, height: transposed ? width : height, data: result };
}

// OpenCV's INTER_LINEAR: bilinear samples, the outermost pixels repeated outside; in its whole
// numbers, since MTCNN decides otherwise by the last bit of what it is shown.
export function resizeLinear(image, width, height, transposed = false) {
  const channels = channelsOf(image);
  const columns = fixedPoints(image.width, width);
  const rows = fixedPoints(image.height, height);
  const result = new Uint8Array(width * height * 3);
  const line = (y) => {
    const values = new Int32Array(width * 3);
    columns.forEach(({ low, high, lowWeight, highWeight }, column) => {
      for (let channel = 0; channel < 3; channel++) {
        const left = image.data[(y * image.width + low) * channels + channel];
        const right = image.data[(y * image.width + high) * channels + channel];
        values[column * 3 + channel] = (left * lowWeight + right * highWeight) >> 4;
      }
    });
    return values;
  };

  rows.forEach(({ low, high, lowWeight, highWeight }, row) => {
    const [upper, lower] = [line(low), line(high)];
    for (let column = 0; column < width; column++) {
      const to = (transposed ? column * height + row : row * width + column) * 3;
      for (let channel = 0; channel < 3; channel++) {
        const at = column * 3 + channel;
        const sum = ((upper[at] * lowWeight) >> 16) + ((lower[at] * highWeight) >> 16);
        result[to + channel] = (sum + 2) >> 2;
      }
    }
  });
  return { width: transposed ? height : width, height: transposed ? width : height, data: result };
}

// OpenCV's INTER_AREA for a smaller result: each pixel is the mean of what it covers.
export function resizeArea(image, width, height) {
  if (image.width === 2 * width && image.height === 2 * height) {
    return blockMeans(image, 2, { first: 0, last: width - 1 }, { first: 0, last: height - 1 });
  }
  return weighted(image, covered(image.width, width), covered(image.height, height));
}

function channelsOf(image) {
  return image.data.length / (image.width * image.height);
}

// The same line in px of an image that is smaller by a factor.
function atFactor(line, factor) {
  return { start: (line.start + 0.5) / factor - 0.5, step: line.step / factor };
}

// The pixels {first, last} that bilinear samples along a line read, of those that there are.
function reach(line, size, available) {
  const first = Math.max(0, Math.floor(line.start));
  const last = Math.min(available - 1, Math.floor(line.start + line.step * (size - 1)) + 1);
  return { first, last: Math.max(first, last) };
}

// Means of blocks of factor x factor pixels, of some columns and rows of them; black beyond.
export function blockMeans(image, factor, columns, rows) {
  const channels = channelsOf(image);
  const width = columns.last - columns.first + 1;
  const height = rows.last - rows.first + 1;
  const data = new Uint8Array(width * height * 3);
  const sums = new Float64Array(width * 3);
  const round = factor === 2 ? Math.round : rounded; // of four pixels OpenCV rounds halves up
  for (let row = 0; row < height; row++) {
    sums.fill(0);
    const top = (rows.first + row) * factor;
    for (let y = top; y < Math.min(top + factor, image.height); y++) {
      for (let column = 0; column < width; column++) {
        const left = (columns.first + column) * factor;
        const end = Math.min(left + factor, image.width);
        for (let x = left, at = (y * image.width + left) * channels; x < end; x++, at += channels) {
          sums[column * 3] += image.data[at];
          sums[column * 3 + 1] += image.data[at + 1];
          sums[column * 3 + 2] += image.data[at + 2];
        }
      }
    }
    for (let at = 0; at < sums.length; at++) {
      data[row * sums.length + at] = round(sums[at] / factor ** 2);
    }
  }
  return { width, height, data };
}

// To the nearest whole number, halves to the even one, as processors and OpenCV round.
function rounded(value) {
  const whole = Math.round(value);
  return whole - value === 0.5 && whole % 2 ? whole - 1 : whole;
}

// For each sample of a line the pixel below it and how far it is beyond that.
function places(line, size) {
  return Array.from({ length: size }, (_, index) => {
    const at = line.start + line.step * index;
    return { low: Math.floor(at), part: at - Math.floor(at) };
  });
}

// For each pixel of a resized line the two that it lies between, and their weights of 2048.
function fixedPoints(from, to) {
  const clipped = (at) => Math.min(Math.max(at, 0), from - 1);
  return Array.from({ length: to }, (_, index) => {
    const at = Math.fround((index + 0.5) * (from / to) - 0.5);
    const low = Math.floor(at);
    const part = Math.fround(at - low);
    const outside = low < 0 || low >= from - 1;
    const highWeight = outside ? 0 : rounded(Math.fround(part * 2048));
    const lowWeight = outside ? 2048 : rounded(Math.fround((1 - part) * 2048));
    return { low: clipped(low), high: clipped(low + 1), lowWeight, highWeight };
  });
}

// For each pixel of a resized line [[source pixel, weight], ...]: it covers from / to pixels.
function covered(from, to) {
  return Array.from({ length: to }, (_, index) => {
    const start = (index * from) / to;
    const end = ((index + 1) * from) / to;
    const weights = [];
    for (let at = Math.floor(start + 1e-9); at < Math.min(from, end - 1e-9); at++) {
      weights.push([at, ((Math.min(at + 1, end) - Math.max(at, start)) * to) / from]);
    }
    return weights;
  });
}

// Weighted sums of pixels, first along rows, then along columns.
function weighted(image, columns, rows) {
  const channels = channelsOf(image);
  const [width, height] = [columns.length, rows.length];
  const result = new Uint8Array(width * height * 3);
  const lines = new Map(); // source row -> that row, resized; rows are asked for in order
  const line = (y) => {
    if (!lines.has(y)) lines.set(y, resizedRow(image, y, channels, columns));
    return lines.get(y);
  };

  const sums = new Float64Array(width * 3);
  rows.forEach((weights, row) => {
    sums.fill(0);
    for (const [y, weight] of weights) {
      const values = line(y);
      for (let at = 0; at < sums.length; at++) sums[at] += weight * values[at];
    }
    for (const y of lines.keys()) if (y < weights[0][0]) lines.delete(y);
    for (let at = 0; at < sums.length; at++) result[row * sums.length + at] = rounded(sums[at]);
  });
  return { width, height, data: result };
}

function resizedRow(image, y, channels, columns) {
  const row = new Float64Array(columns.length * 3);
  const start = y * image.width * channels;
  columns.forEach((weights, column) => {
    for (const [x, weight] of weights) {
      for (let channel = 0; channel < 3; channel++) {
        row[column * 3 + channel] += weight * image.data[start + x * channels + channel];
      }
    }
  });
  return row;
}
