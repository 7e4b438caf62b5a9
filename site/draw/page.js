"use strict";

const Page = (() => {
  const { GRID, SIDE } = Drawing;
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("data").textContent);
  const networks = Object.fromEntries(
    Object.entries(data.networks).map(([name, network]) => [name, Lenet.decode(network)]));
  const shuffled = Object.fromEntries(
    Object.entries(data.shuffled).map(([name, order]) => [name, new Uint16Array(Lenet.bytes(order).buffer)]));
  const backgrounds = Object.fromEntries(
    Object.entries(data.backgrounds).map(([name, image]) => [name, new Float32Array(Lenet.bytes(image).buffer)]));
  const presets = data.presets.map((preset) => ({ ...preset, pixels: Lenet.bytes(preset.pixels) }));
  const colours = Lenet.bytes(data.colours);
  const replacements = Lenet.replacements(shuffled);

  const defaults = {
    preset: null, strokes: [], normalise: true, noise: "none", strength: 0.5,
    masks: "trained", c3: "enlarged", replace: "ones",
  };
  let state = { ...defaults };
  let past = []; // drawings to go back to, the latest last
  let shown = null; // what `read` found for the state
  let pointed = null; // { name: "c1" or "c3", row, column }
  const pen = { x: GRID / 2, y: GRID / 4, down: false, visible: false };
  const blank = (state) => !state.strokes.length && !state.preset;

  // Reading

  /** The preset whose masks are used as those of another image. */
  const other = () => presets[state.preset === presets[0] ? 1 : 0];

  function read() {
    const clean = Drawing.pixelsOf(state, state.normalise);
    const background = backgrounds[state.noise];
    const pixels = background ? Lenet.addNoise(clean, background, state.strength) : clean;
    const masked = Lenet.forward(networks.lenet5_attention, pixels);
    const masksOfOther =
      state.replace === "another" && Lenet.forward(networks.lenet5_attention, other().pixels).masks;
    const replace = replacements[state.replace](masksOfOther);
    return {
      clean, pixels,
      masks: state.masks === "trained" ? masked.masks : Lenet.forward(networks.untrained, pixels).masks,
      logits: [
        Lenet.forward(networks.lenet5, pixels).logits,
        masked.logits,
        Lenet.forward(networks.lenet5_attention, pixels, replace).logits,
      ],
    };
  }

  // Pictures

  let paper, ink, frame;
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const channels = (name) =>
      style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
    [paper, ink] = [channels("--paper"), channels("--ink")];
    frame = style.getPropertyValue("--frame");
  }

  const cells = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });

  /** Paint 28x28 cells over a canvas; `colour` gives red, green, blue of a value. */
  function paint(canvas, values, colour) {
    const small = cells.getContext("2d"), image = small.createImageData(SIDE, SIDE);
    values.forEach((value, at) => {
      if (!Number.isNaN(value)) image.data.set([...colour(value), 255], 4 * at);
    });
    small.putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(cells, 0, 0, canvas.width, canvas.height);
    return context;
  }

  const grey = (byte) => paper.map((level, channel) => level + ((ink[channel] - level) * byte) / 255);
  const viridis = (value) => {
    const at = 3 * Math.min(255, Math.floor(256 * value));
    return [colours[at], colours[at + 1], colours[at + 2]];
  };

  /** A C3 mask on the pixels of the image: cell i stands on the pixels 2 i + 4 and 2 i + 5. */
  function onImage(scores) {
    if (state.c3 === "enlarged") return Lenet.enlarge(scores);
    return Float32Array.from({ length: SIDE * SIDE }, (_, at) => {
      const row = Math.floor((Math.floor(at / SIDE) - 4) / 2), column = Math.floor(((at % SIDE) - 4) / 2);
      return Math.min(row, column) < 0 || Math.max(row, column) > 9 ? NaN : scores[row * 10 + column];
    });
  }

  function strokeOutline(context, pieces) {
    const pixel = context.canvas.width / SIDE;
    const path = new Path2D();
    for (const [x1, y1, x2, y2] of pieces) {
      path.moveTo(x1 * pixel, y1 * pixel);
      path.lineTo(x2 * pixel, y2 * pixel);
    }
    context.lineCap = "round";
    for (const [width, colour] of [[4.5, "#ffffff"], [1.8, "#000000"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(path);
    }
  }

  function frameCells(context, left, top, side) {
    const pixel = context.canvas.width / SIDE;
    const [x, y] = [Math.max(0, left), Math.max(0, top)];
    const [right, bottom] = [Math.min(SIDE, left + side), Math.min(SIDE, top + side)];
    const box = [x * pixel, y * pixel, (right - x) * pixel, (bottom - y) * pixel];
    for (const [width, colour] of [[7, "#ffffff"], [4, frame]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...box);
    }
  }

  function drawPad() {
    const canvas = element("pad");
    const context = paint(canvas, state.preset ? state.preset.pixels : new Uint8Array(SIDE * SIDE), grey);
    const unit = canvas.width / GRID;
    context.lineWidth = (2.3 / SIDE) * canvas.width; // as wide as the strokes that the network sees
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = `rgb(${ink})`;
    for (const stroke of state.strokes) {
      context.beginPath();
      stroke.forEach(([x, y]) => context.lineTo(x * unit, y * unit));
      context.lineTo(stroke[0][0] * unit, stroke.length > 1 ? NaN : stroke[0][1] * unit);
      context.stroke();
    }
    if (pen.visible) {
      const [x, y] = [pen.x * unit, pen.y * unit];
      context.lineWidth = 6;
      context.strokeStyle = frame;
      context.beginPath();
      context.arc(x, y, 18, 0, 7);
      for (const [i, j] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 18 * i, y + 18 * j);
        context.lineTo(x + 44 * i, y + 44 * j);
      }
      context.stroke();
      if (pen.down) {
        context.fillStyle = frame;
        context.fill();
      }
    }
  }

  // Bars

  const articles = [...document.querySelectorAll(".network")];
  const bars = articles.map((article) => Array.from({ length: 10 }, (_, digit) => {
    const item = document.createElement("li");
    item.innerHTML = `<span>${digit}</span><span class="track"><span class="bar"></span></span><span class="value"></span>`;
    article.querySelector(".bars").append(item);
    item.querySelector(".bar").style.display = "block";
    return { item, bar: item.querySelector(".bar"), value: item.querySelector(".value") };
  }));

  const percent = (share) => `${share > 0.99 && share < 0.9995 ? (100 * share).toFixed(1) : Math.round(100 * share)}\u00a0%`;
  const best = (shares) => shares.indexOf(Math.max(...shares));
  const label = () => (state.preset && !state.strokes.length ? state.preset.label : null);

  function showBars(logits, index) {
    const shares = Lenet.softmax(logits), digit = best(shares), truth = label();
    const mark = truth === null ? "" : digit === truth
      ? '<span class="good">✓ right</span>' : '<span class="bad">✗ wrong</span>';
    articles[index].querySelector(".verdict").innerHTML =
      `<b>${digit}</b> ${mark}`;
    bars[index].forEach(({ item, bar, value }, at) => {
      item.classList.toggle("first", at === digit);
      // Stripes must not be squeezed, so the replaced mask's bars change in width.
      if (index === 2) bar.style.width = `${100 * shares[at]}%`;
      else bar.style.transform = `scaleX(${shares[at]})`;
      value.textContent = shares[at] >= 0.005 ? percent(shares[at]) : "";
    });
  }

  // Text

  function means(values) {
    const sums = [0, 0], counts = [0, 0];
    shown.clean.forEach((pixel, at) => {
      const on = pixel > 127 ? 1 : 0;
      sums[on] += values[at];
      counts[on] += 1;
    });
    return counts[1] ? [sums[1] / counts[1], sums[0] / counts[0]].map((mean) => mean.toFixed(2)) : null;
  }

  function summary() {
    if (blank(state)) return "The square is empty.";
    const names = ["LeNet-5 alone", "With the mask", `Mask replaced (${chosen("replace")})`];
    const readings = shown.logits.map((logits, index) => {
      const shares = Lenet.softmax(logits);
      return `${names[index]}: ${best(shares)}, ${percent(shares[best(shares)])}.`;
    });
    const looks = ["c1", "c3"].flatMap((name) => {
      const found = means(name === "c1" ? shown.masks.c1 : Lenet.enlarge(shown.masks.c3));
      return found ? [`${name.toUpperCase()} mask: ${found[0]} on ink, ${found[1]} elsewhere.`] : [];
    });
    const truth = label() === null ? [] : [`True label: ${label()}.`];
    return [...truth, ...readings, ...looks].join(" ");
  }

  const chosen = (id) => element(id).selectedOptions[0].textContent;

  function say(text, bad = false) {
    element("message").textContent = text;
    element("message").classList.toggle("bad", bad);
  }

  function showPointed() {
    const readout = element("readout");
    if (!pointed || blank(state)) {
      readout.textContent = blank(state)
        ? "A mask follows each of LeNet-5’s two convolutions, C1 and C3."
        : "Yellow passes whole, dark blue is held back. Point at a mask: which pixels does it see?";
      return;
    }
    const { name, row, column } = pointed, side = name === "c1" ? 28 : 10;
    const score = shown.masks[name][row * side + column];
    readout.textContent = `${name.toUpperCase()}, row ${row + 1}, column ${column + 1}: ` +
      `${score.toFixed(3)}. It sees the framed ${name === "c1" ? "5×5" : "14×14"} pixels.`;
  }

  // The whole page

  let summaryTimer, addressTimer;

  function update() {
    const empty = blank(state);
    document.querySelector(".read").classList.toggle("is-empty", empty);
    element("hint").hidden = !empty || pen.visible;
    element("undo").setAttribute("aria-disabled", !past.length); // `disabled` would lose the focus
    element("clear").setAttribute("aria-disabled", empty);
    element("strength").disabled = state.noise === "none";
    element("normalise").disabled = Boolean(state.preset);
    drawPad();
    if (empty) {
      for (const name of ["seen", "c1", "c3"]) {
        element(name).getContext("2d").clearRect(0, 0, 336, 336);
        element(name + "-note").textContent = "";
      }
      shown = null;
    } else {
      shown = read();
      const pieces = Drawing.outline(shown.clean, 127.5);
      const seen = paint(element("seen"), shown.pixels, grey);
      const maps = { c1: shown.masks.c1, c3: onImage(shown.masks.c3) };
      for (const [name, map] of Object.entries(maps)) {
        const context = paint(element(name), map, viridis);
        strokeOutline(context, pieces);
        const found = means(name === "c1" ? map : Lenet.enlarge(shown.masks.c3));
        element(name + "-note").textContent = found ? `${found[0]} on ink, ${found[1]} elsewhere` : "";
        if (pointed?.name === name) {
          const { row, column } = pointed;
          if (name === "c1") {
            frameCells(context, column, row, 1);
            frameCells(seen, column - 2, row - 2, 5);
          } else {
            frameCells(context, 2 * column + 4, 2 * row + 4, 2);
            frameCells(seen, 2 * column - 2, 2 * row - 2, 14);
          }
        }
      }
      element("seen-note").textContent = 
        label() !== null ? `true label: ${label()}` : state.normalise || state.preset ? "28×28 pixels" : "where it was drawn";
      shown.logits.forEach(showBars);
    }
    element("another-note").textContent = state.replace === "another"
      ? `Its masks are now those of a test image of a ${other().label}.` : "";
    showPointed();
    for (const { button, preset } of buttons) {
      button.setAttribute("aria-pressed", preset === state.preset);
    }
    clearTimeout(summaryTimer);
    clearTimeout(addressTimer);
    summaryTimer = setTimeout(() => (element("summary").textContent = summary()), 900);
    addressTimer = setTimeout(writeAddress, 300);
  }

  let asked = false;
  function later() { // once a frame, however many events come
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      update();
    });
  }

  function change(changes) {
    Object.assign(state, changes);
    say("");
    later();
  }

  /** Change the drawing; `undo` comes back to what it was. */
  function redraw(changes) {
    past.push({ preset: state.preset, strokes: state.strokes });
    change(changes);
  }

  function undo() {
    if (past.length) change(past.pop());
    pen.down = false;
  }

  function clear() {
    pen.down = false;
    if (!blank(state)) redraw({ preset: null, strokes: [] });
  }

  // The state in the address

  function address() {
    const fields = new URLSearchParams();
    if (state.preset) fields.set("preset", state.preset.index);
    if (state.strokes.length) fields.set("draw", Drawing.encode(state.strokes));
    if (!state.normalise) fields.set("normalise", "no");
    if (state.noise !== "none") fields.set("noise", state.noise);
    if (state.strength !== defaults.strength) fields.set("strength", state.strength);
    for (const name of ["masks", "c3", "replace"]) {
      if (state[name] !== defaults[name]) fields.set(name, state[name]);
    }
    return fields.toString();
  }

  function writeAddress() {
    clearTimeout(addressTimer);
    const hash = address();
    if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  }

  /** The state of an address; throws an error where one cannot be read. */
  function parse(hash) {
    const found = { ...defaults };
    const among = (options) => (value) => {
      if (!options.includes(value)) throw Error("unknown value");
      return value;
    };
    const options = (id) => [...element(id).options].map((option) => option.value);
    const readers = {
      preset: (value) => {
        const preset = presets.find(({ index }) => String(index) === value);
        if (!preset) throw Error("unknown preset");
        return preset;
      },
      draw: Drawing.decode,
      normalise: (value) => among(["no"])(value) !== "no",
      noise: among(options("noise")),
      strength: (value) => {
        if (!/^(0(\.\d+)?|1)$/.test(value)) throw Error("not from 0 to 1");
        return Number(value);
      },
      masks: among(["trained", "untrained"]),
      c3: among(["enlarged", "raw"]),
      replace: among(options("replace")),
    };
    for (const [key, value] of new URLSearchParams(hash)) {
      if (!Object.hasOwn(readers, key)) throw Error("unknown field");
      found[key === "draw" ? "strokes" : key] = readers[key](value);
    }
    return found;
  }

  function readAddress() {
    past = [];
    let damaged = false;
    try {
      state = parse(location.hash.slice(1));
    } catch {
      state = { ...defaults };
      damaged = true;
    }
    for (const id of ["noise", "strength", "replace"]) element(id).value = state[id];
    element("normalise").checked = state.normalise;
    for (const name of ["masks", "c3"]) {
      document.querySelector(`input[name="${name}"][value="${state[name]}"]`).checked = true;
    }
    element("options").open ||= [...element("options").querySelectorAll("input, select")].some(
      (control) => (control.type === "radio" || control.type === "checkbox"
        ? control.checked !== control.defaultChecked : control.id === "noise" && control.selectedIndex > 0));
    update();
    say(damaged ? "The drawing in this link is damaged. Here is an empty square instead." : "", damaged);
  }

  // Pen

  const pad = element("pad");
  const clamp = (value) => Math.min(GRID, Math.max(0, Math.round(value)));
  let pointer = null; // the one that draws

  function pointOf(event) {
    const box = pad.getBoundingClientRect();
    return [
      clamp(((event.clientX - box.left) / box.width) * GRID),
      clamp(((event.clientY - box.top) / box.height) * GRID),
    ];
  }

  function extend(points) {
    const stroke = [...state.strokes.at(-1)];
    for (const [x, y] of points) {
      const [lastX, lastY] = stroke.at(-1);
      if (Math.hypot(x - lastX, y - lastY) >= 4) stroke.push([x, y]);
    }
    if (stroke.length === state.strokes.at(-1).length) return;
    change({ strokes: [...state.strokes.slice(0, -1), stroke] });
  }

  pad.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    pad.setPointerCapture(pointer);
    pen.visible = pen.down = false;
    redraw({ strokes: [...state.strokes, [pointOf(event)]] });
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    extend((events.length ? events : [event]).map(pointOf));
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    pad.addEventListener(type, (event) => {
      if (event.pointerId === pointer) pointer = null;
    });
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  pad.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow && !event.ctrlKey && !event.altKey && !event.metaKey) {
      const step = (event.shiftKey ? 3 : 1) * (GRID / 32);
      pen.x = clamp(pen.x + step * arrow[0]);
      pen.y = clamp(pen.y + step * arrow[1]);
      pen.visible = true;
      if (pen.down) extend([[pen.x, pen.y]]);
      later();
    } else if (event.key === " ") {
      pen.visible = true;
      pen.down = !pen.down;
      if (pen.down) redraw({ strokes: [...state.strokes, [[pen.x, pen.y]]] });
      later();
    } else if (event.key === "Delete" || event.key === "Backspace") clear();
    else return;
    event.preventDefault();
  });
  pad.addEventListener("focus", () => {
    pen.visible = pad.matches(":focus-visible") && pointer === null;
    later();
  });
  pad.addEventListener("blur", () => {
    pen.visible = pen.down = false;
    later();
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
      event.preventDefault();
      undo();
    }
  });

  // Masks

  for (const name of ["c1", "c3"]) {
    const canvas = element(name), side = name === "c1" ? 28 : 10;
    const cell = (pixel) =>
      Math.min(side - 1, Math.max(0, Math.floor(name === "c1" ? pixel : (pixel - 4) / 2)));
    const point = (place) => {
      pointed = place;
      later();
    };
    for (const type of ["pointerdown", "pointermove"]) {
      canvas.addEventListener(type, (event) => {
        const box = canvas.getBoundingClientRect();
        point({
          name,
          row: cell(((event.clientY - box.top) / box.height) * SIDE),
          column: cell(((event.clientX - box.left) / box.width) * SIDE),
        });
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const at = pointed?.name === name ? pointed : { row: side / 2, column: side / 2 };
      const move = (value, step) => Math.min(side - 1, Math.max(0, value + step));
      point({ name, row: move(at.row, arrow[1]), column: move(at.column, arrow[0]) });
    });
    canvas.addEventListener("focus", () => {
      if (canvas.matches(":focus-visible") && pointed?.name !== name) {
        point({ name, row: side / 2, column: side / 2 });
      }
    });
    canvas.addEventListener("blur", () => { // the other mask may have been tapped already
      if (pointed?.name === name) point(null);
    });
    canvas.addEventListener("pointerleave", (event) => { // a finger leaves after every tap
      if (event.pointerType === "mouse" && document.activeElement !== canvas) point(null);
    });
  }

  // Controls

  element("undo").addEventListener("click", undo);
  element("clear").addEventListener("click", clear);
  element("share").addEventListener("click", async () => {
    writeAddress();
    try {
      await navigator.clipboard.writeText(location.href);
      say("Copied. The link holds the drawing and the settings.");
    } catch {
      say("The address of this page now holds the drawing: copy it from the address bar.");
    }
  });
  element("normalise").addEventListener("change", (event) => change({ normalise: event.target.checked }));
  element("noise").addEventListener("change", (event) => change({ noise: event.target.value }));
  element("strength").addEventListener("input", (event) => change({ strength: Number(event.target.value) }));
  element("replace").addEventListener("change", (event) => change({ replace: event.target.value }));
  for (const input of document.querySelectorAll('input[type="radio"]')) {
    input.addEventListener("change", () => change({ [input.name]: input.value }));
  }

  const buttons = presets.map((preset) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.type = "button";
    button.className = "preset";
    canvas.width = canvas.height = SIDE;
    const words = document.createElement("span");
    words.textContent = preset.label;
    button.append(canvas, words);
    button.setAttribute("aria-label", `Test image ${preset.index}, true label ${preset.label}`);
    button.addEventListener("click", () => {
      pen.down = false;
      redraw({ preset, strokes: [] });
    });
    element(preset.group.replace(" ", "-")).append(button);
    return { button, canvas, preset };
  });

  function recolour() {
    readColours();
    for (const { canvas, preset } of buttons) paint(canvas, preset.pixels, grey);
    update();
  }

  const stops = Array.from({ length: 33 }, (_, at) => `rgb(${viridis(at / 32)})`);
  document.documentElement.style.setProperty("--viridis", stops.join(","));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("hashchange", readAddress);
  recolour();
  clearTimeout(addressTimer); // what is in the address is read before any is written
  readAddress();

  return { networks, presets, backgrounds, replacements, read, update, change, get state() { return state; } };
})();
