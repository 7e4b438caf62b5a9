"use strict";

// Strokes: lists of [x, y], integers from 0 to GRID across the square.
const Drawing = (() => {
  const GRID = 1024, SIDE = 28, BOX = 20;
  const PEN = 1.15, EDGE = 0.55; // radius of MNIST's strokes and softness of their edge, in pixels
  const SMALLEST = 40; // smaller marks, such as a dot, are not enlarged to fill the box

  /** Ink of strokes whose points are mapped to pixels by (x - from) * scale + to. */
  function rasterise(strokes, { scale, fromX, fromY, toX, toY }) {
    const ink = new Float32Array(SIDE * SIDE), reach = PEN + EDGE;
    const place = ([x, y]) => [(x - fromX) * scale + toX, (y - fromY) * scale + toY];
    for (const stroke of strokes) {
      stroke.forEach((point, index) => {
        const [x1, y1] = place(point), [x2, y2] = place(stroke[index + 1] ?? point);
        if (index > 0 && index === stroke.length - 1) return;
        const dx = x2 - x1, dy = y2 - y1, square = dx * dx + dy * dy;
        const rows = range(Math.min(y1, y2) - reach, Math.max(y1, y2) + reach);
        const columns = range(Math.min(x1, x2) - reach, Math.max(x1, x2) + reach);
        for (let row = rows[0]; row <= rows[1]; row++) {
          for (let column = columns[0]; column <= columns[1]; column++) {
            const px = column + 0.5 - x1, py = row + 0.5 - y1;
            const along = square && Math.min(1, Math.max(0, (px * dx + py * dy) / square));
            const distance = Math.hypot(px - along * dx, py - along * dy);
            const value = (reach - distance) / (2 * EDGE), at = row * SIDE + column;
            if (value > ink[at]) ink[at] = Math.min(1, value);
          }
        }
      });
    }
    return ink;
  }

  const range = (low, high) => [Math.max(0, Math.floor(low)), Math.min(SIDE - 1, Math.floor(high))];

  /** As MNIST was made: scaled into a 20x20 box, centre of mass in the middle of the image. */
  function normalised(strokes) {
    const xs = strokes.flat().map(([x]) => x), ys = strokes.flat().map(([, y]) => y);
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
    const scale = (BOX - 2 * PEN) / Math.max(right - left, bottom - top, SMALLEST);
    const middle = { scale, fromX: (left + right) / 2, fromY: (top + bottom) / 2 };
    const ink = rasterise(strokes, { ...middle, toX: SIDE / 2, toY: SIDE / 2 });
    let mass = 0, x = 0, y = 0;
    ink.forEach((value, at) => {
      mass += value;
      x += value * ((at % SIDE) + 0.5);
      y += value * (Math.floor(at / SIDE) + 0.5);
    });
    // No stroke may leave the image, however far its mass is from the middle of its box.
    const shift = (centre, extent) => {
      const room = SIDE / 2 - (extent * scale) / 2 - PEN;
      return Math.min(room, Math.max(-room, SIDE / 2 - centre));
    };
    return rasterise(strokes, {
      ...middle,
      toX: SIDE / 2 + shift(x / mass, right - left),
      toY: SIDE / 2 + shift(y / mass, bottom - top),
    });
  }

  const asDrawn = (strokes) =>
    rasterise(strokes, { scale: SIDE / GRID, fromX: 0, fromY: 0, toX: 0, toY: 0 });

  /** 28x28 bytes of a drawing, on top of a preset's if there is one. */
  function pixelsOf({ strokes, preset }, normalise) {
    if (!strokes.length) return preset ? preset.pixels : new Uint8Array(SIDE * SIDE);
    const ink = normalise && !preset ? normalised(strokes) : asDrawn(strokes);
    return Uint8Array.from(ink, (value, at) =>
      Math.max(Math.round(255 * value), preset ? preset.pixels[at] : 0));
  }

  // Strokes as text: the number of points of each stroke, then steps from point to point, each
  // number in as many groups of seven bits as it needs; two bytes of checksum at the end.

  function encode(strokes) {
    const out = [];
    const number = (value) => {
      for (; value > 127; value >>= 7) out.push((value & 127) | 128);
      out.push(value);
    };
    const step = (value) => number(value < 0 ? -2 * value - 1 : 2 * value);
    let last = [0, 0];
    for (const stroke of strokes) {
      number(stroke.length);
      for (const [x, y] of stroke) {
        step(x - last[0]);
        step(y - last[1]);
        last = [x, y];
      }
    }
    out.push(...checksum(out));
    const text = Array.from(out, (byte) => String.fromCharCode(byte)).join("");
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  }

  /** The strokes of a text that `encode` made; throws an error for any other. */
  function decode(text) {
    const all = Lenet.bytes(text.replace(/-/g, "+").replace(/_/g, "/"));
    const data = all.subarray(0, -2), [first, second] = checksum(data);
    if (all.length < 2 || all.at(-2) !== first || all.at(-1) !== second) throw Error("checksum");
    let at = 0, last = [0, 0];
    const number = () => {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        if (at >= data.length || shift > 21) throw Error("ends early");
        value |= (data[at] & 127) << shift;
        if (data[at++] < 128) return value;
      }
    };
    const step = () => {
      const value = number();
      return value & 1 ? -(value + 1) / 2 : value / 2;
    };
    const strokes = [];
    while (at < data.length) {
      const stroke = [];
      for (let left = number(); left > 0; left--) {
        last = [last[0] + step(), last[1] + step()];
        if (last.some((value) => value < 0 || value > GRID)) throw Error("outside the square");
        stroke.push(last);
      }
      if (!stroke.length) throw Error("empty stroke");
      strokes.push(stroke);
    }
    return strokes;
  }

  function checksum(bytes) { // Fletcher-16
    let a = 1, b = 0;
    for (const byte of bytes) {
      a = (a + byte) % 255;
      b = (b + a) % 255;
    }
    return [a, b];
  }

  /** The line around values above `level`, as pieces [x1, y1, x2, y2] in pixels. */
  function outline(values, level) {
    const at = (row, column) =>
      row < 0 || column < 0 || row >= SIDE || column >= SIDE ? 0 : values[row * SIDE + column];
    const pieces = [];
    for (let row = -1; row < SIDE; row++) {
      for (let column = -1; column < SIDE; column++) {
        // Corners clockwise from the top left; the line crosses the sides where they disagree.
        const corners = [[0, 0], [0, 1], [1, 1], [1, 0]];
        const crossings = corners.flatMap(([i, j], side) => {
          const [k, l] = corners[(side + 1) % 4];
          const one = at(row + i, column + j), other = at(row + k, column + l);
          if (one > level === other > level) return [];
          const part = (level - one) / (other - one);
          return [[column + j + part * (l - j) + 0.5, row + i + part * (k - i) + 0.5]];
        });
        for (let i = 0; i + 1 < crossings.length; i += 2) {
          pieces.push([...crossings[i], ...crossings[i + 1]]);
        }
      }
    }
    return pieces;
  }

  return { GRID, SIDE, pixelsOf, encode, decode, outline };
})();
