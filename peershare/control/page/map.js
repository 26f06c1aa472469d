// The map of a download: every block drawn as missing, in flight, or by who gave it.
//
// Beside the canvas stands a legend that names the peers; its buttons show the blocks of one
// peer alone.  What has not come is hollow, what is in flight a smaller square, and peers have
// patterns beside their colours.  Not for: asking for maps (card.js).

import { colour, el, oncePerFrame, setAttribute, setText, sharpContext } from "./dom.js";
import { drawSwatch, hueOf, paintOf } from "./palette.js";
import { countText, listText, numberText, safe, sizeText } from "./words.js";

const MISSING = 0;
const IN_FLIGHT = 1;
const UNKNOWN = 2; // held, but nobody knows whom it came from: it was there before
const FIRST_SOURCE = 3;
const MAX_HEIGHT = 168; // pixels; smaller cells are drawn before it becomes higher
const SIZES = [15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3];
const BAR_HEIGHT = 16;
const LEAST_PATTERNED = 6; // on smaller cells patterns are noise; the legend still picks peers out
const MOST_NAMED = 12;

export class BlockMap {
  constructor() {
    this.canvas = el("canvas", { role: "img", className: "map" });
    this.canvas.setAttribute("aria-label", "Block map: not known yet.");
    this._tip = el("p", { className: "tip", "aria-hidden": "true" });
    this._legend = el("ul", { className: "legend", "aria-label": "Who gave what" });
    this.element = el("div", { className: "map-box" }, this.canvas, this._tip, this._legend);
    this._map = null;
    this._cells = new Uint8Array();
    this._entries = new Map(); // legend entries by key
    this._only = ""; // the peer whose blocks are shown alone
    this._given = {};
    this.draw = oncePerFrame(() => this._draw());
    new ResizeObserver(this.draw).observe(this.canvas);
    document.addEventListener("themechange", () => {
      this._entries.forEach((entry) => entry.swatch());
      this.draw();
    });
    this.canvas.addEventListener("pointermove", (event) => this._point(event));
    this.canvas.addEventListener("pointerleave", () => setText(this._tip, ""));
  }

  /** Show this map; `given` is bytes by address. */
  set(map, given) {
    this._map = map;
    this._given = given;
    this._cells = Uint8Array.from(atob(map.cells), (character) => character.charCodeAt(0));
    this._describe();
    this.draw();
  }

  _counts() {
    const counts = new Array(FIRST_SOURCE + this._map.sources.length).fill(0);
    for (const cell of this._cells) {
      counts[Math.min(cell, counts.length - 1)] += 1;
    }
    return counts;
  }

  _describe() {
    const counts = this._counts();
    const held = this._cells.length - counts[MISSING] - counts[IN_FLIGHT];
    const gave = this._map.sources.map(
      (source, index) => `${numberText(counts[FIRST_SOURCE + index])} from ${safe(source)}`,
    );
    const parts = [
      `${numberText(held)} of ${countText(this._cells.length, "block")} held`,
      `${numberText(counts[IN_FLIGHT])} in flight`,
      `${numberText(counts[MISSING])} missing`,
    ];
    const origin = gave.length ? `: ${listText(gave, MOST_NAMED)}` : "";
    setAttribute(this.canvas, "aria-label", `Block map: ${parts.join(", ")}${origin}.`);
    this._legendOf(counts);
  }

  _legendOf(counts) {
    const wanted = this._map.sources.slice(0, MOST_NAMED).map((source, index) => ({
      key: source,
      label: safe(source),
      detail: this._given[source] ? sizeText(this._given[source]) : `${counts[index + 3]}`,
    }));
    const rest = this._map.sources.length - wanted.length;
    if (rest > 0) {
      wanted.push({ key: "+more", label: countText(rest, "more peer"), detail: "" });
    }
    const others = [
      ["+before", "had before", counts[UNKNOWN]],
      ["+flight", "in flight", counts[IN_FLIGHT]],
      ["+missing", "missing", counts[MISSING]],
    ];
    for (const [key, label, count] of others) {
      if (count) {
        wanted.push({ key, label, detail: numberText(count) });
      }
    }
    this._reconcile(wanted);
  }

  _reconcile(wanted) {
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, entry] of this._entries) {
      if (!keys.has(key)) {
        entry.element.remove();
        this._entries.delete(key);
      }
    }
    if (this._only && !keys.has(this._only)) {
      this._only = "";
    }
    wanted.forEach(({ key, label, detail }, index) => {
      const entry = this._entries.get(key) ?? this._entry(key, label);
      setText(entry.detail, detail);
      if (this._legend.children[index] !== entry.element) {
        this._legend.insertBefore(entry.element, this._legend.children[index] ?? null);
      }
    });
  }

  _entry(key, label) {
    const canvas = el("canvas", { className: "swatch", "aria-hidden": "true" });
    const detail = el("span", { className: "detail" });
    const inner = [canvas, el("span", {}, label), " ", detail];
    const isPeer = !key.startsWith("+");
    const body = isPeer
      ? el("button", { type: "button", "aria-pressed": "false" }, ...inner)
      : el("span", { className: "entry" }, ...inner);
    if (isPeer) {
      body.title = `Show what ${label} gave`;
      body.addEventListener("click", () => this._pick(key));
    }
    const swatch = () => this._swatch(canvas, key);
    const entry = { element: el("li", {}, body), detail, swatch, body };
    this._entries.set(key, entry);
    swatch();
    return entry;
  }

  _swatch(canvas, key) {
    const context = sharpContext(canvas, 12, 12);
    if (key.startsWith("+")) {
      const code = { "+before": UNKNOWN, "+flight": IN_FLIGHT }[key] ?? MISSING;
      drawCell(context, { ...plainPaints(), sources: [] }, code, 0, 0, 12, 12, 3);
    } else {
      drawSwatch(context, key, 12);
    }
  }

  _pick(key) {
    this._only = this._only === key ? "" : key;
    for (const [other, { body }] of this._entries) {
      if (body.localName === "button") {
        setAttribute(body, "aria-pressed", String(other === this._only));
      }
    }
    this.draw();
  }

  /** How many columns of cells, and their sizes, for so much room. */
  _grid() {
    const width = this.canvas.clientWidth;
    const count = this._cells.length;
    if (count * SIZES[0] <= width) {
      return { columns: count, width, rows: 1, high: BAR_HEIGHT };
    }
    const fits = (size) => Math.ceil(count / Math.floor(width / size)) * size <= MAX_HEIGHT;
    const high = SIZES.find(fits) ?? SIZES.at(-1);
    const columns = Math.max(1, Math.floor(width / high));
    return { columns, width, rows: Math.ceil(count / columns), high };
  }

  _draw() {
    if (!this._map || !this.canvas.clientWidth || !this._cells.length) {
      return;
    }
    const { columns, width, rows, high } = this._grid();
    const context = sharpContext(this.canvas, width, rows * high);
    if (!context) {
      return;
    }
    const gap = high >= 9 ? 2 : high >= 4 ? 1 : 0;
    const radius = high >= 8 ? 2 : 0;
    const edge = (column) => Math.round((column * width) / columns);
    const only = this._map.sources.indexOf(this._only);
    const paints = this._paints(context, high - gap);
    this._cells.forEach((code, index) => {
      const column = index % columns;
      const left = edge(column);
      const wide = Math.max(1, edge(column + 1) - left - (column + 1 < columns ? gap : 0));
      const top = Math.floor(index / columns) * high;
      const dim = this._only && code >= UNKNOWN && code - FIRST_SOURCE !== only;
      context.globalAlpha = dim ? 0.2 : 1;
      drawCell(context, paints, code, left, top, wide, Math.max(1, high - gap), radius);
    });
    context.globalAlpha = 1;
  }

  /** What cells of this size are filled with. */
  _paints(context, size) {
    const small = size < LEAST_PATTERNED;
    const paint = (source) => (small ? hueOf(source) : paintOf(context, source));
    return { ...plainPaints(), sources: this._map.sources.map(paint) };
  }

  /** Say what the cell under the pointer is. */
  _point(event) {
    if (!this._map || !this._cells.length) {
      return;
    }
    const { columns, width, high } = this._grid();
    const column = Math.min(columns - 1, Math.floor((event.offsetX / width) * columns));
    const index = Math.floor(event.offsetY / high) * columns + column;
    const code = this._cells[index];
    setText(this._tip, code === undefined ? "" : `${this._blockName(index)}: ${this._said(code)}`);
    const room = this._tip.offsetWidth / 2;
    const left = Math.max(room, Math.min(width - room, event.offsetX));
    this._tip.style.left = `${left}px`;
    this._tip.style.top = `${event.offsetY}px`;
  }

  _blockName(index) {
    const each = this._map.blocks_per_cell || 1;
    const first = index * each + 1;
    if (!this._map.block_size) {
      return `Chunk ${first}`;
    }
    return each > 1 ? `Blocks ${first} to ${first + each - 1}` : `Block ${first}`;
  }

  _said(code) {
    const words = ["missing", "in flight", "had before"];
    const source = this._map.sources[code - FIRST_SOURCE];
    return words[code] ?? `from ${safe(source ?? "others")}`;
  }
}

function plainPaints() {
  return {
    missing: colour("map-missing"),
    before: colour("map-before"),
    flight: colour("map-flight"),
  };
}

function drawCell(context, paints, code, left, top, wide, high, radius) {
  context.fillStyle = paints.missing;
  if (code === UNKNOWN) {
    context.fillStyle = paints.before;
  } else if (code >= FIRST_SOURCE) {
    context.fillStyle = paints.sources[Math.min(code - FIRST_SOURCE, paints.sources.length - 1)];
  }
  shape(context, left, top, wide, high, radius);
  if (code === IN_FLIGHT) {
    const inset = Math.min(wide, high) >= 6 ? Math.floor(Math.min(wide, high) / 4) : 1;
    const inner = [Math.max(1, wide - 2 * inset), Math.max(1, high - 2 * inset)];
    context.fillStyle = paints.flight;
    shape(context, left + inset, top + inset, ...inner, Math.min(radius, 1));
  }
}

function shape(context, left, top, wide, high, radius) {
  if (!radius) {
    context.fillRect(left, top, wide, high);
    return;
  }
  context.beginPath();
  context.roundRect(left, top, wide, high, radius);
  context.fill();
}

