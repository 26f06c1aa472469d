// The node itself: the line in the header, its facts, and what troubles it.
//
// Not for: its limits (limits.js) or its rates (plot.js).

import { byId, el, setText } from "./dom.js";
import { countText, listText, numberText, safe, safeName, sizeText, spanText } from "./words.js";

export class NodeView {
  constructor(store) {
    this._facts = new Map();
    store.on("node", (node) => {
      this._header(node);
      this._problems(node);
      factsOf(node).forEach(([name, text]) => this._fact(name, text));
    });
  }

  _header(node) {
    const parts = [
      countText(node.peers, "peer"),
      `${numberText(node.files)} shared`,
      node.addresses.length ? listText(node.addresses, 2) : "no network",
    ];
    setText(byId("summary"), parts.join(" · "));
  }

  _problems(node) {
    const list = byId("problems");
    const texts = node.problems.map((problem) => safe(problem, 1000));
    if (texts.join("\n") !== [...list.children].map((item) => item.textContent).join("\n")) {
      list.replaceChildren(...texts.map((text) => el("li", {}, text)));
    }
    list.hidden = texts.length === 0;
  }

  _fact(name, text) {
    if (!this._facts.has(name)) {
      const value = el("dd");
      byId("facts").append(el("div", {}, el("dt", {}, name), value));
      this._facts.set(name, value);
    }
    setText(this._facts.get(name), text);
  }
}

function factsOf(node) {
  const refused = Object.entries(node.refused)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${numberText(count)} ${safe(reason)}`);
  const facts = [
    ["Addresses", listText(node.addresses, 8) || "none"],
    ["Announces to", listText(node.broadcasts, 8) || "nobody"],
    ["Ports", portsText(node)],
    ["Share folder", safe(node.share, 500)],
    ["State folder", safe(node.state, 500)],
    ["Not offered", notOfferedText(node)],
    ["Turned away", refused.length ? listText(refused, 8) : "nothing"],
    ["Version", `peershare ${safe(node.version)}, process ${node.pid}`],
  ];
  if (node.free_bytes) {
    facts.splice(4, 0, ["Free space", sizeText(node.free_bytes)]);
  }
  if (node.started_at) {
    facts.push(["Runs since", new Date(node.started_at * 1000).toLocaleString()]);
  }
  if (node.reactor_delay !== undefined) {
    facts.push(["Worst delay", `${spanText(node.reactor_delay)} in the last minute`]);
  }
  return facts;
}

function portsText(node) {
  const parts = [node.tcp_port === null ? "listens nowhere" : `TCP ${node.tcp_port}`];
  parts.push(`UDP ${node.beacon_port}`);
  if (node.classic) {
    parts.push(`UDP ${node.classic_udp_port} (classic${node.announcing ? "" : ", not announcing"})`);
  }
  return parts.join(", ");
}

/** What in the share folder the others do not see, the first of it with reasons. */
function notOfferedText(node) {
  const first = node.not_offered_first.map(({ name, reason }) => `${safeName(name)}: ${safe(reason, 300)}`);
  const rest = node.not_offered - first.length;
  const more = rest > 0 ? [`and ${numberText(rest)} more`] : [];
  return [...first, ...more].join("; ") || "nothing";
}
