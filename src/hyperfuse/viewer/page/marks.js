// Pins and polygons on the map, with the spectra that the server found for each.

import * as api from "./api.js";

const MOST = 20;
export const at = ([col, row]) => [-row, col];

export class Marks {
  constructor(map, state, say, changed) {
    Object.assign(this, { map, state, say, changed });
    this.group = L.layerGroup().addTo(map);
    this.found = new Map();
    this.corners = null;
  }

  // All marks, pins first; each with its spectra once they are known.
  list() {
    const one = (kind, where, rank) => ({
      kind, where, name: kind === "pin" ? `pin ${rank + 1}` : `polygon ${rank + 1}`,
      label: kind === "pin" ? String(rank + 1) : String.fromCharCode(65 + (rank % 26)),
      spectra: this.found.get(JSON.stringify(where)) ?? [],
    });
    return [
      ...this.state.pins.map((where, rank) => one("pin", where, rank)),
      ...this.state.polygons.map((where, rank) => one("polygon", where, rank)),
    ];
  }

  async pin(where) {
    if (this.corners) { this.corners.push(where); this.draw(); return; }
    if (this.state.pins.length >= MOST) { this.say(`${MOST} pins are the most; remove one first`, true); return; }
    this.state.pins.push(where);
    this.state.pin = this.state.pins.length - 1;
    await this.update();
  }

  startPolygon() { this.corners = []; this.draw(); this.say("Polygon: click its corners; the button or g finishes it, Escape leaves it"); }
  leavePolygon() { this.corners = null; this.draw(); this.say(""); }

  async finishPolygon() {
    const corners = this.corners;
    this.corners = null;
    if (corners.length < 3) this.say("a polygon has three corners or more", true);
    else if (this.state.polygons.length >= MOST) this.say(`${MOST} polygons are the most; remove one first`, true);
    else this.state.polygons.push(corners);
    await this.update();
  }

  async removeLast() {
    if (this.corners) { this.corners.pop(); this.draw(); return; }
    this.state.pins.pop();
    this.state.pin = Math.max(0, Math.min(this.state.pin, this.state.pins.length - 1));
    await this.update();
  }

  async remove(kind, rank) {
    (kind === "pin" ? this.state.pins : this.state.polygons).splice(rank, 1);
    this.state.pin = Math.max(0, Math.min(this.state.pin, this.state.pins.length - 1));
    await this.update();
  }

  async clear() { this.state.pins = []; this.state.polygons = []; this.state.pin = 0; await this.update(); }

  // Asks for the spectra that are not known yet, then draws all.
  async update() {
    this.draw();
    this.changed();
    const missing = this.list().filter(({ where }) => !this.found.has(JSON.stringify(where)));
    await Promise.all(missing.map(async ({ kind, where, name }) => {
      try {
        this.found.set(JSON.stringify(where), kind === "pin" ? await api.spectra(...where) : await api.region(where));
      } catch (error) { this.say(`${name}: ${error.message}`, true); }
    }));
    if (missing.length) this.changed();
  }

  draw() {
    this.group.clearLayers();
    const style = { color: "#fff", weight: 2, fillOpacity: 0.15, interactive: false };
    for (const { kind, where, name, label } of this.list()) {
      if (kind === "polygon") L.polygon(where.map(at), style).addTo(this.group);
      const centre = kind === "pin" ? where : where[0];
      const b = document.createElement("b");
      b.textContent = label;
      const icon = L.divIcon({ className: "pin", html: b, iconSize: [18, 18] });
      L.marker(at(centre), { icon, interactive: false, keyboard: false, alt: name }).addTo(this.group);
    }
    if (this.corners?.length) {
      L.polyline(this.corners.map(at), { ...style, dashArray: "4 4" }).addTo(this.group);
      for (const corner of this.corners) L.circleMarker(at(corner), { ...style, radius: 3 }).addTo(this.group);
    }
  }
}
