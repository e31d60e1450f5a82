"use strict";

// Maps and flows are grids whose corner cells lie on the image's corner pixels.

const data = JSON.parse(document.getElementById("data").textContent);
const [HEIGHT, WIDTH] = data.size;
const ZOOM = Math.max(1, Math.ceil(480 / HEIGHT)); // of the large canvases
const byId = (id) => document.getElementById(id);
const view = { ...data.view, point: data.start };
const pictures = {};
let block;

async function start() {
  const packed = Uint8Array.from(atob(byId("block").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  block = await new Response(stream).arrayBuffer();
  await Promise.all([
    load("reference", data.reference),
    load("region", data.region),
    ...data.models.map((model, m) => load(`painted${m}`, model.painted)),
    ...(data.truth ? ["person", "flow", "warped"].map((k) => load(`true-${k}`, data.truth[k])) : []),
  ]);
  document.documentElement.classList.toggle("single", data.models.length === 1);
  byId("legend").src = data.legend;
  readHash();
  buildControls();
  buildStage();
  buildMarks();
  buildStrips();
  show();
}

async function load(name, uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, WIDTH, HEIGHT);
  pictures[name] = context.getImageData(0, 0, WIDTH, HEIGHT);
}

// ---- numbers -------------------------------------------------------------------------------

const floats = (offset, count) => new Float32Array(block, offset, count);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The (layer, heads) pairs that a view averages over. */
function chosen(v) {
  const layers = v.layer < 0 ? data.layers.map((_, index) => index) : [v.layer];
  return layers.map((layer) => {
    const all = [...Array(data.layers[layer].heads).keys()];
    return { layer, heads: v.head < 0 || v.layer < 0 ? all : [v.head], count: all.length };
  });
}

/** Attention of the point in each pixel, times what flat attention would give. */
function attention(m, v) {
  const total = new Float32Array(WIDTH * HEIGHT);
  const parts = chosen(v);
  for (const { layer, heads, count } of parts) {
    const look = data.models[m].looks[v.t][layer];
    const [h, w] = look.mapGrid;
    const row = data.layers[layer].token[v.point] * count;
    const map = new Float32Array(h * w);
    for (const head of heads) {
      const scale = floats(look.scale + 4 * (row + head), 1)[0] / 255 / heads.length / parts.length;
      const cells = new Uint8Array(block, look.map + (row + head) * h * w, h * w);
      for (let i = 0; i < cells.length; i++) map[i] += cells[i] * scale;
    }
    addUpsampled(total, map, h, w, 1, 0);
  }
  return total;
}

/** The flow field in each pixel: [x, y], each -1 to 1. */
function flowField(m, v) {
  const field = [new Float32Array(WIDTH * HEIGHT), new Float32Array(WIDTH * HEIGHT)];
  const parts = chosen(v);
  for (const { layer, heads } of parts) {
    const look = data.models[m].looks[v.t][layer];
    const [h, w] = look.flowGrid;
    const sum = new Float32Array(h * w * 2);
    for (const head of heads) {
      const values = new Uint16Array(block, look.flow + head * h * w * 4, h * w * 2);
      for (let i = 0; i < sum.length; i++) {
        sum[i] += (values[i] / 32767.5 - 1) / heads.length / parts.length;
      }
    }
    field.forEach((plane, axis) => addUpsampled(plane, sum, h, w, 2, axis));
  }
  return field;
}

/** Add one channel of a grid to an image-sized plane: bilinear, corners on corners. */
function addUpsampled(plane, grid, h, w, channels, channel) {
  for (let y = 0; y < HEIGHT; y++) {
    const gy = (y * (h - 1)) / (HEIGHT - 1);
    const y0 = Math.min(Math.floor(gy), Math.max(h - 2, 0)), fy = gy - y0;
    const y1 = Math.min(y0 + 1, h - 1);
    for (let x = 0; x < WIDTH; x++) {
      const gx = (x * (w - 1)) / (WIDTH - 1);
      const x0 = Math.min(Math.floor(gx), Math.max(w - 2, 0)), fx = gx - x0;
      const x1 = Math.min(x0 + 1, w - 1);
      const at = (row, column) => grid[(row * w + column) * channels + channel];
      plane[y * WIDTH + x] +=
        (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x1)) +
        fy * ((1 - fx) * at(y1, x0) + fx * at(y1, x1));
    }
  }
}

/** What is told of the point: where it looks, its peak mass, and how far off it is. */
function reading(m, v) {
  const places = [], peaks = [];
  for (const { layer, heads, count } of chosen(v)) {
    const look = data.models[m].looks[v.t][layer];
    const row = data.layers[layer].token[v.point] * count;
    const each = heads.map((head) => floats(look.at + 8 * (row + head), 2));
    places.push([mean(each.map((p) => p[0])), mean(each.map((p) => p[1]))]);
    peaks.push(mean(heads.map((head) => floats(look.peak + 4 * (row + head), 1)[0])));
  }
  const at = [mean(places.map((p) => p[0])), mean(places.map((p) => p[1]))];
  const truth = data.truth && data.truth.at[v.point];
  const [rows, columns] = data.pixels;
  const off = truth
    ? Math.hypot(((at[0] - truth[0]) * (columns - 1)) / 2, ((at[1] - truth[1]) * (rows - 1)) / 2)
    : null;
  return { at, peak: mean(peaks), off, error: error(m, v) };
}

/** The EPE of the whole flow, in pixels; the last of a list is the mean's. */
function error(m, v) {
  const table = data.models[m].errors;
  if (!table) return null;
  const layers = table[v.t];
  const heads = layers[v.layer < 0 ? layers.length - 1 : v.layer];
  return heads[v.head < 0 || v.layer < 0 ? heads.length - 1 : Math.min(v.head, heads.length - 1)];
}

// ---- images --------------------------------------------------------------------------------

function heatPicture(map) {
  const image = new ImageData(WIDTH, HEIGHT), reference = pictures.reference.data;
  let top = 0;
  for (const value of map) top = Math.max(top, value);
  for (let i = 0; i < map.length; i++) {
    const level = top > 0 ? map[i] / top : 0;
    const colour = data.colours[Math.round(255 * level)];
    const grey = 0.3 * reference[4 * i] + 0.59 * reference[4 * i + 1] + 0.11 * reference[4 * i + 2];
    const cover = 0.15 + 0.8 * Math.sqrt(level);
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = 0.55 * grey * (1 - cover) + colour[c] * cover;
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}

function flowPicture([x, y]) {
  const image = new ImageData(WIDTH, HEIGHT);
  for (let i = 0; i < x.length; i++) {
    [x[i], y[i], -(x[i] + y[i]) / 2].forEach((value, c) => {
      image.data[4 * i + c] = (value + 1) * 127.5;
    });
    image.data[4 * i + 3] = 255;
  }
  return image;
}

function warpedPicture([x, y]) {
  const image = new ImageData(WIDTH, HEIGHT), reference = pictures.reference.data;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  for (let i = 0; i < x.length; i++) {
    const gx = clamp(((x[i] + 1) / 2) * (WIDTH - 1), WIDTH - 1), x0 = Math.min(Math.floor(gx), WIDTH - 2);
    const gy = clamp(((y[i] + 1) / 2) * (HEIGHT - 1), HEIGHT - 1), y0 = Math.min(Math.floor(gy), HEIGHT - 2);
    const fx = gx - x0, fy = gy - y0, first = 4 * (y0 * WIDTH + x0);
    for (let c = 0; c < 3; c++) {
      const at = (down, right) => reference[first + 4 * (down * WIDTH + right) + c];
      image.data[4 * i + c] =
        (1 - fy) * ((1 - fx) * at(0, 0) + fx * at(0, 1)) + fy * ((1 - fx) * at(1, 0) + fx * at(1, 1));
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Nearly white where the flow says little: the other places of the person. */
function faded(image) {
  for (let i = 0; i < image.data.length; i += 4) {
    if (pictures.region.data[i] > 127) continue;
    for (let c = 0; c < 3; c++) image.data[i + c] = data.faded * image.data[i + c] + (1 - data.faded) * 255;
  }
  return image;
}

/** An image, enlarged to the canvas, with marks on it. */
function paint(canvas, image, marks = []) {
  const zoom = canvas.width / WIDTH;
  const small = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  for (const [kind, place] of marks) {
    const x = (((place[0] + 1) / 2) * (WIDTH - 1) + 0.5) * zoom;
    const y = (((place[1] + 1) / 2) * (HEIGHT - 1) + 0.5) * zoom;
    mark(context, kind, x, y, Math.max(canvas.height / 36, 4));
  }
}

const COLOURS = { point: "#ffd400", looks: "#35e0ff", true: "#4dff88" };

function mark(context, kind, x, y, size) {
  for (const [width, colour] of [[size / 2, "#000c"], [size / 4, COLOURS[kind]]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.lineCap = "round";
    context.beginPath();
    if (kind === "looks") context.arc(x, y, size * 0.8, 0, 2 * Math.PI);
    const arms = { point: [[1, 0], [0, 1]], true: [[0.75, 0.75], [0.75, -0.75]], looks: [] }[kind];
    for (const [dx, dy] of arms) {
      context.moveTo(x - size * dx, y - size * dy);
      context.lineTo(x + size * dx, y + size * dy);
    }
    context.stroke();
  }
}

// ---- the page ------------------------------------------------------------------------------

function element(tag, parent, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

function buildControls() {
  byId("t").max = data.timesteps.length - 1;
  byId("layer").max = data.layers.length - 1;
  for (const id of ["t", "layer", "head"]) {
    byId(id).addEventListener("input", () => change({ [id]: Number(byId(id).value) }));
  }
}

const PANELS = ["person", "attention on the reference", "flow field", "warped reference"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const panels = {};

function buildStage() {
  const stage = byId("stage");
  for (const title of ["", ...PANELS]) {
    element("div", stage, { className: "head", textContent: title });
  }
  const rows = data.models.map((model, m) => [`m${m}`, model.title]);
  if (data.truth) rows.push(["true", "ground truth"]);
  for (const [row, title] of rows) {
    const text = element("div", stage, { className: `row ${row}`, id: `${row}-text` });
    const cells = PANELS.map((panel) => {
      const canvas = element("canvas", stage, { width: WIDTH * ZOOM, height: HEIGHT * ZOOM });
      if (panel === PANELS[1]) named(canvas, "img", `${panel}, ${title}`);
      else pickable(canvas, `${panel}, ${title}`);
      return canvas;
    });
    panels[row] = { text, cells };
  }
  panels.m0.text.setAttribute("aria-live", "polite"); // one row tells where the point went
}

function named(canvas, role, label) {
  canvas.setAttribute("role", role);
  canvas.setAttribute("aria-label", label);
}

/** The point is chosen on this canvas, with a pointer or with the arrow keys. */
function pickable(canvas, label) {
  // The role keeps a screen reader from taking the arrow keys for itself.
  named(canvas, "application", `${label}; the arrow keys move the chosen point`);
  Object.assign(canvas, { className: "pick", tabIndex: 0 });
  canvas.addEventListener("pointerdown", (event) => pick(canvas, event));
  canvas.addEventListener("pointermove", (event) => event.buttons && pick(canvas, event));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // the page stays where it is
    change({ point: beside(view.point, ...ARROWS[event.key]) });
  });
}

function buildMarks() {
  const texts = {
    point: "the chosen point",
    looks: "mean position it looks at",
    ...(data.truth ? { true: "true position" } : {}),
  };
  for (const [kind, text] of Object.entries(texts)) {
    const span = element("span", byId("marks"));
    const canvas = element("canvas", span, { width: 22, height: 22 });
    canvas.setAttribute("aria-hidden", true); // the text beside it says it
    mark(canvas.getContext("2d"), kind, 11, 11, 8);
    span.append(text);
  }
}

const strips = {};

function buildStrips() {
  const heads = Math.max(...data.layers.map((layer) => layer.heads));
  const captions = {
    layer: ["all layers", ...data.layers.map((layer) => `${layer.short} · ${layer.grid.join("×")}`)],
    head: ["mean", ...Array.from({ length: heads }, (_, head) => `head ${head + 1}`)],
    t: data.timesteps.map((timestep) => `t = ${timestep}`),
  };
  for (const [key, id] of [["layer", "by-layer"], ["head", "by-head"], ["t", "by-timestep"]]) {
    const strip = byId(id), first = key === "t" ? 0 : -1;
    strip.style.gridTemplateRows = `repeat(${data.models.length}, auto)`;
    const width = Math.max(4, Math.min(8.5, 64 / captions[key].length));
    strip.style.gridTemplateColumns = `5rem repeat(${captions[key].length}, ${width}rem)`;
    data.models.forEach((model, m) => {
      element("div", strip, { className: `title m${m}`, textContent: model.title });
    });
    strips[key] = captions[key].map((caption, index) =>
      data.models.map(() => {
        const button = element("button", strip, { type: "button" });
        const canvas = element("canvas", button, { width: WIDTH * 2, height: HEIGHT * 2 });
        const text = element("span", button);
        button.addEventListener("click", () => change({ [key]: index + first }));
        return { button, canvas, text, caption, value: index + first };
      }),
    );
  }
}

function pick(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 2 - 1;
  const y = ((event.clientY - box.top) / box.height) * 2 - 1;
  change({ point: nearest(x, y) });
}

function nearest(x, y) {
  let best = 0, least = Infinity;
  data.points.forEach(([px, py], index) => {
    const distance = ((px - x) * WIDTH) ** 2 + ((py - y) * HEIGHT) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

/** The next point to one side of a point, as straight as there is one; else the same. */
function beside(point, right, down) {
  const [x, y] = data.points[point];
  let best = point, least = Infinity;
  data.points.forEach(([px, py], index) => {
    const dx = (px - x) * WIDTH, dy = (py - y) * HEIGHT;
    const along = dx * right + dy * down, aside = Math.abs(dx * down) + Math.abs(dy * right);
    const cost = along + 3 * aside;
    if (along > 1e-3 && cost < least) [best, least] = [index, cost];
  });
  return best;
}

let asked = false;

function change(part) {
  Object.assign(view, part);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    show();
  });
}

const limited = (v) => {
  const heads = v.layer < 0 ? 1 : data.layers[v.layer].heads;
  return { ...v, head: heads < 2 ? -1 : Math.min(v.head, heads - 1) };
};

function show() {
  Object.assign(view, limited(view));
  const layer = view.layer < 0 ? null : data.layers[view.layer];
  byId("t").value = view.t;
  byId("layer").value = view.layer;
  byId("head").max = layer ? layer.heads - 1 : -1;
  byId("head").disabled = !layer || layer.heads < 2;
  byId("head").value = view.head;
  byId("t-out").textContent = data.timesteps[view.t];
  byId("layer-out").textContent = layer ? `${layer.short} · ${layer.grid.join("×")}` : "all layers";
  const heads = layer ? layer.heads : 1;
  byId("head-out").textContent =
    heads < 2 ? (layer ? "single head" : "mean") : view.head < 0 ? `mean of ${heads}` : `${view.head + 1} of ${heads}`;
  const truth = data.truth && data.truth.at[view.point];
  const point = [["point", data.points[view.point]]];
  data.models.forEach((model, m) => showModel(model, m, point, truth));
  if (data.truth) showTruth(point, truth);
  showStrips(truth);
  writeHash();
}

function showModel(model, m, point, truth) {
  const { text, cells } = panels[`m${m}`];
  const field = flowField(m, view), read = reading(m, view);
  const marks = [...(truth ? [["true", truth]] : []), ["looks", read.at]];
  paint(cells[0], pictures[`painted${m}`], point);
  paint(cells[1], heatPicture(attention(m, view)), marks);
  paint(cells[2], faded(flowPicture(field)), point);
  paint(cells[3], faded(warpedPicture(field)), point);
  text.replaceChildren();
  element("b", text, { textContent: model.title });
  tell(text, "EPE", read.error, (value) => `${value.toFixed(1)} px`);
  tell(text, "off by", read.off, (value) => `${value.toFixed(1)} px`);
  tell(text, "peak", read.peak, (value) => value.toFixed(3));
  tell(text, "at", read.at, (place) => place.map((value) => value.toFixed(2)).join(", "));
}

function tell(parent, heading, value, written) {
  if (value === null || value === undefined) return;
  const line = element("span", parent, { textContent: `${heading} ` });
  element("strong", line, { textContent: written(value) });
}

function showTruth(point, truth) {
  const { text, cells } = panels.true;
  paint(cells[0], pictures["true-person"], point);
  paint(cells[1], pictures.reference, truth ? [["true", truth]] : []);
  paint(cells[2], pictures["true-flow"], point);
  paint(cells[3], pictures["true-warped"], point);
  text.replaceChildren();
  element("b", text, { textContent: "the truth" });
  element("span", text, {
    textContent: truth ? "known from the synthetic dataset" : "not known for this point: no visible garment",
  });
}

function showStrips(truth) {
  const heads = view.layer < 0 ? 1 : data.layers[view.layer].heads;
  byId("heads-title").hidden = byId("by-head").hidden = heads < 2;
  byId("by-head").style.display = heads < 2 ? "none" : "";
  for (const [key, columns] of Object.entries(strips)) {
    if (key === "head" && heads < 2) continue;
    for (const column of columns) {
      column.forEach(({ button, canvas, text, caption, value }, m) => {
        button.hidden = key === "head" && value >= heads;
        if (button.hidden) return;
        const own = limited({ ...view, [key]: value, ...(key === "layer" ? { head: -1 } : {}) });
        const read = reading(m, own);
        paint(canvas, heatPicture(attention(m, own)), [...(truth ? [["true", truth]] : []), ["looks", read.at]]);
        text.textContent = caption;
        if (read.error !== null) text.append(document.createElement("br"), `EPE ${read.error.toFixed(1)}`);
        const error = read.error === null ? "" : `, EPE ${read.error.toFixed(1)} px`;
        button.setAttribute("aria-label", `${caption}, ${data.models[m].title}${error}`);
        button.setAttribute("aria-pressed", view[key] === value);
      });
    }
  }
}

// ---- the address keeps the view, so that it can be sent to somebody ----------------------------

function writeHash() {
  const [x, y] = data.points[view.point].map((value) => ((value + 1) / 2).toFixed(3));
  const parts = [
    `t=${data.timesteps[view.t]}`,
    `layer=${view.layer < 0 ? "all" : view.layer}`,
    `head=${view.head < 0 ? "mean" : view.head + 1}`,
    `point=${x},${y}`,
  ];
  history.replaceState(null, "", `#${parts.join("&")}`);
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const t = data.timesteps.indexOf(Number(given.get("t")));
  const layer = Number(given.get("layer") ?? NaN), head = Number(given.get("head") ?? NaN);
  if (given.has("t") && t >= 0) view.t = t;
  if (given.get("layer") === "all") view.layer = -1;
  else if (data.layers[layer]) view.layer = layer;
  if (given.get("head") === "mean") view.head = -1;
  else if (head >= 1) view.head = Math.floor(head) - 1;
  const place = (given.get("point") ?? "").split(",").map(Number);
  if (place.length === 2 && place.every(Number.isFinite)) view.point = nearest(place[0] * 2 - 1, place[1] * 2 - 1);
}

start().catch((reason) => {
  byId("failed").textContent = `This browser cannot show the page: ${reason}`;
});
