// The layer mix, in the page: all that a picture of vectors needs are their inner products, and those of a mix
// follow from those of its layers. A slider then moves n points without touching a vector.

/**
 * Inner products of every occurrence with every other, for each pair of layers.
 * layers: Float32Array of layers x rows x dimension. Answers products[a][b][i * rows + j].
 */
export function innerProducts(layers, [numLayers, numRows, dimension]) {
  const row = (layer, i) => layers.subarray((layer * numRows + i) * dimension, (layer * numRows + i + 1) * dimension);
  const products = [];
  for (let a = 0; a < numLayers; a++) {
    products.push([]);
    for (let b = 0; b < numLayers; b++) {
      const block = new Float64Array(numRows * numRows);
      for (let i = 0; i < numRows; i++) {
        for (let j = 0; j < numRows; j++) block[i * numRows + j] = dot(row(a, i), row(b, j));
      }
      products[a].push(block);
    }
  }
  return products;
}

function dot(x, y) {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += x[k] * y[k];
  return sum;
}

/** Inner products of the mixed vectors, gamma * sum of weights[l] * layer l. */
export function mixedProducts(products, weights, gamma) {
  const mixed = new Float64Array(products[0][0].length);
  weights.forEach((wa, a) =>
    weights.forEach((wb, b) => {
      const factor = gamma * gamma * wa * wb;
      const block = products[a][b];
      for (let k = 0; k < mixed.length; k++) mixed[k] += factor * block[k];
    }),
  );
  return mixed;
}

/** Cosine of every pair, 0 where a vector is 0. */
export function cosines(mixed, numRows) {
  return mixed.map((value, k) => {
    const i = Math.floor(k / numRows), j = k % numRows;
    const norms = Math.sqrt(mixed[i * numRows + i] * mixed[j * numRows + j]);
    return norms > 0 ? value / norms : 0;
  });
}

/**
 * The two directions in which the vectors differ most (principal components), as [x, y] for each row.
 * Classical scaling: eigenvectors of the doubly centred inner products, times the roots of their eigenvalues.
 */
export function plane(mixed, numRows) {
  const centred = doublyCentred(mixed, numRows);
  const xs = component(centred, numRows);
  for (let i = 0; i < numRows; i++) {
    for (let j = 0; j < numRows; j++) centred[i * numRows + j] -= xs[i] * xs[j];
  }
  const ys = component(centred, numRows);
  return xs.map((x, i) => [x, ys[i]]);
}

function doublyCentred(mixed, numRows) {
  const means = [];
  for (let i = 0; i < numRows; i++) {
    let sum = 0;
    for (let j = 0; j < numRows; j++) sum += mixed[i * numRows + j];
    means.push(sum / numRows);
  }
  const mean = means.reduce((sum, value) => sum + value, 0) / numRows;
  return mixed.map((value, k) => value - means[Math.floor(k / numRows)] - means[k % numRows] + mean);
}

/** The first eigenvector times the root of its eigenvalue, by power iteration. */
function component(matrix, numRows) {
  let vector = Array.from({ length: numRows }, (_, i) => Math.cos(1 + i)); // no real picture is orthogonal to it
  let eigenvalue = 0;
  for (let step = 0; step < 200; step++) {
    const next = vector.map((_, i) => {
      let sum = 0;
      for (let j = 0; j < numRows; j++) sum += matrix[i * numRows + j] * vector[j];
      return sum;
    });
    eigenvalue = Math.hypot(...next);
    if (eigenvalue < 1e-12) return vector.map(() => 0);
    vector = next.map((value) => value / eigenvalue);
  }
  return vector.map((value) => value * Math.sqrt(eigenvalue));
}

/**
 * Turn, and if need be mirror, `points` so that they lie as near as can be to where they were (orthogonal
 * Procrustes in two dimensions): axes have no names, and a point that jumps over the picture tells nothing.
 */
export function aligned(points, before) {
  if (!before || before.length !== points.length) return points;
  const turned = bestTurn(points, before);
  const mirrored = bestTurn(points.map(([x, y]) => [x, -y]), before);
  return turned.gain >= mirrored.gain ? turned.points : mirrored.points;
}

function bestTurn(points, before) {
  let along = 0, across = 0;
  points.forEach(([x, y], i) => {
    along += before[i][0] * x + before[i][1] * y;
    across += before[i][1] * x - before[i][0] * y;
  });
  const gain = Math.hypot(along, across);
  const [c, s] = gain > 0 ? [along / gain, across / gain] : [1, 0];
  return { gain, points: points.map(([x, y]) => [c * x - s * y, s * x + c * y]) };
}
