"use strict";

// LeNet-5 with and without masks, as in the package's `lenet5` and `AttentionMask1x1`: arrays have
// the order (row, column, channel), kernels (row, column, from, to), as in Keras.
const Lenet = (() => {
  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  function decode(network) {
    const values = new Float32Array(bytes(network.weights).buffer);
    const layers = {};
    let start = 0;
    for (const [name, shapes] of Object.entries(network.shapes)) {
      layers[name] = shapes.map((shape) => {
        const size = shape.reduce((product, side) => product * side, 1);
        return values.subarray(start, (start += size));
      });
    }
    return layers;
  }

  /** A valid 5x5 convolution with ReLU. */
  function convolve(input, side, from, [kernel, bias]) {
    const to = bias.length, out = side - 4, output = new Float32Array(out * out * to);
    const sums = new Float64Array(to);
    for (let row = 0; row < out; row++) {
      for (let column = 0; column < out; column++) {
        sums.set(bias);
        for (let i = 0; i < 5; i++) {
          for (let j = 0; j < 5; j++) {
            const at = ((row + i) * side + column + j) * from;
            for (let c = 0; c < from; c++) {
              const value = input[at + c], weights = ((i * 5 + j) * from + c) * to;
              if (value !== 0) for (let k = 0; k < to; k++) sums[k] += value * kernel[weights + k];
            }
          }
        }
        const place = (row * out + column) * to;
        for (let k = 0; k < to; k++) output[place + k] = Math.max(0, sums[k]);
      }
    }
    return output;
  }

  /** The mask of a feature map: a 1x1 convolution to one channel, then a sigmoid. */
  function scoresOf(features, [kernel, bias]) {
    const channels = kernel.length, scores = new Float32Array(features.length / channels);
    for (let place = 0; place < scores.length; place++) {
      let sum = bias[0];
      for (let c = 0; c < channels; c++) sum += features[place * channels + c] * kernel[c];
      scores[place] = 1 / (1 + Math.exp(-sum));
    }
    return scores;
  }

  function multiply(features, scores) {
    const channels = features.length / scores.length;
    return features.map((value, index) => value * scores[Math.floor(index / channels)]);
  }

  /** 2x2 max pooling with stride 2. */
  function pool(input, side, channels) {
    const out = side / 2, output = new Float32Array(out * out * channels);
    for (let row = 0; row < out; row++) {
      for (let column = 0; column < out; column++) {
        for (let c = 0; c < channels; c++) {
          const at = (2 * row * side + 2 * column) * channels + c, below = at + side * channels;
          output[(row * out + column) * channels + c] = Math.max(
            input[at], input[at + channels], input[below], input[below + channels]);
        }
      }
    }
    return output;
  }

  function dense(input, [kernel, bias], relu) {
    const sums = Float64Array.from(bias);
    input.forEach((value, from) => {
      if (value !== 0) sums.forEach((_, to) => (sums[to] += value * kernel[from * bias.length + to]));
    });
    return Float32Array.from(sums, (sum) => (relu ? Math.max(0, sum) : sum));
  }

  /**
   * Logits and masks of an image.
   *
   * @param layers what `decode` gives; without "c5" there are masks only
   * @param pixels 28x28 bytes
   * @param replace (scores, "c1" or "c3") -> what stands in the mask's place
   */
  function forward(layers, pixels, replace = (scores) => scores) {
    const canvas = new Float32Array(32 * 32);
    for (let row = 0; row < 28; row++) {
      for (let column = 0; column < 28; column++) {
        canvas[(row + 2) * 32 + column + 2] = Math.fround(pixels[row * 28 + column] / 255);
      }
    }
    const masks = {};
    const attend = (features, name) => {
      if (!layers[name + "_attention"]) return features;
      masks[name] = scoresOf(features, layers[name + "_attention"]);
      return multiply(features, replace(masks[name], name));
    };
    const c1 = attend(convolve(canvas, 32, 1, layers.c1), "c1");
    const c3 = attend(convolve(pool(c1, 28, 6), 14, 6, layers.c3), "c3");
    if (!layers.c5) return { masks };
    const f6 = dense(dense(pool(c3, 10, 16), layers.c5, true), layers.f6, true);
    return { logits: dense(f6, layers.output, false), masks };
  }

  function softmax(logits) {
    const highest = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  /** Enlarge a mask of side 10 to 28x28 as the package's `mask_on_image`: cell i looks at 2 i + 4.5. */
  function enlarge(scores) {
    const output = new Float32Array(28 * 28);
    const near = Array.from({ length: 28 }, (_, pixel) => {
      const place = Math.min(9, Math.max(0, (pixel - 4.5) / 2)), low = Math.min(8, Math.floor(place));
      return [low, place - low];
    });
    near.forEach(([i, u], row) => near.forEach(([j, v], column) => {
      const at = i * 10 + j;
      output[row * 28 + column] =
        (1 - u) * ((1 - v) * scores[at] + v * scores[at + 1]) +
        u * ((1 - v) * scores[at + 10] + v * scores[at + 11]);
    }));
    return output;
  }

  /** What can stand in the mask's place, as in the package's `INTERVENTIONS`. */
  function replacements(shuffled) {
    return {
      ones: () => (scores) => scores.map(() => 1),
      mean: () => (scores) => scores.map(() => scores.reduce((sum, s) => sum + s, 0) / scores.length),
      shuffled: () => (scores, name) => scores.map((_, place) => scores[shuffled[name][place]]),
      another: (masks) => (_, name) => masks[name],
    };
  }

  /** Bytes with a background behind them, by the formula, and in the float32, of `disturb`. */
  function addNoise(pixels, background, strength) {
    const f = Math.fround, factor = f(0.75 * strength);
    return pixels.map((pixel, place) => {
      const digit = f(pixel / 255);
      const sum = f(digit + f(f(1 - digit) * f(factor * background[place])));
      const value = f(255 * Math.min(1, Math.max(0, sum)));
      const down = Math.floor(value);
      return value - down === 0.5 ? down + (down % 2) : Math.round(value);
    });
  }

  return { bytes, decode, forward, softmax, enlarge, replacements, addNoise };
})();
