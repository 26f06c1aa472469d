// The views of the page, chosen by the fragment of its address.
//
// On a wide screen the downloads stand beside the other views, else they are one of them.
// Not for: what a view shows.

import { byId } from "./dom.js";

const VIEWS = ["network", "downloads", "peers", "history", "guests", "node"];
const wide = matchMedia("(min-width: 1080px)");
const listeners = [];
let allowed = new Set(VIEWS.filter((view) => view !== "guests"));
let current = "";

/** Call this with the name of a view when it is shown. */
export function onView(listener) {
  listeners.push(listener);
}

/** Whether a view is seen right now. */
export function isSeen(view) {
  return !document.hidden && !byId(view).hidden;
}

export function allowView(view, yes) {
  if (allowed.has(view) !== yes) {
    allowed = new Set(VIEWS.filter((one) => (one === view ? yes : allowed.has(one))));
    byId(`to-${view}`).parentElement.hidden = !yes;
    show();
  }
}

function show() {
  const asked = location.hash.slice(2); // "#/peers" is no element's id: nothing scrolls there
  let view = allowed.has(asked) ? asked : current || "network";
  if (!allowed.has(view) || (wide.matches && view === "downloads")) {
    view = "network";
  }
  byId("to-downloads").parentElement.hidden = wide.matches;
  for (const name of VIEWS) {
    byId(name).hidden = name !== view && !(wide.matches && name === "downloads");
    if (name === view) {
      byId(`to-${name}`).setAttribute("aria-current", "page");
    } else {
      byId(`to-${name}`).removeAttribute("aria-current");
    }
  }
  if (view !== current) {
    current = view;
    document.title = `${byId(`to-${view}`).dataset.name} – peershare`;
  }
  byId(`to-${view}`).scrollIntoView({ block: "nearest", inline: "nearest" });
  listeners.forEach((listener) => listener(view));
}

export function startViews() {
  addEventListener("hashchange", show);
  wide.addEventListener("change", show);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the view's
    byId("main").focus();
  });
  show();
}
