// The infected area of each slice as a curve above the slider.

/**
 * Draws the curve.
 * @param burden its {counts: marked voxels of each slice, area: of one, unit: of the area}.
 * @param jump called with the slice that is clicked on.
 * @returns a function that moves the mark to a slice.
 */
function drawBurden(root, { counts, area, unit }, jump) {
  const areas = counts.map((count) => count * area);
  const curve = root.querySelector("div");
  const svg = root.querySelector("svg");
  const last = Math.max(1, areas.length - 1);
  const highest = Math.max(...areas);
  const most = areas.indexOf(highest);
  const points = areas.map((here, z) => `L${(z / last) * 100},${100 - (95 * here) / (highest || 1)}`);
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.querySelector("path").setAttribute("d", `M0,100${points.join("")}L100,100Z`);
  const amount = (some) => `${Number(some.toPrecision(3))} ${unit}`;
  svg.setAttribute("aria-label", "Infected area of each slice");
  const follow = (event) => {
    const box = svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    jump(Math.round(share * (areas.length - 1)));
  };
  curve.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    curve.setPointerCapture(event.pointerId);
    follow(event);
  });
  curve.addEventListener("pointermove", (event) => {
    if (curve.hasPointerCapture(event.pointerId)) follow(event);
  });
  const mark = root.querySelector("i");
  const text = root.querySelector("p");
  return (z) => {
    mark.style.left = `${(z / last) * 100}%`;
    text.textContent = highest
      ? `Infected area ${amount(areas[z])}, at most ${amount(highest)} in slice ${most + 1}`
      : "No infection is marked in any slice";
  };
}
