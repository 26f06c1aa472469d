// The event stream, with a reconnect that never gives up.
//
// Read with fetch and not with EventSource: so the status of a refusal is known, and the
// comments by which the node shows that it lives are seen.  Not for: what events mean.

const SILENCE_MS = 40_000; // the node says something every 15 s
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;

export class EventStream {
  /** `on` has `open()`, `event(name, data)` and `lost(status)`; status 0: nobody answers. */
  constructor(on) {
    this._on = on;
    this._wait = FIRST_WAIT_MS;
    this._abort = null;
    this._timer = 0;
    addEventListener("online", () => this._hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this._hurry());
  }

  start() {
    this._run();
  }

  async _run() {
    this._timer = 0;
    this._abort = new AbortController();
    let status = 0;
    try {
      const response = await fetch("/api/events", { signal: this._abort.signal });
      status = response.status;
      if (response.ok) {
        this._wait = FIRST_WAIT_MS;
        this._on.open();
        await this._read(response.body);
        status = 0;
      }
    } catch {
      status = 0; // the network, or we ourselves after a long silence
    }
    this._abort = null;
    this._on.lost(status);
    this._timer = setTimeout(() => this._run(), this._wait * (0.75 + Math.random() / 2));
    this._wait = Math.min(LONGEST_WAIT_MS, this._wait * 2);
  }

  _hurry() {
    if (this._timer) {
      clearTimeout(this._timer);
      this._run();
    }
  }

  async _read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const silence = setTimeout(() => this._abort.abort(), SILENCE_MS);
      const { value, done } = await reader.read();
      clearTimeout(silence);
      if (done) {
        return;
      }
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        this._tell(block);
      }
    }
  }

  _tell(block) {
    let name = "message";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) {
        name = line.slice(7);
      } else if (line.startsWith("data: ")) {
        data += line.slice(6);
      }
    }
    if (data) {
      this._on.event(name, JSON.parse(data));
    }
  }
}
