// Shows which part of the photograph is repainted, and lets it be brushed.
// value: {picture, mask, automatic: data addresses of one size; edited: true once a brush touched it}
const canvas = element.querySelector("canvas");
const empty = element.querySelector(".empty");
const size = element.querySelector("input[type=range]");
const screen = canvas.getContext("2d");
const layer = document.createElement("canvas"); // opaque where the image is repainted
const paint = layer.getContext("2d", { willReadFrequently: true });
const COLOUR = [91, 76, 219];
const HISTORY = 12;
let picture = null;
let history = [];
let erasing = false;
let last = null; // the pointer's place while it draws
let ring = null; // the pointer's place while it hovers

function load(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = address;
  });
}

// From grey to alpha.
async function putMask(address) {
  paint.clearRect(0, 0, layer.width, layer.height);
  if (!address) return;
  paint.drawImage(await load(address), 0, 0, layer.width, layer.height);
  const pixels = paint.getImageData(0, 0, layer.width, layer.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const inside = pixels.data[i] >= 128;
    pixels.data.set([...COLOUR, inside ? 255 : 0], i);
  }
  paint.putImageData(pixels, 0, 0);
}

// From alpha to grey.
function maskAddress() {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [layer.width, layer.height];
  const pixels = paint.getImageData(0, 0, layer.width, layer.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const grey = pixels.data[i + 3] >= 128 ? 255 : 0;
    pixels.data.set([grey, grey, grey, 255], i);
  }
  copy.getContext("2d").putImageData(pixels, 0, 0);
  return copy.toDataURL("image/png");
}

function show() {
  if (!picture) return;
  screen.globalAlpha = 1;
  screen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  screen.globalAlpha = 0.55;
  screen.drawImage(layer, 0, 0);
  screen.globalAlpha = 1;
  if (!ring) return;
  screen.beginPath();
  screen.arc(ring.x, ring.y, radius(), 0, 2 * Math.PI);
  screen.lineWidth = Math.max(1.5, canvas.width / 200);
  screen.strokeStyle = erasing ? "#ffffff" : `rgb(${COLOUR})`;
  screen.stroke();
}

function radius() {
  return (Number(size.value) / 100) * canvas.width * 0.25;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * canvas.width,
    y: ((event.clientY - box.top) / box.height) * canvas.height,
  };
}

function stroke(from, to) {
  paint.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  paint.strokeStyle = `rgb(${COLOUR})`;
  paint.lineCap = "round";
  paint.lineWidth = 2 * radius();
  paint.beginPath();
  paint.moveTo(from.x, from.y);
  paint.lineTo(to.x + 0.01, to.y);
  paint.stroke();
  paint.globalCompositeOperation = "source-over";
}

function remember() {
  history.push(paint.getImageData(0, 0, layer.width, layer.height));
  if (history.length > HISTORY) history.shift();
}

function tell(edited = true) {
  props.value = { ...props.value, mask: maskAddress(), edited };
}

async function start() {
  const value = props.value;
  history = [];
  picture = value && value.picture ? await load(value.picture) : null;
  canvas.hidden = !picture;
  empty.hidden = Boolean(picture);
  if (!picture) return;
  for (const each of [canvas, layer]) [each.width, each.height] = [picture.width, picture.height];
  await putMask(value.mask);
  show();
}

function choose(tool) {
  erasing = tool === "erase";
  for (const button of element.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
}

const actions = {
  undo: () => history.length && paint.putImageData(history.pop(), 0, 0),
  clear: () => (remember(), paint.clearRect(0, 0, layer.width, layer.height)),
  reset: async () => (remember(), await putMask(props.value.automatic)),
};

element.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.tool) choose(button.dataset.tool);
  if (!button.dataset.do || !picture) return;
  await actions[button.dataset.do]();
  show();
  tell(button.dataset.do !== "reset");
});
canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = place(event);
  stroke(last, last);
  show();
});
canvas.addEventListener("pointermove", (event) => {
  ring = place(event);
  if (last) {
    stroke(last, ring);
    last = ring;
  }
  show();
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    if (!last) return;
    last = null;
    tell();
  });
}
canvas.addEventListener("pointerleave", () => {
  ring = null;
  show();
});
watch("value", start);
start();
