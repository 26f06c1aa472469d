// The peers: address, what they hold, rates, what went to and fro, when they were last heard.
//
// Not for: which blocks they gave (map.js).

import { get } from "./api.js";
import { byId, el, oncePerFrame, setText, sharpContext } from "./dom.js";
import { drawSwatch } from "./palette.js";
import { Table } from "./table.js";
import { isSeen, onView } from "./views.js";
import { countText, listText, rateText, safe, safeName, sizeText, spanText } from "./words.js";

const LOOK_MS = 2_000;
const NAMED = 2;
const NAME_LENGTH = 40;

export class PeersView {
  constructor(store) {
    this._store = store;
    this._table = new Table(byId("peers-table"), "Peers", [
      { title: "Address", className: "address" },
      { title: "Speaks", className: "whole" },
      { title: "Has", className: "has", wide: true },
      { title: "From it", className: "number" },
      { title: "To it", className: "number" },
      { title: "Gave", className: "number" },
      { title: "Took", className: "number" },
      { title: "Heard", className: "number" },
    ]);
    this._draw = oncePerFrame(() => this._show(store.peers));
    store.on("peers", this._draw);
    onView((view) => view === "peers" && this._look());
    document.addEventListener("themechange", this._draw);
    setInterval(() => this._look(), LOOK_MS);
  }

  async _look() {
    if (isSeen("peers") && this._store.connected === true) {
      const peers = await get("peers").catch(() => null);
      if (peers) {
        this._store.set("peers", peers);
      }
    }
  }

  _show(peers) {
    setText(byId("peer-count"), peers.length ? String(peers.length) : "");
    setText(byId("peers-line"), peers.length ? countText(peers.length, "peer") : "");
    byId("no-peers").hidden = peers.length > 0;
    byId("peers-table").hidden = peers.length === 0;
    if (!byId("peers").hidden) {
      const counts = new Map();
      for (const { address } of peers) {
        counts.set(address, (counts.get(address) ?? 0) + 1);
      }
      this._table.set(peers.map((peer) => rowOf(peer, counts.get(peer.address) > 1)));
    }
  }
}

/** `several`: others have its address, too. */
function rowOf(peer, several) {
  const names = peer.contents.map((name) => safeName(name, NAME_LENGTH));
  const count = Math.max(peer.count, names.length);
  const has = count ? listText(names.slice(0, NAMED), NAMED + 1, count) : "nothing";
  return {
    key: `${peer.address} ${peer.instance}`,
    cells: [
      safe(several && peer.tcp_port ? `${peer.address}:${peer.tcp_port}` : peer.address),
      peer.native ? "peershare" : "classic",
      has,
      quiet(peer.download_rate, rateText),
      quiet(peer.upload_rate, rateText),
      quiet(peer.given, sizeText),
      quiet(peer.taken, sizeText),
      `${spanText(peer.heard_seconds_ago)} ago`,
    ],
    decorate: (row) => {
      swatch(row, peer.address);
      trouble(row, safe(peer.problem, 500));
    },
  };
}

/** A rate or an amount; nothing is a dash, so that what moves stands out. */
function quiet(number, words) {
  return number > 0 ? words(number) : "–";
}

/** Why nothing is taken from it, below what it has. */
function trouble(row, text) {
  if (!row.trouble) {
    row.trouble = el("p", { className: "problem" });
    row.querySelector(".has").append(row.trouble);
  }
  setText(row.trouble, text);
  row.trouble.hidden = !text;
}

function swatch(row, address) {
  if (!row.canvas) {
    row.canvas = el("canvas", { className: "swatch", "aria-hidden": "true" });
    row.cells[0].prepend(row.canvas);
  }
  drawSwatch(sharpContext(row.canvas, 12, 12), address, 12);
}
