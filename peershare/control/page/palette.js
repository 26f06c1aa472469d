// Which colour and which pattern stands for which peer, the same everywhere on the page.
//
// Colours alone are not told apart by everybody: each of the eight comes with a pattern of its
// own.  Not for: what is drawn with them.

import { colour } from "./dom.js";

export const HUES = 8;
const TILE = 6; // pixels; a pattern is repeated at this distance
const assigned = new Map();
let tiles = new Map();

document.addEventListener("themechange", () => {
  tiles = new Map();
});

/** A number for a peer, in the order in which they are first met. */
export function numberOf(address) {
  if (!assigned.has(address)) {
    assigned.set(address, assigned.size);
  }
  return assigned.get(address);
}

/** What to fill a peer's blocks with. */
export function paintOf(context, address) {
  const number = numberOf(address);
  const key = number % (HUES * (PATTERNS.length - 1));
  if (!tiles.has(key)) {
    // beyond eight peers the hues come again with other patterns
    const hue = number % HUES;
    tiles.set(key, tile(`peer-${hue}`, (hue + Math.floor(number / HUES)) % PATTERNS.length));
  }
  return context.createPattern(tiles.get(key), "repeat");
}

/** Its colour alone. */
export function hueOf(address) {
  return colour(`peer-${numberOf(address) % HUES}`);
}

/** Draw the swatch of a peer on a small canvas. */
export function drawSwatch(context, address, size) {
  context.fillStyle = paintOf(context, address);
  context.beginPath();
  context.roundRect(0, 0, size, size, 3);
  context.fill();
}

function tile(name, pattern) {
  const canvas = document.createElement("canvas");
  canvas.width = TILE;
  canvas.height = TILE;
  const context = canvas.getContext("2d");
  context.fillStyle = colour(name);
  context.fillRect(0, 0, TILE, TILE);
  context.fillStyle = colour("pattern");
  PATTERNS[pattern](context);
  return canvas;
}

const PATTERNS = [
  () => {}, // plain
  (context) => diagonal(context, (x) => x),
  (context) => context.fillRect(2, 2, 2, 2),
  (context) => context.fillRect(0, 2, TILE, 2),
  (context) => context.fillRect(2, 0, 2, TILE),
  (context) => diagonal(context, (x) => TILE - 1 - x),
  (context) => {
    context.fillRect(0, 0, 3, 3);
    context.fillRect(3, 3, 3, 3);
  },
  (context) => {
    context.fillRect(0, 2, TILE, 1);
    context.fillRect(2, 0, 1, TILE);
  },
];

function diagonal(context, column) {
  for (let y = 0; y < TILE; y += 1) {
    context.fillRect(column(y), y, 1, 1);
    context.fillRect(column((y + 1) % TILE), y, 1, 1);
  }
}
