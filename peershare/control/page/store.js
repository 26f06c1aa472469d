// What the page knows: the newest values of the node, and who wants to hear of changes.
//
// Not for: fetching them (sync.js) or showing them.

export class Store {
  constructor() {
    this.node = null;
    this.contents = null; // null: not known yet
    this.peers = [];
    this.downloads = new Map(); // by id, in the order of their start
    this._heard = new Map(); // when the event stream told of each
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

  /** What the event stream tells of a download. */
  setDownload(status) {
    this._heard.set(status.id, performance.now());
    this._put(status);
  }

  /** What an answer says of a download, unless it was heard of since that was asked. */
  answered(status, askedAt) {
    if (!this._heardSince(status.id, askedAt)) {
      this._put(status);
    }
  }

  /** All there are, by an answer; what was heard of since it was asked stays as it is. */
  setDownloads(statuses, askedAt) {
    const downloads = new Map(statuses.map((status) => [status.id, status]));
    for (const [id, status] of this.downloads) {
      if (this._heardSince(id, askedAt)) {
        downloads.set(id, status);
      }
    }
    this.downloads = downloads;
    this.tell("downloads", this.downloads);
  }

  _put(status) {
    this.downloads.set(status.id, status);
    this.tell("downloads", this.downloads);
  }

  _heardSince(id, moment) {
    return (this._heard.get(id) ?? -Infinity) >= moment;
  }
}
