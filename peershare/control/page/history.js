// What came from whom and what went to whom, the newest first.
//
// Not for: what is under way (downloads.js).

import { get } from "./api.js";
import { byId, setText } from "./dom.js";
import { trying } from "./notices.js";
import { Table } from "./table.js";
import { isSeen, onView } from "./views.js";
import { countText, safe, sizeText, spanText } from "./words.js";

const PAGE = 100;
const MOST = 2_000; // more than anybody reads; the log files have it all
const PAUSE_MS = 2_000;
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export class HistoryView {
  constructor(store) {
    this._store = store;
    this._limit = PAGE;
    this._due = true;
    this._asking = false;
    this._table = new Table(byId("history-table"), "History", [
      { title: "Time", className: "whole" },
      { title: "Way", className: "whole" },
      { title: "What", className: "name", wide: true },
      { title: "Address", className: "address" },
      { title: "Size", className: "number" },
      { title: "Took", className: "number" },
      { title: "Result", wide: true },
    ]);
    for (const id of ["history-way", "history-since"]) {
      byId(id).addEventListener("change", () => this._anew());
    }
    byId("history-more").addEventListener("click", () => {
      this._limit = Math.min(MOST, this._limit * 2);
      this._due = true;
      this._look();
    });
    const changed = () => {
      this._due = true;
    };
    store.on("downloads", changed);
    store.on("notice", changed);
    store.on("connected", changed);
    onView((view) => view === "history" && this._look());
    setInterval(() => this._look(), PAUSE_MS);
  }

  _anew() {
    this._limit = PAGE;
    this._due = true;
    this._look();
  }

  async _look() {
    if (!this._due || this._asking || !isSeen("history") || this._store.connected !== true) {
      return;
    }
    this._due = false;
    this._asking = true;
    const entries = await trying(() => get(`history?${this._query()}`));
    this._asking = false;
    if (entries) {
      this._show(entries);
    }
  }

  _query() {
    const query = new URLSearchParams({ limit: this._limit });
    const [way, hours] = [byId("history-way").value, Number(byId("history-since").value)];
    if (way) {
      query.set("direction", way);
    }
    if (hours) {
      query.set("since", String(Math.floor(Date.now() / 1000 - hours * 3600)));
    }
    return query;
  }

  _show(entries) {
    byId("no-history").hidden = entries.length > 0;
    byId("history-table").hidden = entries.length === 0;
    byId("history-more").hidden = entries.length < this._limit || this._limit >= MOST;
    setText(byId("history-line"), entries.length ? countText(entries.length, "line") : "");
    const seen = new Map();
    this._table.set(
      entries.map((entry) => {
        // equal lines of one millisecond are possible
        const plain = `${entry.time} ${entry.direction} ${entry.address} ${entry.chunk}`;
        seen.set(plain, (seen.get(plain) ?? 0) + 1);
        return rowOf(entry, `${plain} ${seen.get(plain)}`);
      }),
    );
  }
}

function rowOf(entry, key) {
  const came = entry.direction === "download";
  const failed = entry.result.startsWith("failed");
  return {
    key,
    cells: [
      timeText(new Date(entry.time)),
      came ? "↓ from" : "↑ to",
      safe(entry.chunk),
      safe(entry.address),
      sizeText(entry.bytes),
      spanText(entry.seconds),
      safe(entry.result, 500),
    ],
    decorate: (row) => {
      row.classList.toggle("troubled", failed);
      row.classList.toggle("came", came);
    },
  };
}

function timeText(time) {
  const today = day.format(new Date());
  const date = day.format(time);
  return date === today ? clock.format(time) : `${date}, ${clock.format(time)}`;
}
