// Reads the volume, then lets the reader at it.

async function main() {
  const names = Object.keys(settings.layers);
  let done = 0;
  const report = () => {
    done += 1;
    const share = Math.floor((100 * done) / (names.length * shape[0]));
    find("status").textContent = `Reading the volume … ${share} %`;
  };
  for (const name of names) layers[name] = await decode(name, settings.layers[name], report);
  checkMask(layers.mask, settings.burden.counts);
  for (const name of Object.keys(PLANES)) {
    if (shape[0] > 1 || name === "axial") views[name] = makeView(name);
    else find(name).hidden = true;
  }
  if (shape[0] === 1) {
    for (const part of document.querySelectorAll("#burden div, #axial input, .ends")) part.hidden = true;
  }
  moveMark = drawBurden(find("burden"), settings.burden, (z) => go(0, z));
  for (const id of ["centre", "width"]) {
    find(id).addEventListener("change", () => {
      setWindow(find("centre").valueAsNumber || 0, Math.max(1e-6, find("width").valueAsNumber || 1));
    });
  }
  find("visible").addEventListener("change", () => setVisible(find("visible").checked));
  find("cross").addEventListener("change", () => setCross(find("cross").checked));
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
  for (const id of ["tools", "planes"]) find(id).hidden = false;
  find("status").remove();
}

main().catch((error) => {
  find("status").className = "problem";
  find("status").textContent = `The slices cannot be shown: ${error.message ?? error}`;
});
