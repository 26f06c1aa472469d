// Guests: the link and the code for those without peershare, and what they have uploaded.
//
// Seen only if the node serves a page for guests.  Not for: that page itself.

import { get, post } from "./api.js";
import { byId, el, icon, setText } from "./dom.js";
import { say, trying } from "./notices.js";
import { allowView } from "./views.js";
import { listText, safe, safeName, sizeText } from "./words.js";

const LOOK_MS = 3_000;
const OPEN = new Set(["arriving", "waiting"]);
const STATES = {
  arriving: "arrives",
  waiting: "waits for you",
  accepted: "accepted",
  refused: "refused",
};

export class GuestView {
  constructor(store) {
    this._store = store;
    this._qr = "";
    this._link = "";
    this._rows = new Map();
    byId("guest-copy").addEventListener("click", () => this._copy());
    this._lookedAt = -Infinity;
    store.on("node", () => this._look());
    setInterval(() => this._look(), LOOK_MS);
  }

  /** Ask how it stands; only a node that has a guest page has anything to tell. */
  async _look(now = false) {
    const has = Boolean(this._store.node?.guest);
    allowView("guests", has);
    const since = performance.now() - this._lookedAt;
    if (!has || (!now && since < LOOK_MS) || document.hidden || this._store.connected !== true) {
      return;
    }
    this._lookedAt = performance.now();
    const status = await get("guest").catch(() => null);
    if (status?.link) {
      this._show(status);
    }
  }

  _show(status) {
    this._link = status.link;
    setText(byId("guest-link"), status.link);
    byId("guest-link").href = status.link;
    if (status.qr !== this._qr) {
      this._qr = status.qr;
      // an image and not markup: nothing in it can run
      byId("guest-qr").src = `data:image/svg+xml,${encodeURIComponent(status.qr)}`;
    }
    const others = status.links.filter((link) => link !== status.link);
    setText(byId("guest-others"), others.length ? `Also ${listText(others, 8)}` : "");
    const uploads = status.uploads;
    const waiting = uploads.filter((one) => one.state === "waiting").length;
    byId("guest-inbox").hidden = !status.takes_uploads && !uploads.length;
    setText(
      byId("guest-limit"),
      `Each up to ${sizeText(status.upload_limit)}. What you accept goes into the inbox folder.`,
    );
    setText(byId("guest-count"), waiting ? String(waiting) : "");
    byId("no-uploads").hidden = uploads.length > 0;
    this._uploads(uploads);
  }

  _uploads(uploads) {
    const ids = new Set(uploads.map(({ id }) => id));
    for (const [id, row] of this._rows) {
      if (!ids.has(id)) {
        row.element.remove();
        this._rows.delete(id);
      }
    }
    for (const one of uploads) {
      const row = this._rows.get(one.id) ?? this._added(one);
      const come = one.state === "arriving" ? `${sizeText(one.received)} of ` : "";
      const size = `${come}${sizeText(one.size)}`;
      setText(row.detail, `${size} from ${safe(one.address)} · ${STATES[one.state]}`);
      row.buttons.hidden = !OPEN.has(one.state);
      row.accept.hidden = one.state !== "waiting";
    }
  }

  _added(one) {
    const name = safeName(one.name);
    const detail = el("p", { className: "line" });
    const accept = this._button(one, name, "accept", "check", "Accept");
    const refuse = this._button(one, name, "refuse", "close", "Refuse");
    const buttons = el("div", { className: "card-foot" }, accept, refuse);
    const element = el("li", { className: "card" }, el("h3", { title: name }, name), detail, buttons);
    byId("guest-uploads").append(element);
    const row = { element, detail, buttons, accept };
    this._rows.set(one.id, row);
    return row;
  }

  _button(one, name, verb, picture, label) {
    const made = el("button", { type: "button", "aria-label": `${label} ${name}` });
    made.append(icon(picture), label);
    made.addEventListener("click", () =>
      trying(async () => {
        const done = await post(`guest/uploads/${encodeURIComponent(one.id)}/${verb}`);
        byId("guests-head").focus();
        say(
          verb === "accept" ? `${name} lies in ${safe(done.path, 500)} now.` : `${name} is refused, and gone.`,
          "good",
        );
        await this._look(true);
      }),
    );
    return made;
  }

  async _copy() {
    try {
      await navigator.clipboard.writeText(this._link);
      say("The link is copied.", "good");
    } catch {
      getSelection().selectAllChildren(byId("guest-link"));
      say("Press Ctrl+C to copy the link.");
    }
  }
}
