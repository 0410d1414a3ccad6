// A layer of tiles of one image. Tiles that are not wholly known yet are fetched again until they are.

import * as api from "./api.js";

export const ImageTiles = L.GridLayer.extend({
  options: { minZoom: -16, maxZoom: 6, tileSize: 256, keepBuffer: 1, updateWhenZooming: false, noWrap: true },

  // `look` returns what to ask for, besides the tile, or null where there is nothing to show; `failed` takes errors.
  initialize(look, failed, options) {
    this.look = look;
    this.failed = failed;
    this.pending = new Set();
    L.GridLayer.prototype.initialize.call(this, options);
    this.on("tileunload", ({ tile }) => { tile.leaving?.abort(); this.pending.delete(tile); });
  },

  createTile(coords, done) {
    const tile = L.DomUtil.create("canvas");
    tile.width = tile.height = 256;
    tile.coords = coords;
    tile.setAttribute("role", "presentation");
    this.fill(tile).then(() => done(null, tile), (error) => done(error, tile));
    return tile;
  },

  async fill(tile) {
    const query = this.look();
    const version = tile.version = (tile.version ?? 0) + 1;
    tile.leaving?.abort();
    tile.leaving = new AbortController();
    this.pending.delete(tile);
    const context = tile.getContext("2d");
    if (query === null) { context.clearRect(0, 0, 256, 256); return; }
    const { z, x, y } = tile.coords;
    try {
      const { picture, whole } = await api.tile({ ...query, zoom: z, col: x, row: y }, tile.leaving.signal);
      if (tile.version !== version) return;
      context.clearRect(0, 0, 256, 256);
      context.drawImage(picture, 0, 0);
      if (!whole) this.pending.add(tile);
    } catch (error) {
      if (error.name === "AbortError") return;
      context.clearRect(0, 0, 256, 256);
      this.failed(error);
    }
  },

  // Draws tiles that are shown again, without a flash.
  refresh(tiles = Object.values(this._tiles).map((one) => one.el)) { for (const tile of tiles) this.fill(tile); },
  refreshPending() { this.refresh([...this.pending]); },
});
