// Starts the page: the map, its layers, marks with their spectra, the panel, the keyboard.

import * as api from "./api.js";
import { Controls } from "./controls.js";
import { Layers } from "./layers.js";
import { Marks } from "./marks.js";
import { colourOf, Plot } from "./plot.js";
import { saveCsv, savePicture, savePlot } from "./save.js";
import * as stored from "./state.js";

const $ = (id) => document.getElementById(id);
const BUILDING_MS = 500;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function dressed(theme) {
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

async function start() {
  const scene = await api.scene();
  const { state, fits } = stored.read(scene);
  const map = L.map("map", { crs: L.CRS.Simple, attributionControl: false, minZoom: -16, maxZoom: 6, doubleClickZoom: false, zoomAnimation: false, fadeAnimation: false });
  const bounds = L.latLngBounds(scene.images.flatMap((image) => image.corners.map(([col, row]) => [-row, col])));
  const whole = () => map.fitBounds(bounds);
  if (state.view) map.setView([-state.view[1], state.view[0]], Math.round(state.view[2]));
  else whole();

  const layers = new Layers(map, scene, state, say);
  const plot = new Plot($("plot"), scene);
  let writing = 0;
  const remember = () => { clearTimeout(writing); writing = setTimeout(() => stored.write(state), 150); };

  const marks = new Marks(map, state, say, () => {
    const listed = marks.list(), skipped = plot.draw(listed, state.axis);
    $("hint").hidden = listed.length > 0;
    if (skipped.length) say(`${skipped.join(", ")}: no wavelengths; choose Along: band`);
    $("marks").replaceChildren(...listed.map(({ kind, name, where }, number) => {
      const rank = kind === "pin" ? number : number - state.pins.length;
      const item = document.createElement("li"), go = document.createElement("button"), gone = document.createElement("button");
      go.textContent = kind === "pin" ? `${name}: column ${Math.floor(where[0])}, row ${Math.floor(where[1])}` : `${name}: ${where.length} corners`;
      go.type = gone.type = "button";
      gone.textContent = "×";
      gone.setAttribute("aria-label", `Remove ${name}`);
      gone.onclick = async () => { await marks.remove(kind, rank); await angles(); };
      go.onclick = async () => { if (kind === "pin") { state.pin = rank; marks.changed(); await angles(); } };
      item.classList.toggle("chosen", kind === "pin" && rank === state.pin);
      item.append(go, gone);
      return item;
    }));
    remember();
  });
  const angles = () => Promise.all(state.images.map((own, number) => own.kind === "angle" && own.on && layers.show(number)));

  const placeLine = () => {
    $("line").hidden = state.swipe === null;
    $("line").style.left = `${state.at}%`;
    $("swipe").setAttribute("aria-valuetext", `${state.at} % from the left`);
    layers.clip();
  };
  const controls = new Controls(scene, state, layers, say, (number) => {
    if (number !== null) layers.show(number);
    placeLine();
    remember();
  });
  const swipeTo = (at) => { state.at = Math.min(100, Math.max(0, Math.round(at))); $("swipe").value = state.at; placeLine(); remember(); };

  // To a thousandth of a pixel: the address stays short.
  const position = ({ lat, lng }) => [lng, -lat].map((value) => Math.round(value * 1000) / 1000);
  const keepView = () => { state.view = [...position(map.getCenter()), map.getZoom()]; remember(); };
  map.on("click", async ({ latlng }) => { await marks.pin(position(latlng)); await angles(); });
  map.on("moveend", keepView);
  keepView();
  $("line").onpointerdown = (event) => { $("line").setPointerCapture(event.pointerId); event.preventDefault(); };
  $("line").onpointermove = (event) => {
    if (!$("line").hasPointerCapture(event.pointerId)) return;
    const box = $("stage").getBoundingClientRect();
    swipeTo((100 * (event.clientX - box.left)) / box.width);
  };
  const polygon = async () => {
    if (marks.corners) await marks.finishPolygon(); else marks.startPolygon();
    $("polygon").setAttribute("aria-pressed", String(marks.corners !== null));
    $("polygon").textContent = marks.corners ? "Finish polygon" : "Polygon";
  };
  $("polygon").onclick = polygon;
  $("clear").onclick = async () => { await marks.clear(); await angles(); };
  $("axis").value = state.axis;
  $("axis").onchange = (event) => { state.axis = event.target.value; marks.changed(); };
  $("save-csv").onclick = () => (marks.list().length ? saveCsv(scene, marks.list()) : say("pin a pixel first", true));
  $("save-plot").onclick = () => (plot.plot ? savePlot(plot.plot) : say("pin a pixel first", true));
  $("save-picture").onclick = () => savePicture(map, layers, marks.list(), state);
  $("theme").value = state.theme;
  $("theme").onchange = (event) => { state.theme = event.target.value; dressed(state.theme); plot.plot?.redraw(); remember(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { dressed(state.theme); plot.plot?.redraw(); });
  dressed(state.theme);

  const keys = {
    Enter: async () => { await marks.pin(position(map.getCenter())); await angles(); },
    Backspace: async () => { await marks.removeLast(); await angles(); },
    Escape: async () => { if (marks.corners) { marks.leavePolygon(); $("polygon").setAttribute("aria-pressed", "false"); $("polygon").textContent = "Polygon"; } },
    g: polygon, 0: async () => whole(),
    "[": async () => swipeTo(state.at - 2), "]": async () => swipeTo(state.at + 2),
    ",": async () => controls.chooseBand(controls.own.band - 1), ".": async () => controls.chooseBand(controls.own.band + 1),
  };
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|BUTTON|TEXTAREA|SUMMARY)$/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // While a pyramid is built, what is known of it is drawn again and again, and a bar says how far it is.
  let building = true; // perhaps, until the server says
  setInterval(async () => {
    if (!layers.pending && !building) return;
    try {
      const { fraction, failures } = await api.progress();
      for (const [name, text] of Object.entries(failures)) say(`${name}: ${text}`, true);
      $("build").hidden = fraction >= 1;
      $("build").querySelector("progress").value = fraction;
      for (const layer of layers.tiles) layer.refreshPending();
      if (building && fraction >= 1) await layers.forgetLimits();
      building = fraction < 1;
    } catch (error) { say(`the server does not reply: ${error.message}`, true); }
  }, BUILDING_MS);

  await layers.showAll();
  placeLine();
  await marks.update();
  stored.write(state);
  if (!fits) say("the address describes other images, so that they are shown as at first", true);
  document.body.dataset.ready = "true";
}

start().catch((error) => say(`the page cannot start: ${error.message}`, true));
