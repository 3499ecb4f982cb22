// Arrays lie in one block of memory, each a typed array over its part of it. Matrices are row-major and contiguous.

function unpack(bytes, memory, parts) {
  // Copy stored arrays to their places; parts: [place, entries, type, how, columns], in the order of the data. int8 and
  // int12: a step for each column, then entries in steps; of int12 the upper eight bits, then the lower four.
  let from = 0;
  const next = (size) => bytes.subarray(from, (from += size));
  for (const [place, count, type, how, columns] of parts) {
    if (how === "float16") widen(next(2 * count), memory, place, count);
    else if (how === "int8" || how === "int12") {
      const steps = new Float32Array(next(4 * columns).slice().buffer), part = next(count);
      const low = how === "int12" ? next((count + 1) >> 1) : null, to = new Float32Array(memory, place, count);
      for (let i = 0; i < count; i++) {
        const high = (part[i] << 24) >> 24;
        to[i] = (low === null ? high : 16 * high + ((low[i >> 1] >> (4 * (i & 1))) & 15)) * steps[i % columns];
      }
    } else {
      const size = count * (type.includes("8") ? 1 : type.includes("16") ? 2 : 4);
      new Uint8Array(memory, place, size).set(next(size));
    }
  }
}

function widen(halves, memory, place, count) {
  // Numbers of two bytes to numbers of four: the exponent is moved and its offset changed from 15 to 127.
  const floats = new Float32Array(memory, place, count), bits = new Uint32Array(memory, place, count);
  for (let i = 0; i < count; i++) {
    const half = halves[2 * i] | (halves[2 * i + 1] << 8), exponent = half & 31744, sign = (half & 32768) << 16;
    if (exponent === 0) floats[i] = (sign ? -1 : 1) * (half & 1023) * 5.960464477539063e-8; // 2^-24
    else bits[i] = sign | (((half & 32767) << 13) + (exponent === 31744 ? 1879048192 : 939524096));
  }
}

function roundAway(x) {
  return x < 0 ? -Math.floor(0.5 - x) : Math.floor(0.5 + x);
}

function roundEven(x) {
  const low = Math.floor(x), part = x - low;
  if (part !== 0.5) return part < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

function erf(x) {
  // The series 2 / sqrt(pi) exp(-x^2) sum_n (2 x)^(2 n) x n! / (2 n + 1)!, exact to rounding where it has not reached 1.
  if (x !== x) return x;
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

function multiply(m, n, k, A, a, B, b, C, c) {
  // C[c..] (m, n) = A[a..] (m, k) B[b..] (k, n)
  let i = 0;
  if (fast !== null && m >= 4 && n >= 8) {
    i = m - (m % 4);
    const columns = n - (n % 8);
    fast(i, columns, k, n, A.byteOffset + 4 * a, B.byteOffset + 4 * b, C.byteOffset + 4 * c);
    if (columns < n) block(0, i, columns, n, n, k, A, a, B, b, C, c);
  }
  if (m - i >= 2) i = block(i, m - ((m - i) % 2), 0, n, n, k, A, a, B, b, C, c);
  for (; i < m; i++) row(n, k, A, a + i * k, B, b, C, c + i * n);
}

function block(first, last, start, end, n, k, A, a, B, b, C, c) {
  // Rows first to last, an even number, and columns start to end of the product; returns last.
  for (let i = first; i < last; i += 2) {
    const p = a + i * k, q = p + k, y = c + i * n, z = y + n;
    let j = start;
    for (; j + 4 <= end; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
      for (let l = 0, o = b + j; l < k; l++, o += n) {
        const u = A[p + l], v = A[q + l], w0 = B[o], w1 = B[o + 1], w2 = B[o + 2], w3 = B[o + 3];
        s0 += u * w0; s1 += u * w1; s2 += u * w2; s3 += u * w3;
        t0 += v * w0; t1 += v * w1; t2 += v * w2; t3 += v * w3;
      }
      C[y + j] = s0; C[y + j + 1] = s1; C[y + j + 2] = s2; C[y + j + 3] = s3;
      C[z + j] = t0; C[z + j + 1] = t1; C[z + j + 2] = t2; C[z + j + 3] = t3;
    }
    for (; j < end; j++) {
      let s = 0, t = 0;
      for (let l = 0, o = b + j; l < k; l++, o += n) {
        s += A[p + l] * B[o];
        t += A[q + l] * B[o];
      }
      C[y + j] = s;
      C[z + j] = t;
    }
  }
  return last;
}

function row(n, k, A, a, B, b, C, c) {
  // One row: B is read in the order in which it is stored.
  if (n === 1) {
    let sum = 0;
    for (let l = 0; l < k; l++) sum += A[a + l] * B[b + l];
    C[c] = sum;
    return;
  }
  C.fill(0, c, c + n);
  let l = 0;
  for (; l + 4 <= k; l += 4) {
    const u = A[a + l], v = A[a + l + 1], w = A[a + l + 2], x = A[a + l + 3];
    const p = b + l * n, q = p + n, r = q + n, s = r + n;
    for (let j = 0; j < n; j++) C[c + j] += u * B[p + j] + v * B[q + j] + w * B[r + j] + x * B[s + j];
  }
  for (; l < k; l++) {
    const u = A[a + l], p = b + l * n;
    for (let j = 0; j < n; j++) C[c + j] += u * B[p + j];
  }
}

function convolve(g, X, x, W, Y, y, S) {
  // Correlation of X[x..] (height, width, channels) with W (taps, channels, kernels): patches, unfolded into S some
  // output rows at a time, times W.
  const { height, width, channels, kernels, taps, out, strides, dilation, low, rows } = g;
  const depth = taps[0] * taps[1] * channels;
  for (let first = 0; first < out[0]; first += rows) {
    const last = Math.min(out[0], first + rows);
    let s = 0;
    for (let i = first; i < last; i++)
      for (let j = 0; j < out[1]; j++)
        for (let u = 0; u < taps[0]; u++) {
          const h = i * strides[0] + u * dilation[0] - low[0];
          for (let v = 0; v < taps[1]; v++, s += channels) {
            const w = j * strides[1] + v * dilation[1] - low[1];
            if (h < 0 || h >= height || w < 0 || w >= width) S.fill(0, s, s + channels);
            else for (let c = 0, p = x + (h * width + w) * channels; c < channels; c++) S[s + c] = X[p + c];
          }
        }
    multiply((last - first) * out[1], kernels, depth, S, 0, W, 0, Y, y + first * out[1] * kernels);
  }
}

function spread(g, X, x, W, Y, y, S) {
  // The same for strides of 1, as each input pixel's contributions to the outputs: X times W (channels, taps, kernels),
  // some input rows at a time into S, added up in Y. Inputs are `grid` pixels apart (a transposed convolution).
  const { height, width, channels, kernels, taps, out, grid, dilation, low, rows } = g;
  const depth = taps[0] * taps[1] * kernels;
  Y.fill(0, y, y + out[0] * out[1] * kernels);
  for (let first = 0; first < height; first += rows) {
    const last = Math.min(height, first + rows);
    multiply((last - first) * width, depth, channels, X, x + first * width * channels, W, 0, S, 0);
    let s = 0;
    for (let i = first; i < last; i++)
      for (let j = 0; j < width; j++)
        for (let u = 0; u < taps[0]; u++) {
          const h = i * grid[0] - u * dilation[0] + low[0];
          for (let v = 0; v < taps[1]; v++, s += kernels) {
            const w = j * grid[1] - v * dilation[1] + low[1];
            if (h < 0 || h >= out[0] || w < 0 || w >= out[1]) continue;
            for (let k = 0, p = y + (h * out[1] + w) * kernels; k < kernels; k++) Y[p + k] += S[s + k];
          }
        }
  }
}

function checked(array, size, name) {
  // The argument of a function.
  if (array === undefined || array.length !== size) {
    const found = array === undefined ? "nothing" : array.length;
    throw new Error(`${name} must have ${size} numbers, got ${found}`);
  }
  return array;
}
