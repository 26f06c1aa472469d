// The rates of the last minute as a small plot: download as a filled area, upload as a line.
//
// Not for: numbers that people read exactly; they stand beside it.

import { colour, oncePerFrame, setAttribute, sharpContext } from "./dom.js";
import { rateText } from "./words.js";

const SECONDS = 60;
const LEAST_TOP = 10_000; // bytes per second; below that a plot of nothing would look like much

export class RatePlot {
  /** `canvas` has its size from the stylesheet; `most` is an element for the top of the scale. */
  constructor(canvas, most) {
    this._canvas = canvas;
    this._most = most;
    this._rates = [];
    this.draw = oncePerFrame(() => this._draw());
    new ResizeObserver(this.draw).observe(canvas);
    document.addEventListener("themechange", this.draw);
  }

  /** `rates`: pairs of download and upload, one a second, the oldest first. */
  set(rates) {
    this._rates = rates.slice(-SECONDS);
    const [down, up] = this._rates.at(-1) ?? [0, 0];
    const top = (index) => rateText(Math.max(0, ...this._rates.map((pair) => pair[index])));
    setAttribute(
      this._canvas,
      "aria-label",
      `Rates of the last minute: download ${rateText(down)} now, ${top(0)} at most; ` +
        `upload ${rateText(up)} now, ${top(1)} at most.`,
    );
    this.draw();
  }

  _draw() {
    const [width, height] = [this._canvas.clientWidth, this._canvas.clientHeight];
    const context = sharpContext(this._canvas, width, height);
    if (!context) {
      return;
    }
    const peak = Math.max(0, ...this._rates.flat());
    const top = Math.max(LEAST_TOP, peak) * 1.08;
    this._most.textContent = peak > 0 ? rateText(peak) : "";
    context.fillStyle = colour("line");
    context.fillRect(0, height - 1, width, 1);
    const points = (index) => this._points(index, width, height - 1, top);
    area(context, points(0), height - 1);
    stroke(context, points(0), colour("down"), []);
    if (this._rates.some(([, up]) => up > 0)) {
      stroke(context, points(1), colour("up"), [4, 3]);
    }
  }

  /** The newest is at the right edge, a second is always as wide. */
  _points(index, width, height, top) {
    const step = width / (SECONDS - 1);
    const first = width - (this._rates.length - 1) * step;
    return this._rates.map((pair, number) => [
      first + number * step,
      height - 1 - (pair[index] / top) * (height - 2),
    ]);
  }
}

function trace(context, points) {
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
}

function stroke(context, points, style, dash) {
  context.beginPath();
  trace(context, points);
  context.setLineDash(dash);
  context.strokeStyle = style;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
  context.setLineDash([]);
}

function area(context, points, base) {
  if (!points.length) {
    return;
  }
  context.beginPath();
  trace(context, points);
  context.lineTo(points.at(-1)[0], base);
  context.lineTo(points[0][0], base);
  context.closePath();
  context.globalAlpha = 0.16;
  context.fillStyle = colour("down");
  context.fill();
  context.globalAlpha = 1;
}
