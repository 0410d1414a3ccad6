// What is shown, kept in the address of the page, so that a bookmark or a copied address shows the same.

const KINDS = ["rgb", "single", "angle", "error", "error-angle"];

export function initial(scene) {
  const images = scene.images.map((image) => {
    const [red, green, blue] = image.shown.bands;
    return {
      on: false, opacity: 1, kind: red === green && green === blue ? "single" : "rgb",
      bands: [...image.shown.bands], band: red, scale: image.role === "uncertainty" ? "cubehelix" : "grey", limits: null,
    };
  });
  const plain = scene.images.map((_, number) => number).filter((number) => scene.images[number].role === "image");
  const first = plain[0] ?? 0, last = plain.at(-1) ?? 0;
  images[first].on = images[last].on = true;
  return {
    images, chosen: last, swipe: first === last ? null : last, at: 50, view: null, pins: [], polygons: [], pin: 0,
    axis: scene.images.some((image) => image.wavelengths) ? "nm" : "band", theme: "auto",
  };
}

export function write(state) {
  history.replaceState(null, "", `${location.pathname}#${encodeURIComponent(JSON.stringify(state))}`);
}

// Returns the state of the address, or the initial one; what does not fit these images is left out.
export function read(scene) {
  const state = initial(scene);
  if (location.hash.length < 2) return { state, fits: true };
  let found;
  try { found = JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return { state, fits: false }; }
  if (!Array.isArray(found?.images) || found.images.length !== state.images.length) return { state, fits: false };
  const isNumber = (value, low, high) => Number.isFinite(value) && value >= low && value <= high;
  const isWhole = (value, count) => Number.isInteger(value) && value >= 0 && value < count;
  const isPoint = (point) => Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
  found.images.forEach((one, number) => {
    const own = state.images[number], bands = scene.images[number].bands;
    if (typeof one?.on === "boolean") own.on = one.on;
    if (isNumber(one?.opacity, 0, 1)) own.opacity = one.opacity;
    if (KINDS.includes(one?.kind)) own.kind = one.kind;
    if (Array.isArray(one?.bands) && one.bands.length === 3 && one.bands.every((band) => isWhole(band, bands))) own.bands = one.bands;
    if (isWhole(one?.band, bands)) own.band = one.band;
    if (["grey", "cubehelix"].includes(one?.scale)) own.scale = one.scale;
    const channels = own.kind === "rgb" ? 3 : 1;
    if (Array.isArray(one?.limits) && one.limits.length === channels && one.limits.every((pair) => isPoint(pair) && pair[0] < pair[1])) own.limits = one.limits;
  });
  if (isWhole(found.chosen, state.images.length)) state.chosen = found.chosen;
  state.swipe = isWhole(found.swipe, state.images.length) ? found.swipe : null;
  if (isNumber(found.at, 0, 100)) state.at = found.at;
  if (Array.isArray(found.view) && found.view.length === 3 && found.view.every(Number.isFinite)) state.view = found.view;
  if (Array.isArray(found.pins)) state.pins = found.pins.filter(isPoint).slice(0, 20);
  if (Array.isArray(found.polygons)) state.polygons = found.polygons.filter((one) => Array.isArray(one) && one.length > 2 && one.length <= 500 && one.every(isPoint)).slice(0, 20);
  if (isWhole(found.pin, Math.max(state.pins.length, 1))) state.pin = found.pin;
  if (["nm", "band"].includes(found.axis)) state.axis = found.axis;
  if (["auto", "light", "dark"].includes(found.theme)) state.theme = found.theme;
  return { state, fits: true };
}
