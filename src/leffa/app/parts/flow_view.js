// Shows where a point of the result came from in the reference.
// value: {result, reference, gathered: data addresses; grid: {width, height, places, made}; text: {...}}
const stage = element.querySelector(".flow");
const empty = element.querySelector(".empty");
const [result, reference, gathered] = element.querySelectorAll("img");
const [here, there] = element.querySelectorAll(".dot");
const line = element.querySelector(".sentence");
let grid = null;

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function start() {
  const value = props.value;
  grid = null;
  stage.hidden = !(value && value.grid);
  empty.hidden = !stage.hidden;
  if (value && value.text) empty.textContent = value.text.empty;
  here.hidden = there.hidden = true;
  if (stage.hidden) return;
  result.src = value.result;
  reference.src = value.reference;
  gathered.src = value.gathered;
  const places = bytes(value.grid.places);
  grid = {
    width: value.grid.width,
    height: value.grid.height,
    places: new DataView(places.buffer),
    made: bytes(value.grid.made),
  };
  line.textContent = value.text.start;
}

function percent(fraction) {
  return `${Math.round(100 * fraction)} %`;
}

function put(dot, x, y) {
  dot.hidden = false;
  dot.style.left = `${100 * x}%`;
  dot.style.top = `${100 * y}%`;
}

function look(event) {
  if (!grid) return;
  const box = result.getBoundingClientRect();
  const x = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width));
  const y = Math.min(0.9999, Math.max(0, (event.clientY - box.top) / box.height));
  const cell = Math.floor(y * grid.height) * grid.width + Math.floor(x * grid.width);
  put(here, x, y);
  if (!grid.made[cell]) {
    there.hidden = true;
    line.textContent = props.value.text.kept;
    return;
  }
  const toX = grid.places.getUint16(4 * cell, true) / 65535;
  const toY = grid.places.getUint16(4 * cell + 2, true) / 65535;
  put(there, toX, toY);
  line.textContent = props.value.text.found
    .replace("{x}", percent(x))
    .replace("{y}", percent(y))
    .replace("{to_x}", percent(toX))
    .replace("{to_y}", percent(toY));
}

result.addEventListener("pointermove", look);
result.addEventListener("pointerdown", look);
watch("value", start);
start();
