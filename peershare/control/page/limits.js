// The limits of upload and download, changed while the node runs.
//
// Not for: what a rate looks like (words.js).

import { get, put } from "./api.js";
import { byId, setText } from "./dom.js";
import { say, trying } from "./notices.js";
import { onView } from "./views.js";
import { parseRate, rateText, sizeText } from "./words.js";

const BOTH = ["download", "upload"];
const typed = (rate) => (rate === null ? "" : `${sizeText(rate)}/s`);

export class LimitsView {
  constructor(store) {
    this._store = store;
    this._shown = { download: null, upload: null };
    byId("limits-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._apply();
    });
    for (const way of BOTH) {
      byId(`limit-${way}`).addEventListener("input", () => this._judge(way));
    }
    store.on("node", (node) => {
      this._show({ download: node.download_limit, upload: node.upload_limit });
    });
    onView((view) => view === "node" && this._fetch());
  }

  async _fetch() {
    const limits = await get("limits").catch(() => null);
    if (limits) {
      this._show(limits);
    }
  }

  /** Put them into the fields, unless somebody is typing there. */
  _show(limits) {
    for (const way of BOTH) {
      const field = byId(`limit-${way}`);
      if (field.value === typed(this._shown[way])) {
        field.value = typed(limits[way]);
      }
      this._shown[way] = limits[way];
    }
    const said = BOTH.filter((way) => limits[way] !== null);
    setText(
      byId("limits-now"),
      said.length
        ? `Now: ${said.map((way) => `${way} ${rateText(limits[way])}`).join(", ")}.`
        : "Now: no limits.",
    );
  }

  /** The rate in a field, null for none; undefined if it is no rate, which is said. */
  _judge(way) {
    const field = byId(`limit-${way}`);
    try {
      const rate = parseRate(field.value);
      field.removeAttribute("aria-invalid");
      setText(byId("limits-problem"), "");
      return rate;
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      setText(byId("limits-problem"), error.message);
      return undefined;
    }
  }

  async _apply() {
    const wanted = {};
    for (const way of BOTH) {
      wanted[way] = this._judge(way);
      if (wanted[way] === undefined) {
        byId(`limit-${way}`).focus();
        return;
      }
    }
    const limits = await trying(() => put("limits", wanted));
    if (limits) {
      BOTH.forEach((way) => {
        byId(`limit-${way}`).value = typed(limits[way]);
      });
      this._show(limits);
      say("The limits are changed, until the service is started anew.", "good");
    }
  }
}
