// What the reader can press, type and choose.

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

function setCross(shown) {
  find("cross").checked = shown;
  find("planes").classList.toggle("plain", !shown);
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
    x: () => setCross(!find("cross").checked),
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
