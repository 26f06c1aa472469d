// What is on the network: found as one types, sorted, and fetched by a click or Enter.
//
// The list is searched here, at once; only where it is longer than the node tells in one go
// the node is asked as well.  Not for: drawing the rows that are seen (list.js).

import { get, post } from "./api.js";
import { byId, el, icon, setText, unseen } from "./dom.js";
import { VirtualList } from "./list.js";
import { say, trying } from "./notices.js";
import { countText, listText, numberText, safe, safeName, sizeText } from "./words.js";

const MOST_TOLD = 10_000; // contents that the node lists
const TYPING_MS = 250;
const FINAL = new Set(["done", "stopped", "failed"]);
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

const byName = (one, other) => collator.compare(one.name, other.name);
const ORDERS = {
  name: byName,
  size: (one, other) => (one.size ?? -1) - (other.size ?? -1) || byName(one, other),
  peers: (one, other) => one.peers.length - other.peers.length || byName(one, other),
  verified: (one, other) => checkRank(one) - checkRank(other) || byName(one, other),
};

/** What is said of a content that nobody has all of. */
function partText(content) {
  const there = content.chunks.filter((count) => count > 0).length;
  return content.id ? "in parts" : `${there} of ${content.chunks.length} parts`;
}

/** What is said of the bytes: only of those that are here is it known what they are. */
function checkText(content) {
  if (content.shared) {
    return content.verified ? "verified" : content.id ? "unverified" : "not hashed";
  }
  return content.id ? "will be verified" : "unverified";
}

const checkRank = (content) => (content.verified ? 2 : content.id ? 1 : 0);

export class ContentsView {
  constructor(store) {
    this._store = store;
    this._order = "name";
    this._down = false;
    this._found = null; // what the node found where the list is not all there is
    this._typed = 0;
    this._running = new Map(); // downloads by content id and by name
    this._list = new VirtualList(byId("grid"), byId("rows"), {
      create: () => makeRow(),
      update: (row, item) => this._fill(row, item),
      choose: (item) => this._get(item),
    });
    this._bind();
    store.on("contents", () => this._refresh());
    store.on("downloads", () => this._progress());
  }

  _bind() {
    const search = byId("search");
    search.addEventListener("input", () => this._search());
    byId("missing-only").addEventListener("change", () => this._refresh(true));
    addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select, dialog");
      if (event.key === "/" && !typing && !event.ctrlKey && !byId("network").hidden) {
        event.preventDefault();
        search.focus();
      }
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        byId("grid").focus();
        this._list.activate(0);
      }
    });
    for (const button of document.querySelectorAll("#grid [data-order]")) {
      button.addEventListener("click", () => this._sortBy(button.dataset.order));
    }
    byId("rows").addEventListener("click", (event) => {
      const item = this._list.itemAt(event.target);
      if (event.target.closest("button") && item) {
        this._get(item);
      } else if (item) {
        this._list.activate(this._list.items.indexOf(item));
      }
    });
    this._heads();
  }

  _sortBy(order) {
    this._down = this._order === order ? !this._down : order !== "name";
    this._order = order;
    this._heads();
    this._refresh(true);
  }

  _heads() {
    for (const button of document.querySelectorAll("#grid [data-order]")) {
      const head = button.closest("[role=columnheader]");
      const chosen = button.dataset.order === this._order;
      const way = this._down ? "descending" : "ascending";
      head.setAttribute("aria-sort", chosen ? way : "none");
    }
  }

  _search() {
    clearTimeout(this._typed);
    const wanted = byId("search").value.trim();
    if ((this._store.contents?.length ?? 0) >= MOST_TOLD && wanted) {
      this._typed = setTimeout(() => this._ask(wanted), TYPING_MS);
    } else {
      this._found = null;
    }
    this._refresh(true);
  }

  async _ask(wanted) {
    const params = new URLSearchParams({ match: `*${wanted.split(/\s+/).join("*")}*`, limit: 1000 });
    const found = await get(`contents?${params}`).catch(() => null);
    if (byId("search").value.trim() === wanted) {
      this._found = found;
      this._refresh(true);
    }
  }

  _refresh(toTop = false) {
    const all = this._store.contents;
    if (all === null) {
      return;
    }
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const missing = byId("missing-only").checked;
    const fits = (content) => {
      const name = content.name.toLowerCase();
      return !(missing && isOurs(content)) && words.every((word) => name.includes(word));
    };
    const items = (this._found ?? all).filter(fits);
    for (const item of items) {
      item.key ??= `${item.id} ${item.name}`;
      item.verified ??= false;
    }
    items.sort(ORDERS[this._order]);
    if (this._down) {
      items.reverse();
    }
    this._tell(items, all, words.length > 0 || missing);
    this._list.setItems(items, toTop);
  }

  _tell(items, all, chosen) {
    const some = `${numberText(items.length)} of ${countText(all.length, "file")}`;
    setText(byId("found"), chosen ? some : countText(all.length, "file"));
    byId("grid").classList.toggle("empty", items.length === 0);
    byId("nothing").hidden = items.length > 0 || all.length === 0;
    byId("nobody").hidden = all.length > 0;
  }

  _progress() {
    this._running.clear();
    for (const status of this._store.downloads.values()) {
      if (!FINAL.has(status.state)) {
        this._running.set(status.content || `name ${status.name}`, status);
      }
    }
    this._list.draw();
  }

  _download(item) {
    return this._running.get(item.id) ?? this._running.get(`name ${item.name}`);
  }

  _fill(row, item) {
    const { name, size, peers, verified, state, button } = row.parts;
    const shown = safeName(item.name);
    setText(name, shown);
    name.title = shown;
    setText(size, item.size === null ? "–" : sizeText(item.size));
    setText(peers, item.peers.length ? numberText(item.peers.length) : "–");
    peers.parentElement.title = listText(item.peers.map((peer) => safe(peer)), 8) || "nobody else";
    row.classList.toggle("verified", item.verified && item.complete);
    const part = !item.complete && !isOurs(item);
    row.classList.toggle("part", part);
    setText(verified, part ? partText(item) : checkText(item));
    const download = this._download(item);
    const said = saidOf(item, download);
    setText(state, said);
    state.hidden = !said;
    state.title = safe(item.not_offered, 500);
    row.classList.toggle("here", isOurs(item));
    button.hidden = isOurs(item) || download !== undefined;
    button.setAttribute("aria-label", `Get ${shown}`);
  }

  _get(item) {
    if (item.not_offered) {
      say(`${safeName(item.name)} is not offered to the others: ${safe(item.not_offered, 500)}.`);
      return;
    }
    if (item.shared) {
      say(`${safeName(item.name)} is here already, in the share folder.`);
      return;
    }
    trying(async () => {
      const folder = byId("folder").value.trim() || null;
      const askedAt = performance.now();
      // a row without an id is what classic peers announce under this very name, and nothing else
      const wish = item.id ? { name: item.id } : { name: item.name, classic: true };
      const status = await post("downloads", { ...wish, folder });
      this._store.answered(status, askedAt);
      say(`Getting ${safeName(item.name)}.`);
    });
  }
}

/** What stands in the place of the button. */
function saidOf(item, download) {
  if (download) {
    return download.size ? `${Math.floor((100 * download.received) / download.size)} %` : "…";
  }
  return item.not_offered ? "not offered" : item.shared ? "here" : "";
}

/** Whether it lies in the share folder, be it offered or not. */
function isOurs(item) {
  return item.shared || item.not_offered !== "";
}

function makeRow() {
  const name = el("span", { className: "text" });
  const size = el("span");
  const peers = el("span");
  const verified = el("span");
  const state = el("span", { className: "state" });
  const button = el("button", { type: "button", className: "get", tabIndex: -1 });
  button.append(icon("down"), "Get");
  const cell = (className, ...children) => el("div", { className, role: "gridcell" }, ...children);
  const row = el(
    "div",
    {},
    cell("c-name", name),
    cell("c-size", size),
    cell("c-peers", icon("peers"), peers, unseen(" peers")),
    cell("c-verified", icon("shield"), verified),
    cell("c-action", state, button),
  );
  row.parts = { name, size, peers, verified, state, button };
  return row;
}
