// Files that the page gives: spectra as CSV, picture and plot as PNG.

import { at } from "./marks.js";

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// A text is quoted; one that a spreadsheet would run as a formula gets an apostrophe first.
const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
const cell = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? String(value) : quoted(value));

export function csv(scene, marks) {
  const rows = [["image", "place", "column", "row", "pixels", "band", "wavelength_nm", "good", "value", "deviation"]];
  for (const { name, spectra } of marks) {
    for (const { image, row, col, pixels, values, mean, deviation } of spectra) {
      const about = scene.images[image];
      (values ?? mean).forEach((value, band) => rows.push([
        about.name, name, col, row, pixels ?? 1, band + 1, about.wavelengths?.[band], about.good && !about.good[band] ? 0 : 1, value, deviation?.[band],
      ]));
    }
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export const saveCsv = (scene, marks) => download("spectra.csv", new Blob([csv(scene, marks)], { type: "text/csv" }));

export function savePlot(plot) {
  const source = plot.ctx.canvas, canvas = document.createElement("canvas");
  canvas.width = source.width;
  canvas.height = source.height;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0);
  canvas.toBlob((blob) => download("spectra.png", blob));
}

// Draws what the map shows: tiles with opacity and swipe, then marks.
export function savePicture(map, layers, marks, state) {
  const { x: width, y: height } = map.getSize(), canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), box = map.getContainer().getBoundingClientRect();
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--stage");
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  layers.tiles.forEach((layer, number) => {
    if (!map.hasLayer(layer)) return;
    context.save();
    if (number === state.swipe) { context.beginPath(); context.rect((width * state.at) / 100, 0, width, height); context.clip(); }
    context.globalAlpha = state.images[number].opacity;
    for (const tile of layer.getContainer().querySelectorAll("canvas")) {
      const own = tile.getBoundingClientRect();
      context.drawImage(tile, own.left - box.left, own.top - box.top, own.width, own.height);
    }
    context.restore();
  });
  context.strokeStyle = "#fff";
  context.lineWidth = 2;
  context.font = "600 12px system-ui, sans-serif";
  for (const { kind, where, label } of marks) {
    const points = (kind === "pin" ? [where] : where).map((one) => map.latLngToContainerPoint(at(one)));
    context.beginPath();
    if (kind === "pin") context.arc(points[0].x, points[0].y, 8, 0, 2 * Math.PI);
    else { points.forEach(({ x, y }) => context.lineTo(x, y)); context.closePath(); }
    context.stroke();
    context.fillStyle = "#fff";
    context.fillText(label, points[0].x - 4, points[0].y + 4);
  }
  canvas.toBlob((blob) => download("picture.png", blob));
}
