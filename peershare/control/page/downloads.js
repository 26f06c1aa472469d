// The downloads of this run of the service, the newest first, and the rates of the last minute.
//
// Not for: what one of them shows (card.js).

import { DownloadCard } from "./card.js";
import { byId, oncePerFrame, setText } from "./dom.js";
import { RatePlot } from "./plot.js";
import { countText, rateText, safeName } from "./words.js";

const FINAL = new Set(["done", "stopped", "failed"]);
const LOOK_MS = 250;

export class DownloadsView {
  constructor(store) {
    this._store = store;
    this._cards = new Map();
    this._states = new Map(); // what was told of each to a screen reader
    this._plot = new RatePlot(byId("plot"), byId("plot-most"));
    this._draw = oncePerFrame(() => this._cardsOf(store.downloads));
    store.on("downloads", this._draw);
    store.on("node", (node) => this._rates(node));
    setInterval(() => this._look(), LOOK_MS);
  }

  _rates(node) {
    setText(byId("rate-down"), rateText(node.download_rate));
    setText(byId("rate-up"), rateText(node.upload_rate));
    this._plot.set(node.rates);
  }

  _cardsOf(downloads) {
    const list = byId("cards");
    for (const [id, card] of this._cards) {
      if (!downloads.has(id)) {
        card.element.remove();
        this._cards.delete(id);
      }
    }
    for (const [id, status] of downloads) {
      const card = this._cards.get(id);
      if (card) {
        this._foldOthers(id, status);
        card.update(status);
      } else {
        const made = new DownloadCard(status, this._store);
        this._cards.set(id, made);
        list.prepend(made.element);
      }
    }
    const active = [...downloads.values()].filter((status) => !FINAL.has(status.state)).length;
    setText(byId("active-count"), active ? String(active) : "");
    setText(byId("active"), active ? `${countText(active, "download")} under way` : "");
    byId("no-downloads").hidden = downloads.size > 0;
    this._announce(downloads);
  }

  /** When one ends, the map that stays open is its own. */
  _foldOthers(id, status) {
    const ended = status.state === "done" && this._states.get(id) !== "done";
    for (const [other, card] of this._cards) {
      if (ended && other !== id && FINAL.has(this._states.get(other))) {
        card.open(false);
      }
    }
  }

  /** Tell the ends and the stops, not every percent. */
  _announce(downloads) {
    const words = { done: "is done", failed: "has failed", paused: "is paused", waiting: "waits" };
    for (const [id, status] of downloads) {
      const before = this._states.get(id);
      this._states.set(id, status.state);
      if (before && before !== status.state && words[status.state]) {
        setText(byId("told"), `${safeName(status.name)} ${words[status.state]}.`);
      }
    }
  }

  _look() {
    if (document.hidden || byId("downloads").hidden || this._store.connected !== true) {
      return;
    }
    const now = performance.now();
    for (const card of this._cards.values()) {
      card.look(now);
    }
  }
}
