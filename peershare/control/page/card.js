// One download: how far it is, who gives, what is wrong, and the map of its blocks.
//
// Not for: which downloads there are (downloads.js).

import { get, post } from "./api.js";
import { el, icon, setAttribute, setText, unseen } from "./dom.js";
import { BlockMap } from "./map.js";
import { trying } from "./notices.js";
import { clockText, countText, doneText, rateText, safe, safeName, sizeText } from "./words.js";

const STATES = {
  searching: "Searching",
  downloading: "Downloading",
  waiting: "Waiting",
  blocked: "Blocked",
  paused: "Paused",
  finishing: "Finishing",
  done: "Done",
  stopped: "Cancelled",
  failed: "Failed",
};
const FINAL = new Set(["done", "stopped", "failed"]);
const CAN_PAUSE = new Set(["searching", "downloading", "waiting", "blocked"]);
const MAP_PAUSE_MS = 500; // the node is asked for a map at most twice a second

export class DownloadCard {
  constructor(status, store) {
    this.id = status.id;
    this._store = store;
    this._status = status;
    this._mapAt = -Infinity;
    this._mapFor = ""; // the status that the last map belongs to, as far as it matters
    this._asking = false;
    this._seen = false;
    this._open = !FINAL.has(status.state); // whether the map is shown
    this._make();
    new IntersectionObserver(([entry]) => {
      this._seen = entry.isIntersecting;
    }).observe(this.element);
    this.update(status);
  }

  _make() {
    this._name = el("h3", { tabIndex: -1 });
    this._state = el("span", { className: "chip" });
    this._bar = el("div", { className: "bar", role: "progressbar" });
    this._bar.append(el("div"));
    this._figures = el("span");
    const dot = el("span", { className: "dot" }, " · ");
    const line = el("p", { className: "line" }, this._state, dot, this._figures);
    this._problem = el("p", { className: "problem" });
    this._map = new BlockMap();
    this._buttons = {
      pause: this._button("pause", "Pause"),
      resume: this._button("play", "Resume"),
      cancel: this._button("close", "Cancel"),
    };
    this._blocks = el("button", { type: "button", className: "plain", title: "Blocks" });
    this._blocks.append(icon("map"));
    this._blocks.addEventListener("click", () => this.open(!this._open));
    this._buttons.cancel.title = "What has come is kept for the next time";
    this._verified = el("span", { className: "mark" });
    this._checked = unseen("");
    this._verified.append(icon("shield"), this._checked);
    const title = el("div", { className: "card-name" }, this._name, this._verified);
    const head = el("div", { className: "card-head" }, title, this._blocks);
    this._foot = el("div", { className: "card-foot" }, ...Object.values(this._buttons));
    this.element = el(
      "li",
      { className: "card" },
      head,
      this._bar,
      line,
      this._problem,
      this._map.element,
      this._foot,
    );
    this.open(this._open);
  }

  /** Show the map of blocks, or do not. */
  open(yes) {
    this._open = yes;
    this._map.element.hidden = !yes;
    setAttribute(this._blocks, "aria-expanded", String(yes));
  }

  _button(name, label) {
    const made = el("button", { type: "button" }, icon(name), label);
    made.addEventListener("click", () =>
      trying(async () => {
        const askedAt = performance.now();
        const status = await post(`downloads/${this.id}/${label.toLowerCase()}`);
        this._store.answered(status, askedAt);
        this.update(this._store.downloads.get(this.id) ?? status);
      }),
    );
    return made;
  }

  update(status) {
    this._status = status;
    const name = safeName(status.name);
    setText(this._name, name);
    this._name.title = name;
    const done = status.state === "done";
    setText(this._checked, done ? "verified" : "will be verified");
    setAttribute(this._verified, "title", `Every byte of it ${done ? "was" : "will be"} checked`);
    this._verified.hidden = !status.verified;
    setText(this._state, stateOf(status));
    setAttribute(this.element, "data-state", status.state);
    this._progress(status, name);
    setText(this._figures, lineOf(status));
    setText(this._problem, safe(status.problem, 1000));
    this._problem.hidden = !status.problem || status.state === "done";
    const buttons = Object.values(this._buttons);
    const focused = buttons.find((one) => one === document.activeElement);
    const { pause, resume, cancel } = this._buttons;
    pause.hidden = !CAN_PAUSE.has(status.state);
    resume.hidden = status.state !== "paused" && status.state !== "stopped";
    cancel.hidden = FINAL.has(status.state) || status.state === "finishing";
    for (const [verb, button] of Object.entries(this._buttons)) {
      setAttribute(button, "aria-label", `${verb[0].toUpperCase()}${verb.slice(1)} ${name}`);
    }
    setAttribute(this._blocks, "aria-label", `Blocks of ${name}`);
    this._foot.hidden = pause.hidden && resume.hidden && cancel.hidden;
    if (focused?.hidden) {
      // what has vanished under the focus hands it on, whether an answer or an event did it
      (buttons.find((one) => !one.hidden) ?? this._name).focus();
    }
  }

  _progress(status, name) {
    const done = status.state === "done";
    const part = done ? 1 : status.size ? Math.min(1, status.received / status.size) : 0;
    this._bar.firstChild.style.transform = `scaleX(${part})`;
    setAttribute(this._bar, "aria-label", `Progress of ${name}`);
    setAttribute(this._bar, "aria-valuenow", String(Math.floor(part * 100)));
    setAttribute(this._bar, "aria-valuetext", `${Math.floor(part * 100)} %, ${lineOf(status)}`);
    this._bar.hidden = done;
  }

  /** Ask for the map if it is seen, not asked for just now, and may be another one. */
  async look(now) {
    const status = this._status;
    const kind = `${status.state} ${status.received} ${status.peers.length}`;
    const moving = status.state === "downloading" || status.state === "finishing";
    const due = now - this._mapAt >= MAP_PAUSE_MS && (moving || kind !== this._mapFor);
    if (!this._seen || !this._open || this._asking || !due) {
      return;
    }
    this._asking = true;
    this._mapAt = now;
    try {
      const map = await get(`downloads/${this.id}/map`);
      this._mapFor = kind;
      this._map.set(map, this._status.given);
    } catch {
      this._mapAt = now + 5_000; // there is none; what is wrong is said elsewhere
    }
    this._asking = false;
  }
}

/** The figures of a download in one line. */
function lineOf(status) {
  if (status.state === "done") {
    return doneText(status);
  }
  const size = status.size === null ? "" : ` of ${sizeText(status.size)}`;
  const parts = [`${sizeText(status.received)}${size}`];
  if (status.state === "downloading") {
    parts.push(rateText(status.rate));
    if (status.seconds_left !== null) {
      parts.push(`${clockText(status.seconds_left)} left`);
    }
  }
  if (!status.verified) {
    parts.push("unverified");
  }
  // a line breaks between the figures, not in one
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
}

function stateOf(status) {
  const giving = status.state === "downloading" && status.peers.length;
  return STATES[status.state] + (giving ? ` from ${countText(status.peers.length, "peer")}` : "");
}
