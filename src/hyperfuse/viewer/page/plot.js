// The plot of spectra: a line per image and mark, uncertainty and deviation as bands, bad bands grey.

const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#7a5fc7"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

export const colourOf = (number) => PALETTE[number % PALETTE.length];

// Returns the lines to draw: of each mark and image with positions along the axis.
export function lines(scene, marks, axis) {
  const found = [], skipped = new Set();
  marks.forEach((mark, rank) => {
    const uncertain = new Map(mark.spectra.filter(({ image }) => scene.images[image].of !== null)
      .map(({ image, values, mean }) => [scene.images[image].of, values ?? mean]));
    for (const { image, values, mean, deviation } of mark.spectra) {
      const about = scene.images[image];
      if (about.role === "uncertainty" && about.of !== null) continue;
      const x = axis === "band" ? [...Array(about.bands).keys()].map((band) => band + 1) : about.wavelengths;
      if (!x || x.every((value) => value === null)) { skipped.add(about.name); continue; }
      const spread = deviation ?? uncertain.get(image) ?? null;
      found.push({ image, rank, name: `${about.name}, ${mark.name}`, x, y: values ?? mean, spread, good: about.good, kind: deviation ? "deviation" : "uncertainty" });
    }
  });
  return { found, skipped: [...skipped] };
}

function table({ x, y, spread, good }) {
  const order = x.map((_, band) => band).filter((band) => x[band] !== null).sort((one, two) => x[one] - x[two]);
  const kept = order.filter((band, rank) => rank === 0 || x[band] > x[order[rank - 1]]);
  const of = (value) => kept.map((band) => (good && !good[band] ? null : value(band)));
  const columns = [of((band) => y[band])];
  if (spread) for (const sign of [1, -1]) columns.push(of((band) => (y[band] === null || spread[band] === null ? null : y[band] + sign * spread[band])));
  return [kept.map((band) => x[band]), ...columns];
}

// Returns the spans (from, to) of bad bands along the axis, of all images that are drawn.
export function badSpans(found) {
  const spans = [];
  for (const { x, good } of found) {
    if (!good) continue;
    const known = x.map((value, band) => [value, band]).filter(([value]) => value !== null).sort(([one], [two]) => one - two);
    known.forEach(([value, band], rank) => {
      if (good[band]) return;
      const before = known[rank - 1]?.[0] ?? value - 1, after = known[rank + 1]?.[0] ?? value + 1;
      spans.push([(value + before) / 2, (value + after) / 2]);
    });
  }
  spans.sort(([one], [two]) => one - two);
  return spans.reduce((merged, span) => {
    const last = merged.at(-1);
    if (last && span[0] <= last[1] + 1e-9) last[1] = Math.max(last[1], span[1]);
    else merged.push([...span]);
    return merged;
  }, []);
}

export class Plot {
  constructor(host, scene) {
    Object.assign(this, { host, scene, plot: null, found: [] });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
  }

  size() { return { width: Math.max(this.host.clientWidth, 200), height: 190 }; }

  draw(marks, axis) {
    const { found, skipped } = lines(this.scene, marks, axis);
    this.plot?.destroy();
    this.plot = null;
    this.found = found;
    if (found.length) {
      const data = uPlot.join(found.map(table));
      const series = [{ label: axis === "nm" ? "nm" : "band", value: (_, value) => value?.toFixed(axis === "nm" ? 1 : 0) ?? "" }], bands = [];
      for (const { image, rank, name, spread } of found) {
        const stroke = colourOf(image), line = { stroke, width: 1.5, dash: DASHES[rank % DASHES.length], spanGaps: false, points: { show: false } };
        series.push({ ...line, label: name, value: (_, value) => value?.toPrecision(5) ?? "" });
        if (!spread) continue;
        const at = series.length;
        for (const edge of ["+", "−"]) series.push({ label: `${name} ${edge}`, stroke: "transparent", width: 0, spanGaps: false, points: { show: false }, class: "edge" });
        bands.push({ series: [at, at + 1], fill: `${stroke}33` });
      }
      const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink");
      const grid = { stroke: () => getComputedStyle(document.documentElement).getPropertyValue("--grid"), width: 1 };
      const units = new Set(found.map(({ image }) => this.scene.images[image].units).filter((text) => text));
      const spans = badSpans(found);
      this.plot = new uPlot({
        ...this.size(), series, bands, scales: { x: { time: false } }, cursor: { drag: { x: true, y: false } },
        axes: [
          { stroke: ink, grid, label: axis === "nm" ? "wavelength (nm)" : "band", labelSize: 18, size: 32 },
          { stroke: ink, grid, label: units.size === 1 ? [...units][0] : undefined, size: 64 },
        ],
        legend: { markers: { width: 2 } },
        hooks: { drawClear: [(plot) => this.grey(plot, spans)] },
      }, data, this.host);
      for (const row of this.host.querySelectorAll(".u-legend .u-series.edge")) row.hidden = true;
    }
    this.host.setAttribute("aria-label", found.length ? `Plot of ${found.length} spectra: ${found.map(({ name }) => name).join("; ")}` : "Plot of spectra, empty");
    return skipped;
  }

  grey(plot, spans) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--bad");
    for (const [from, to] of spans) {
      const start = Math.max(plot.valToPos(from, "x", true), bbox.left), right = Math.min(plot.valToPos(to, "x", true), bbox.left + bbox.width);
      if (right > start) ctx.fillRect(start, bbox.top, right - start, bbox.height);
    }
    ctx.restore();
  }
}
