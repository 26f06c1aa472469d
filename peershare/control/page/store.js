// What the page knows: the newest values of the node, and who wants to hear of changes.
//
// Not for: fetching them (sync.js) or showing them.

export class Store {
  constructor() {
    this.node = null;
    this.contents = null; // null: not known yet
    this.peers = [];
    this.downloads = new Map(); // by id, in the order of their start
    this.connected = false;
    this._listeners = new Map();
  }

  /** Call `listener` after each change of `what`: a field's name, or "notice". */
  on(what, listener) {
    this._listeners.set(what, [...(this._listeners.get(what) ?? []), listener]);
  }

  tell(what, value) {
    for (const listener of this._listeners.get(what) ?? []) {
      listener(value);
    }
  }

  set(what, value) {
    this[what] = value;
    this.tell(what, value);
  }

  setDownload(status) {
    this.downloads.set(status.id, status);
    this.tell("downloads", this.downloads);
  }

  setDownloads(statuses) {
    this.downloads = new Map(statuses.map((status) => [status.id, status]));
    this.tell("downloads", this.downloads);
  }
}
