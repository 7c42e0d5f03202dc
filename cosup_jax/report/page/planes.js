// The three planes of a volume with axes (z, y, x): z to the head, y to the back, x to the left,
// as far as the scan says so.

const PLANES = {
  axial: { through: 0, down: 1, across: 2, upright: false, marks: ["R", "L", "A", "P"] },
  coronal: { through: 1, down: 0, across: 2, upright: true, marks: ["R", "L", "H", "F"] },
  sagittal: { through: 2, down: 0, across: 1, upright: true, marks: ["A", "P", "H", "F"] },
};
const DIRECTIONS = { R: "right", L: "left", A: "front", P: "back", H: "head", F: "feet" };

/** Returns the index of a layer's voxel that lies where the volume has `index`. */
function within(index, count, layerCount) {
  return Math.min(layerCount - 1, Math.floor(((index + 0.5) * layerCount) / count));
}

/** Cuts a plane out of a layer: {codes, width, height}, with the head on top. */
function cut(layer, plane, index, shape) {
  const [, rows, columns] = layer.shape;
  const strides = [rows * columns, columns, 1];
  const width = layer.shape[plane.across];
  const height = layer.shape[plane.down];
  const step = strides[plane.across];
  const depth = within(index, shape[plane.through], layer.shape[plane.through]);
  const codes = new Uint8Array(width * height);
  for (let row = 0, i = 0; row < height; row += 1) {
    const line = plane.upright ? height - 1 - row : row;
    let from = depth * strides[plane.through] + line * strides[plane.down];
    for (let column = 0; column < width; column += 1, i += 1, from += step) codes[i] = layer.codes[from];
  }
  return { codes, width, height };
}

/** Returns the border of a cut mask as the path of an SVG, along the sides of its pixels. */
function border({ codes, width, height }) {
  const path = [];
  const marked = (x, y) =>
    x >= 0 && x < width && y >= 0 && y < height && codes[y * width + x] !== 0;
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0, from = -1; x <= width; x += 1) {
      const side = x < width && marked(x, y) !== marked(x, y - 1);
      if (side && from < 0) from = x;
      if (!side && from >= 0) {
        path.push(`M${from},${y}H${x}`);
        from = -1;
      }
    }
  }
  for (let x = 0; x <= width; x += 1) {
    for (let y = 0, from = -1; y <= height; y += 1) {
      const side = y < height && marked(x, y) !== marked(x - 1, y);
      if (side && from < 0) from = y;
      if (!side && from >= 0) {
        path.push(`M${x},${from}V${y}`);
        from = -1;
      }
    }
  }
  return path.join("");
}

const scratch = document.createElement("canvas");

/** Paints a cut over the whole of a canvas, each code in its colour (RGBA as 32 bits). */
function paint(context, { codes, width, height }, colours) {
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < pixels.length; i += 1) pixels[i] = colours[codes[i]];
  scratch.width = width;
  scratch.height = height;
  scratch.getContext("2d").putImageData(picture, 0, 0);
  context.drawImage(scratch, 0, 0, context.canvas.width, context.canvas.height);
}

function rgba(red, green, blue, alpha) {
  return ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Colours of the volume in a window of values. */
function greys(levels, centre, width) {
  return Uint32Array.from(levels, (value) => {
    const share = Math.min(1, Math.max(0, (value - centre) / width + 0.5));
    const grey = Math.round(255 * share);
    return rgba(grey, grey, grey, 1);
  });
}

const MASK_COLOUR = [255, 140, 40];
// From violet over red to pale yellow, growing lighter, so that it can be read without seeing hues.
const RAMP = [[60, 20, 140], [150, 30, 140], [225, 70, 85], [252, 150, 50], [252, 240, 150]];
const FAINT = 0.05; // below this a probability is not coloured

function maskColours(opacity) {
  return Uint32Array.from({ length: 256 }, (_, code) => rgba(...MASK_COLOUR, code ? opacity : 0));
}

function rampColours(opacity) {
  return Uint32Array.from({ length: 256 }, (_, code) => {
    const place = (code / 255) * (RAMP.length - 1);
    const below = Math.min(RAMP.length - 2, Math.floor(place));
    const mix = RAMP[below].map((c, k) => Math.round(c + (RAMP[below + 1][k] - c) * (place - below)));
    return rgba(...mix, code < 255 * FAINT ? 0 : opacity);
  });
}
