// The planes as they stand in the page, and the state that they show.

const find = (id) => document.getElementById(id);
const settings = JSON.parse(find("settings").textContent);
const { shape, windows } = settings;
const sides = settings.spacing ?? [1, 1, 1];
const state = {
  position: [...settings.start],
  centre: windows[0][1],
  width: windows[0][2],
  style: "filled",
  visible: true,
  opacity: 0.5,
};
const layers = {}; // image, mask and probability, as decode returns them
const views = {};
const waiting = new Set(); // the views to draw with the next frame
const SVG = "http://www.w3.org/2000/svg";
const NOTCH = 40; // pixels of scrolling for one slice
let moveMark = () => {};

/** A plane in the page: its canvas, cross, marks and slider. */
function makeView(name) {
  const plane = PLANES[name];
  const figure = find(name);
  const stage = figure.querySelector(".stage");
  const canvas = document.createElement("canvas");
  canvas.width = shape[plane.across];
  canvas.height = shape[plane.down];
  canvas.setAttribute("role", "img");
  const ratio = (canvas.width * sides[plane.across]) / (canvas.height * sides[plane.down]);
  stage.style.aspectRatio = ratio;
  find("planes").style.setProperty(`--${name}`, ratio);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${canvas.width} ${canvas.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const path = svg.appendChild(document.createElementNS(SVG, "path"));
  const lines = ["across", "down"].map((direction) => {
    const line = document.createElement("i");
    line.className = direction;
    return line;
  });
  const marks = plane.marks.map((letter, k) => {
    const mark = document.createElement("abbr");
    mark.className = ["left", "right", "top", "bottom"][k];
    mark.textContent = letter + settings.doubt;
    mark.title = DIRECTIONS[letter] + settings.doubt;
    return mark;
  });
  stage.append(canvas, svg, ...lines, ...marks);
  const slider = figure.querySelector("input");
  slider.max = shape[plane.through];
  slider.addEventListener("input", () => go(plane.through, slider.valueAsNumber - 1));
  follow(stage, plane);
  return { name, plane, canvas, path, lines, slider, count: figure.querySelector(".count") };
}

/** Lets the pointer move the cross, and the wheel the slice. */
function follow(stage, plane) {
  const point = (event) => {
    const box = stage.getBoundingClientRect();
    const place = (share, axis) => Math.floor(share * shape[axis]);
    const column = place((event.clientX - box.left) / box.width, plane.across);
    const row = place((event.clientY - box.top) / box.height, plane.down);
    go(plane.across, column);
    go(plane.down, plane.upright ? shape[plane.down] - 1 - row : row);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    point(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) point(event);
  });
  let travelled = 0;
  stage.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || !event.deltaY) return;
      event.preventDefault();
      travelled += event.deltaMode ? Math.sign(event.deltaY) * NOTCH : event.deltaY;
      const steps = Math.trunc(travelled / NOTCH);
      travelled -= steps * NOTCH;
      go(plane.through, state.position[plane.through] - steps);
    },
    { passive: false },
  );
}

/** Moves to another slice of one axis. */
function go(axis, index) {
  const wanted = Math.min(shape[axis] - 1, Math.max(0, index));
  if (wanted === state.position[axis]) return;
  state.position[axis] = wanted;
  update(Object.values(views).filter(({ plane }) => plane.through === axis));
}

/** Draws some views with the next frame, and says where the cross is. */
function update(changed = Object.values(views)) {
  if (!waiting.size) requestAnimationFrame(drawWaiting);
  changed.forEach((view) => waiting.add(view));
}

function drawWaiting() {
  waiting.forEach(draw);
  waiting.clear();
  Object.values(views).forEach(label);
  moveMark(state.position[0]);
  describe();
}

function draw({ plane, canvas, path }) {
  const context = canvas.getContext("2d", { alpha: false });
  const index = state.position[plane.through];
  const { image, mask, probability } = layers;
  const style = state.visible ? state.style : "none";
  paint(context, cut(image, plane, index, shape), greys(settings.levels, state.centre, state.width));
  if (style === "filled") paint(context, cut(mask, plane, index, shape), maskColours(state.opacity));
  if (style === "probability") {
    paint(context, cut(probability, plane, index, shape), rampColours(state.opacity));
  }
  path.setAttribute("d", style === "outline" ? border(cut(mask, plane, index, shape)) : "");
  path.style.opacity = Math.min(1, 2 * state.opacity); // a line needs more to be seen than an area
}

function label({ name, plane, canvas, lines, slider, count }) {
  const { position } = state;
  const index = position[plane.through];
  slider.value = index + 1;
  const place = `slice ${index + 1} of ${shape[plane.through]}`;
  count.textContent = `${index + 1} / ${shape[plane.through]}`;
  slider.setAttribute("aria-valuetext", place);
  canvas.setAttribute("aria-label", `${name} ${place}`);
  const share = (axis) => (position[axis] + 0.5) / shape[axis];
  const down = plane.upright ? 1 - share(plane.down) : share(plane.down);
  lines[0].style.top = `${100 * down}%`;
  lines[1].style.left = `${100 * share(plane.across)}%`;
}

/** Says what lies under the cross. */
function describe() {
  const [z, y, x] = state.position;
  const code = (layer) => {
    const [k, i, j] = [z, y, x].map((index, axis) => within(index, shape[axis], layer.shape[axis]));
    return layer.codes[(k * layer.shape[1] + i) * layer.shape[2] + j];
  };
  const value = settings.levels[code(layers.image)];
  const rounded = Math.abs(value) < 10 ? Number(value.toPrecision(2)) : Math.round(value);
  const shown = `${settings.exact ? "" : "≈ "}${String(rounded).replace("-", "−")}`;
  const text = [
    `Slice ${z + 1}, row ${y + 1}, column ${x + 1}`,
    settings.intensity === "hu" ? `${shown} HU` : `grey level ${shown}`,
  ];
  if (layers.probability) text.push(`probability ${(code(layers.probability) / 255).toFixed(2)}`);
  text.push(code(layers.mask) ? "marked as infection" : "not marked");
  find("readout").textContent = text.join(" · ");
}
