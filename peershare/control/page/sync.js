// Keeps the store as the node is: the event stream, and asking anew where it says so.
//
// Nothing is asked for while the page is not seen.  Not for: showing anything.

import { get, getAll } from "./api.js";
import { EventStream } from "./events.js";

const LONG_LIST = 2000;
const SHORT_PAUSE_MS = 1_500;
const LONG_PAUSE_MS = 10_000; // a long list is much to send: less often
const NODE_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 30_000; // the list is asked for again, whatever was said of it

export class Sync {
  constructor(store) {
    this._store = store;
    this._due = false; // the list is to be asked for again
    this._asking = false;
    this._askedAt = -Infinity;
    this._nodeAt = -Infinity;
    this._stream = new EventStream({
      open: () => this._opened(),
      event: (name, data) => this._event(name, data),
      lost: (status) => store.set("connected", status || false),
    });
  }

  start() {
    this._stream.start();
    setInterval(() => this._look(), 250);
  }

  /** The list has changed by what the user did: do not wait. */
  hurry() {
    this._due = true;
    this._askedAt = -Infinity;
  }

  async _opened() {
    this._store.set("connected", true);
    this._due = true;
    this._askedAt = -Infinity;
    this._nodeAt = -Infinity;
    const askedAt = performance.now();
    const downloads = await get("downloads").catch(() => null);
    if (downloads) {
      this._store.setDownloads(downloads, askedAt);
    }
  }

  _event(name, data) {
    if (name === "download") {
      this._due ||= data.download.state === "done";
      this._store.setDownload(data.download);
    } else if (name === "node") {
      this._nodeAt = performance.now();
      this._setNode(data.node);
    } else if (name === "contents") {
      this._due = true;
    } else if (name === "notice") {
      this._store.tell("notice", data);
    }
  }

  _setNode(node) {
    const before = this._store.node;
    this._due ||= before?.files !== node.files || before?.peers !== node.peers;
    this._store.set("node", node);
  }

  _look() {
    if (document.hidden || this._store.connected !== true) {
      return;
    }
    const now = performance.now();
    if (now - this._nodeAt > NODE_PAUSE_MS) {
      this._nodeAt = now;
      get("node").then(
        (node) => this._setNode(node),
        () => {}, // the stream tells if all is lost
      );
    }
    const long = (this._store.contents?.length ?? 0) > LONG_LIST;
    const pause = long ? LONG_PAUSE_MS : SHORT_PAUSE_MS;
    const waited = now - this._askedAt;
    if (!this._asking && waited > (this._due ? pause : LONGEST_PAUSE_MS)) {
      this._askContents();
    }
  }

  async _askContents() {
    this._due = false;
    this._asking = true;
    await Promise.all([
      this._take("contents", getAll("contents")),
      this._take("peers", get("peers")),
    ]);
    this._asking = false;
    this._askedAt = performance.now();
  }

  /** A list that does not come is asked for again later; the stream tells if all is lost. */
  async _take(what, answer) {
    try {
      this._store.set(what, await answer);
    } catch {
      this._due = true;
    }
  }
}
