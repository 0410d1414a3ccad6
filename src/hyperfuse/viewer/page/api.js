// Requests to the server. Addresses are relative: the page may stand at / or below the token.

export class Refused extends Error {}

let waiting = 0;

function count(change) {
  waiting += change;
  document.body.ariaBusy = String(waiting > 0);
}

// Returns what `read` makes of the reply.
async function get(name, query, read, signal) {
  count(1);
  try {
    const reply = await fetch(`api/${name}?${new URLSearchParams(query)}`, { signal });
    if (reply.status === 200 || reply.status === 202) return await read(reply);
    const isJson = reply.headers.get("content-type") === "application/json";
    throw new Refused(isJson ? (await reply.json()).error : `the server replies ${reply.status}`);
  } finally { count(-1); }
}

const json = (name, query) => get(name, query, (reply) => reply.json());

export const scene = () => json("scene", {});
export const progress = () => json("progress", {});
export const limits = async (query) => (await json("limits", query)).limits;
export const spectra = async (col, row) => (await json("spectra", { at: `${col},${row}` })).spectra;
export const region = async (corners) => (await json("region", { corners: corners.flat().join(",") })).spectra;

// Returns a picture, and whether all of it is known.
export function tile(query, signal) {
  const read = async (reply) => ({ picture: await createImageBitmap(await reply.blob()), whole: reply.status === 200 });
  return get("tile", query, read, signal);
}
