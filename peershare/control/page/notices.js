// What is to be read once: notices at the foot of the page, and the line about the connection.
//
// Not for: problems that stay; each stands where it belongs (a download's card, the node's view).

import { byId, el, icon, setText } from "./dom.js";
import { safe } from "./words.js";

const STAYS_MS = 7_000;
const MOST = 4;
// A notice that comes again within this time is not told twice.
const SAME_MS = 10_000;
const told = new Map();

/** Show a sentence for some seconds; `kind` is "info", "good" or "bad". */
export function say(text, kind = "info") {
  const now = performance.now();
  if (now - (told.get(text) ?? -Infinity) < SAME_MS) {
    return;
  }
  told.set(text, now);
  const names = { info: "info", good: "check", bad: "alert" };
  const button = el("button", { type: "button", className: "plain", title: "Dismiss" });
  button.setAttribute("aria-label", "Dismiss");
  button.append(icon("close"));
  const notice = el(
    "div",
    { className: `notice ${kind}` },
    icon(names[kind]),
    el("p", {}, safe(text, 1000)),
    button,
  );
  button.addEventListener("click", () => notice.remove());
  // errors are read out at once, all else when there is a pause
  const box = byId(kind === "bad" ? "alerts" : "notices");
  box.append(notice);
  while (box.children.length > MOST) {
    box.firstChild.remove();
  }
  setTimeout(() => notice.remove(), kind === "bad" ? 2 * STAYS_MS : STAYS_MS);
}

/** Do something that may fail; what is wrong is said. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, "bad");
    return undefined;
  }
}

/** Tell the notices of the node, and how the connection is. */
export function showNotices(store) {
  store.on("notice", (notice) => {
    if (notice.kind === "failover" || notice.kind === "warning") {
      say(notice.text, notice.kind === "warning" ? "bad" : "info");
    }
  });
  const banner = byId("connection");
  let lost = false;
  let timer = 0;
  store.on("connected", (connected) => {
    clearTimeout(timer);
    document.body.classList.toggle("offline", connected !== true);
    if (connected === true) {
      setText(banner, lost ? "Connected again." : "");
      banner.className = "back";
      timer = setTimeout(() => setText(banner, ""), 3_000);
    } else {
      banner.className = "lost";
      setText(
        banner,
        connected === 401 || connected === 403
          ? "This page has been signed out: the service was started anew." +
              " Run “peershare open” in a terminal to open it again."
          : "The connection to the service is lost. Trying again …",
      );
    }
    lost = connected !== true;
  });
}
