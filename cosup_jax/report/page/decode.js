// From the page's pictures back to volumes of codes.

const AT_ONCE = 8; // pictures that are decoded at a time

/** Returns the bytes of a block of base64 and lets go of its text. */
function takeBytes(id) {
  const block = document.getElementById(id);
  const text = atob(block.textContent);
  block.remove();
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * Returns a volume {shape: [Z, h, w], codes: Uint8Array}.
 * @param name the layer's name.
 * @param description its {size: [h, w], lengths: bytes of each slice's picture, 0 where it is blank}.
 * @param report called after each slice.
 */
async function decode(name, { size: [height, width], lengths }, report) {
  const bytes = takeBytes(`${name}-data`);
  const codes = new Uint8Array(lengths.length * height * width);
  const starts = [];
  let end = 0;
  for (const length of lengths) {
    starts.push(end);
    end += length;
  }
  let next = 0;
  async function work() {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    while (next < lengths.length) {
      const z = next++;
      if (lengths[z]) {
        const file = new Blob([bytes.subarray(starts[z], starts[z] + lengths[z])], { type: "image/webp" });
        const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
        context.drawImage(bitmap, 0, 0);
        bitmap.close();
        const { data } = context.getImageData(0, 0, width, height);
        const slice = codes.subarray(z * height * width, (z + 1) * height * width);
        for (let i = 0; i < slice.length; i += 1) slice[i] = data[4 * i];
      }
      report();
    }
  }
  const workers = Array.from({ length: Math.min(AT_ONCE, lengths.length) }, work);
  const failed = (await Promise.allSettled(workers)).find(({ reason }) => reason);
  if (failed) throw failed.reason;
  return { shape: [lengths.length, height, width], codes };
}

/** Makes sure that a mask was read as it was written; some browsers alter what a page reads. */
function checkMask({ shape: [, height, width], codes }, counts) {
  counts.forEach((expected, z) => {
    let count = 0;
    for (let i = z * height * width; i < (z + 1) * height * width; i += 1) {
      codes[i] = codes[i] > 127 ? 255 : 0;
      if (codes[i]) count += 1;
    }
    if (count !== expected) {
      throw new Error("this browser alters the pictures that a page reads; let it not, or take another");
    }
  });
}
