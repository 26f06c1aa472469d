// Sharing: a file dropped on the page or chosen is sent to the node, a path is linked or copied.
//
// Not for: what the node makes of it; it answers with that.

import { post, upload } from "./api.js";
import { byId, el, icon, setText } from "./dom.js";
import { say, trying } from "./notices.js";
import { countText, safe, safeName, sizeText } from "./words.js";

export class ShareView {
  /** `shared` is called when something new is in the share folder. */
  constructor(shared) {
    this._shared = shared;
    this._queue = Promise.resolve();
    this._dialog = byId("share");
    byId("share-open").addEventListener("click", () => this._dialog.showModal());
    byId("share-close").addEventListener("click", () => this._dialog.close());
    byId("share-choose").addEventListener("click", () => byId("share-files").click());
    byId("share-files").addEventListener("change", () => {
      this._take([...byId("share-files").files]);
      byId("share-files").value = "";
    });
    byId("share-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._path();
    });
    this._bindDrop();
  }

  _bindDrop() {
    let depth = 0; // enter and leave come for every element that is crossed
    const has = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const over = (yes) => document.body.classList.toggle("dropping", yes);
    addEventListener("dragenter", (event) => {
      if (has(event)) {
        depth += 1;
        over(true);
      }
    });
    addEventListener("dragleave", (event) => {
      if (has(event)) {
        depth = Math.max(0, depth - 1);
        over(depth > 0);
      }
    });
    addEventListener("dragover", (event) => has(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!has(event)) {
        return;
      }
      event.preventDefault();
      depth = 0;
      over(false);
      this._take(filesOf(event.dataTransfer));
    });
  }

  /** Send them one after another. */
  _take(files) {
    if (files.length) {
      this._dialog.close();
    }
    for (const file of files) {
      const job = new Job(file);
      this._queue = this._queue.then(() => this._send(file, job));
    }
  }

  async _send(file, job) {
    try {
      const status = await upload(file, (part) => job.progress(part));
      job.done(`${safeName(status.name)} is shared. ${safe(status.note, 500)}`.trim(), true);
      this._shared();
    } catch (error) {
      job.done(`${safeName(file.name)}: ${error.message}`, false);
    }
  }

  _path() {
    const path = byId("share-path").value.trim();
    if (!path.startsWith("/") && !/^[A-Za-z]:\\/.test(path)) {
      setText(byId("share-problem"), "Write the whole path of a file, such as /home/you/forest.png.");
      byId("share-path").setAttribute("aria-invalid", "true");
      byId("share-path").focus();
      return;
    }
    setText(byId("share-problem"), "");
    byId("share-path").removeAttribute("aria-invalid");
    trying(async () => {
      const status = await post("shares", { path, how: byId("share-how").value });
      this._dialog.close();
      byId("share-path").value = "";
      const note = status.note ? ` ${safe(status.note, 500)}` : "";
      say(`${safeName(status.name)} (${sizeText(status.size)}) is shared: ${status.how}.${note}`, "good");
      this._shared();
    });
  }
}

/** The files of a drop; of folders it is said that they are not taken. */
function filesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  if (folders.length) {
    say(`${countText(folders.length, "folder")} left out: only files can be shared.`, "bad");
  }
  return items
    .filter((item) => !folders.includes(item))
    .map((item) => item.getAsFile())
    .filter(Boolean);
}

/** The line of one file that is being sent. */
class Job {
  constructor(file) {
    this._text = el("p", {}, `Sending ${safeName(file.name)} (${sizeText(file.size)})`);
    this._bar = el("progress", { max: 1, value: 0, "aria-label": `Sending ${safeName(file.name)}` });
    this._element = el("div", { className: "notice job" }, icon("up"), this._text, this._bar);
    byId("jobs").append(this._element);
  }

  progress(part) {
    this._bar.value = part;
  }

  done(text, good) {
    this._element.remove();
    say(text, good ? "good" : "bad");
  }
}
