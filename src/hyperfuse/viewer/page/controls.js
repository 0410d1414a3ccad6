// The panel: the list of images, and how the chosen one is shown.

import { colourOf } from "./plot.js";

const $ = (id) => document.getElementById(id);
const KINDS = { rgb: "three bands as red, green, blue", single: "one band", angle: "spectral angle to the pin", error: "error against the reference (RMSE)", "error-angle": "spectral angle to the reference" };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key in made ? (made[key] = value) : made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const bandName = (image, band) => {
  const parts = [`${band + 1}`];
  if (image.wavelengths?.[band] != null) parts.push(`${+image.wavelengths[band].toFixed(1)} nm`);
  if (image.names?.[band] && image.names[band] !== `Band ${band + 1}`) parts.push(image.names[band]);
  if (image.good && !image.good[band]) parts.push("bad");
  return parts.join(" · ");
};

// Returns the band that is not bad whose centre lies nearest to a wavelength.
export function nearestBand(image, wavelength) {
  let best = null;
  image.wavelengths?.forEach((centre, band) => {
    if (centre === null || (image.good && !image.good[band])) return;
    if (best === null || Math.abs(centre - wavelength) < Math.abs(image.wavelengths[best] - wavelength)) best = band;
  });
  return best;
}

export class Controls {
  // `changed` takes the number of an image that is shown otherwise, or null for swipe and choice.
  constructor(scene, state, layers, say, changed) {
    Object.assign(this, { scene, state, layers, say, changed });
    this.build();
    this.fill();
  }

  get image() { return this.scene.images[this.state.chosen]; }
  get own() { return this.state.images[this.state.chosen]; }

  build() {
    this.scene.images.forEach((image, number) => {
      const own = this.state.images[number];
      const choose = element("button", { type: "button", className: "name", onclick: () => this.choose(number) }, element("span", { className: "swatch" }), image.name);
      choose.firstChild.style.color = colourOf(number);
      choose.setAttribute("aria-label", `Choose ${image.name}`);
      const on = element("input", { type: "checkbox", checked: own.on, onchange: () => { own.on = on.checked; this.changed(number); } });
      on.setAttribute("aria-label", `Show ${image.name}`);
      const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: own.opacity, oninput: () => { own.opacity = +opacity.value; this.changed(number); } });
      opacity.setAttribute("aria-label", `Opacity of ${image.name}`);
      const item = element("li", {}, choose,
        element("p", { className: "facts" }, [image.role === "image" ? null : image.role, ...image.facts].filter((text) => text).join(", ")),
        element("div", { className: "row" }, element("label", {}, on, "shown"), element("label", {}, "opacity", opacity)));
      for (const note of image.notes) item.append(element("p", { className: "notes" }, `Note: ${note}`));
      $("images").append(item);
    });
    $("swipe-image").append(element("option", { value: "" }, "no image"), ...this.scene.images.map((image, number) => element("option", { value: number }, image.name)));
    $("swipe-image").onchange = (event) => {
      this.state.swipe = event.target.value === "" ? null : +event.target.value;
      if (this.state.swipe !== null) { this.state.images[this.state.swipe].on = true; this.fill(); this.changed(this.state.swipe); }
      this.changed(null);
    };
    $("swipe").oninput = (event) => { this.state.at = +event.target.value; this.changed(null); };
    $("kind").onchange = (event) => { Object.assign(this.own, { kind: event.target.value, limits: null }); if (!["rgb", "single"].includes(this.own.kind)) this.own.scale = "cubehelix"; this.update(); };
    document.querySelectorAll("select.band").forEach((select, channel) => {
      select.onchange = () => { this.own.bands[channel] = +select.value; this.own.limits = null; this.update(); };
    });
    $("by-wavelength").onchange = (event) => this.chooseWavelengths(event.target);
    $("band").oninput = (event) => this.chooseBand(+event.target.value);
    $("scale").onchange = (event) => { this.own.scale = event.target.value; this.update(); };
    $("stretch").onchange = async (event) => {
      const look = this.layers.look(this.state.chosen);
      if (event.target.checked) this.own.limits = null;
      else { try { this.own.limits = look && (await this.layers.automatic(look)).map((pair) => [...pair]); } catch (error) { this.say(error.message, true); } }
      this.update();
    };
  }

  choose(number) { this.state.chosen = number; this.fill(); this.changed(null); }

  chooseBand(band) {
    if (this.own.kind !== "single" || band < 0 || band >= this.image.bands) return;
    Object.assign(this.own, { band, limits: null });
    this.update();
  }

  chooseWavelengths(input) {
    const asked = input.value.split(/[,; ]+/).filter((text) => text).map(Number);
    if (asked.length !== 3 || !asked.every(Number.isFinite)) { this.say("write three wavelengths in nm: 650, 560, 470", true); return; }
    const bands = asked.map((wavelength) => nearestBand(this.image, wavelength));
    if (bands.includes(null)) { this.say(`${this.image.name} states no wavelengths`, true); return; }
    Object.assign(this.own, { bands, limits: null });
    this.update();
  }

  update() { this.fill(); this.changed(this.state.chosen); }

  fill() {
    const { state, image, own } = this;
    [...$("images").children].forEach((item, number) => {
      item.classList.toggle("chosen", number === state.chosen);
      item.querySelector("button").setAttribute("aria-pressed", String(number === state.chosen));
      item.querySelector("input[type=checkbox]").checked = state.images[number].on;
    });
    $("swipe-image").value = state.swipe ?? "";
    $("swipe").value = state.at;
    $("swipe").disabled = state.swipe === null;
    $("look-name").value = image.name;
    const hasReference = this.scene.images.some(({ role }) => role === "reference") && image.role !== "reference";
    const kinds = Object.keys(KINDS).filter((kind) => !kind.startsWith("error") || hasReference);
    $("kind").replaceChildren(...kinds.map((kind) => element("option", { value: kind }, KINDS[kind])));
    $("kind").value = own.kind;
    $("rgb").hidden = own.kind !== "rgb";
    $("single").hidden = own.kind !== "single";
    $("scale-label").hidden = own.kind === "rgb";
    document.querySelectorAll("select.band").forEach((select, channel) => {
      if (select.dataset.image !== String(state.chosen)) {
        select.replaceChildren(...[...Array(image.bands).keys()].map((band) => element("option", { value: band }, bandName(image, band))));
        select.dataset.image = state.chosen;
      }
      select.value = own.bands[channel];
    });
    $("by-wavelength").disabled = !image.wavelengths;
    $("band").max = image.bands - 1;
    $("band").value = own.band;
    $("band").setAttribute("aria-valuetext", bandName(image, own.band));
    $("band-name").value = bandName(image, own.band);
    $("scale").value = own.scale;
    $("stretch").checked = own.limits === null;
    this.fillLimits();
  }

  async fillLimits() {
    const { own } = this, look = this.layers.look(this.state.chosen), host = $("limits");
    let limits = own.limits;
    if (limits === null && look !== null) { try { limits = await this.layers.automatic(look); } catch { limits = null; } }
    if (own !== this.own || JSON.stringify(look) !== JSON.stringify(this.layers.look(this.state.chosen))) return;
    host.replaceChildren();
    const names = own.kind === "rgb" ? ["red", "green", "blue"] : ["values"];
    (limits ?? []).forEach((pair, channel) => {
      const inputs = pair.map((value, end) => {
        const input = element("input", { type: "number", step: "any", value: +value.toPrecision(6) });
        input.setAttribute("aria-label", `${names[channel]}: ${end ? "brightest" : "darkest"}`);
        input.onchange = () => {
          const next = limits.map((one) => [...one]);
          next[channel][end] = input.valueAsNumber;
          if (!(next[channel][0] < next[channel][1])) { this.say("the darkest value has to be below the brightest", true); return; }
          own.limits = next;
          this.update();
        };
        return input;
      });
      host.append(element("div", { className: "pair" }, ...inputs));
    });
  }
}
