// The viewer: what is shown, and what changes it.

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
const layers = {};
const views = {};
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
  stage.style.aspectRatio =
    (canvas.width * sides[plane.across]) / (canvas.height * sides[plane.down]);
  const lines = ["across", "down"].map((direction) => {
    const line = document.createElement("i");
    line.className = direction;
    return line;
  });
  const marks = plane.marks.map((letter, k) => {
    const mark = document.createElement("abbr");
    mark.className = ["left", "right", "top", "bottom"][k];
    mark.textContent = letter;
    mark.title = DIRECTIONS[letter];
    return mark;
  });
  stage.append(canvas, ...lines, ...marks);
  const slider = figure.querySelector("input");
  slider.max = shape[plane.through];
  slider.addEventListener("input", () => go(plane.through, slider.valueAsNumber - 1));
  follow(stage, plane);
  return { name, plane, canvas, lines, slider, label: figure.querySelector("output") };
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
const NOTCH = 40; // pixels of scrolling for one slice

/** Moves to another slice of one axis. */
function go(axis, index) {
  const wanted = Math.min(shape[axis] - 1, Math.max(0, index));
  if (wanted === state.position[axis]) return;
  state.position[axis] = wanted;
  update(Object.values(views).filter(({ plane }) => plane.through === axis));
}

const waiting = new Set();

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

function draw({ plane, canvas }) {
  const context = canvas.getContext("2d", { alpha: false });
  const index = state.position[plane.through];
  const { image, mask, probability } = layers;
  paint(context, cut(image, plane, index, shape), greys(settings.levels, state.centre, state.width));
  if (!state.visible) return;
  if (state.style === "probability") {
    paint(context, cut(probability, plane, index, shape), rampColours(state.opacity));
  } else {
    const marked = cut(mask, plane, index, shape);
    paint(context, state.style === "outline" ? outline(marked) : marked, maskColours(state.opacity));
  }
}

function label({ name, plane, canvas, lines, slider, label: output }) {
  const { position } = state;
  const index = position[plane.through];
  slider.value = index + 1;
  output.value = `${index + 1} / ${shape[plane.through]}`;
  slider.setAttribute("aria-valuetext", `slice ${index + 1} of ${shape[plane.through]}`);
  canvas.setAttribute("aria-label", `${name} slice ${index + 1} of ${shape[plane.through]}`);
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
  const shown = Math.abs(value) < 10 ? Number(value.toPrecision(2)) : Math.round(value);
  const text = [
    `Slice ${z + 1}, row ${y + 1}, column ${x + 1}`,
    `${settings.exact ? "" : "≈ "}${String(shown).replace("-", "−")} ${settings.intensity === "hu" ? "HU" : "grey"}`,
  ];
  if (layers.probability) text.push(`probability ${(code(layers.probability) / 255).toFixed(2)}`);
  text.push(code(layers.mask) ? "marked as infection" : "not marked");
  find("readout").value = text.join(" · ");
}

/** Makes the buttons of a choice; returns a function that shows which of them is chosen. */
function offer(root, names, choose) {
  const buttons = names.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", (event) => {
      choose(name);
      if (event.detail) button.blur(); // after a click the keys are the slices' again
    });
    return button;
  });
  root.append(...buttons);
  return (chosen) =>
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", names[k] === chosen));
}

const showWindow = offer(find("windows"), windows.map(([name]) => name), (name) => {
  const [, centre, width] = windows.find(([other]) => other === name);
  setWindow(centre, width);
});

function setWindow(centre, width) {
  Object.assign(state, { centre, width });
  find("centre").value = Number(centre.toPrecision(4));
  find("width").value = Number(width.toPrecision(4));
  showWindow(windows.find(([, c, w]) => c === centre && w === width)?.[0]);
  update();
}

const STYLES = ["filled", "outline", ...(settings.layers.probability ? ["probability"] : [])];
const showStyle = offer(find("styles"), STYLES, setStyle);

function setStyle(style) {
  state.style = style;
  showStyle(style);
  find("legend").hidden = style !== "probability";
  setVisible(true);
}

function setVisible(visible) {
  state.visible = visible;
  find("visible").checked = visible;
  update();
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const { target } = event;
  const elsewhere = target !== document.body && !find("viewer").contains(target);
  const typing = target.matches("input[type=number]");
  const sliding = target.matches("input[type=range]") && target !== views.axial.slider;
  const pressing = target.matches("button, summary, input[type=checkbox]");
  if (elsewhere || typing || (sliding && event.key.length > 1) || (pressing && event.key === " ")) {
    return;
  }
  const step = event.shiftKey ? 10 : 1;
  const z = state.position[0];
  const actions = {
    ArrowUp: () => go(0, z + step),
    ArrowRight: () => go(0, z + step),
    ArrowDown: () => go(0, z - step),
    ArrowLeft: () => go(0, z - step),
    Home: () => go(0, 0),
    End: () => go(0, shape[0] - 1),
    " ": () => setVisible(!state.visible),
    o: () => setStyle(STYLES[(STYLES.indexOf(state.style) + 1) % STYLES.length]),
  };
  windows.forEach(([, centre, width], k) => {
    actions[k + 1] = () => setWindow(centre, width);
  });
  const action = actions[event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

function describeGeometry() {
  const voxels = `${shape[0]} slices of ${shape[2]} × ${shape[1]} pixels`;
  const mm = [...sides].reverse().map((side) => side.toFixed(2)).join(" × ");
  find("geometry").textContent = settings.spacing ? `${voxels}, voxels of ${mm} mm` : voxels;
}

async function main() {
  const names = Object.keys(settings.layers);
  let done = 0;
  const report = () => {
    done += 1;
    const share = Math.floor((100 * done) / (names.length * shape[0]));
    find("status").textContent = `Reading the volume … ${share} %`;
  };
  for (const name of names) layers[name] = await decode(name, settings.layers[name], report);
  for (const name of Object.keys(PLANES)) {
    if (shape[0] > 1 || name === "axial") views[name] = makeView(name);
    else find(name).hidden = true;
  }
  moveMark = drawBurden(find("burden"), settings.burden, (z) => go(0, z));
  for (const id of ["centre", "width"]) {
    find(id).addEventListener("change", () => {
      setWindow(find("centre").valueAsNumber || 0, Math.max(1e-6, find("width").valueAsNumber || 1));
    });
  }
  find("visible").addEventListener("change", () => setVisible(find("visible").checked));
  find("opacity").addEventListener("input", () => {
    state.opacity = find("opacity").valueAsNumber / 100;
    update();
  });
  document.addEventListener("keydown", onKey);
  const legend = find("legend").querySelector("canvas").getContext("2d");
  const ramp = Uint8Array.from({ length: 256 }, (_, code) => code);
  paint(legend, { codes: ramp, width: 256, height: 1 }, rampColours(1));
  setWindow(state.centre, state.width);
  setStyle(state.style);
  for (const id of ["tools", "planes", "readout"]) find(id).hidden = false;
  find("status").remove();
}

describeGeometry();
main().catch((error) => {
  find("status").className = "problem";
  find("status").textContent = `The slices cannot be shown: ${error.message ?? error}`;
});
