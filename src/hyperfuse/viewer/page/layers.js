// The images as layers of the map: which are on, how they are shown, opacity and swipe.

import * as api from "./api.js";
import { ImageTiles } from "./tiles.js";

export class Layers {
  constructor(map, scene, state, say) {
    Object.assign(this, { map, scene, state, say });
    this.limits = new Map();
    this.current = scene.images.map(() => null);
    this.tiles = scene.images.map((image, number) => {
      const pane = map.createPane(`image-${number}`);
      pane.style.zIndex = 200 + number;
      const points = image.corners.map(([col, row]) => [-row, col]);
      return new ImageTiles(() => this.current[number], (error) => say(`${image.name}: ${error.message}`, true), {
        pane: `image-${number}`, bounds: L.latLngBounds(points),
      });
    });
    map.on("move zoom resize viewreset", () => this.clip());
  }

  // What is asked of the server for an image, without limits; null where the image cannot be shown so.
  look(number) {
    const own = this.state.images[number];
    if (own.kind === "rgb") return { image: number, kind: "bands", bands: own.bands.join(",") };
    const query = { image: number, kind: own.kind, scale: own.scale };
    if (own.kind === "single") return { ...query, kind: "bands", bands: String(own.band) };
    if (own.kind !== "angle") return query;
    const pin = this.state.pins[this.state.pin];
    return pin ? { ...query, pin: pin.join(",") } : null;
  }

  async show(number) {
    const own = this.state.images[number], layer = this.tiles[number];
    if (!own.on) { layer.remove(); return; }
    const look = this.look(number);
    let found = null;
    if (look === null) {
      this.say(`${this.scene.images[number].name}: pin a pixel first; angles are to its spectrum`, true);
    } else {
      try {
        const limits = own.limits ?? await this.automatic(look);
        found = { ...look, limits: limits.flat().join(",") };
      } catch (error) { this.say(`${this.scene.images[number].name}: ${error.message}`, true); }
      if (JSON.stringify(this.look(number)) !== JSON.stringify(look)) return; // changed meanwhile
    }
    const changed = JSON.stringify(found) !== JSON.stringify(this.current[number]);
    this.current[number] = found;
    layer.setOpacity(own.opacity);
    if (!this.map.hasLayer(layer)) layer.addTo(this.map);
    else if (changed) layer.refresh();
    this.clip();
  }

  showAll() { return Promise.all(this.tiles.map((_, number) => this.show(number))); }

  automatic(look) {
    const key = JSON.stringify(look);
    if (!this.limits.has(key)) {
      const asked = api.limits(look);
      this.limits.set(key, asked);
      asked.catch(() => this.limits.delete(key));
    }
    return this.limits.get(key);
  }

  // Values of a pyramid that is whole now give better limits than the samples before.
  async forgetLimits() { this.limits.clear(); await this.showAll(); }

  get pending() { return this.tiles.some((layer) => layer.pending.size > 0); }

  clip() {
    const { swipe, at } = this.state, size = this.map.getSize();
    const corner = this.map.containerPointToLayerPoint([0, 0]);
    const edge = corner.x + (size.x * at) / 100;
    this.tiles.forEach((_, number) => {
      const pane = this.map.getPane(`image-${number}`);
      const far = 1e5;
      pane.style.clipPath = number !== swipe ? "" :
        `polygon(${edge}px ${corner.y - far}px, ${corner.x + far}px ${corner.y - far}px, ${corner.x + far}px ${corner.y + far}px, ${edge}px ${corner.y + far}px)`;
    });
  }
}
