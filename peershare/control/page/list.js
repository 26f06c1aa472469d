// A list of any length of which only what is seen is in the document.
//
// The rows are of one height (the variable --row-height of the grid) and stand in the order in
// which they are seen.  One row is the active one; the arrow keys move it.  Not for: what a row
// shows.

import { oncePerFrame, setAttribute } from "./dom.js";

const SPARE_ROWS = 6; // above and below what is seen

export class VirtualList {
  /**
   * `grid` scrolls and has the focus, `body` is where its rows go, below what else is in it.
   * `create()` makes a row, `update(row, item)` fills it, `choose(item)` is called for Enter.
   */
  constructor(grid, body, { create, update, choose }) {
    this._grid = grid;
    this._body = body;
    this._create = create;
    this._update = update;
    this._choose = choose;
    this._items = [];
    this._active = -1;
    this._window = document.createElement("div");
    this._window.className = "window";
    this._window.setAttribute("role", "presentation");
    body.append(this._window);
    this.draw = oncePerFrame(() => this._draw());
    grid.addEventListener("scroll", this.draw, { passive: true });
    grid.addEventListener("keydown", (event) => this._key(event));
    new ResizeObserver(this.draw).observe(grid);
  }

  get items() {
    return this._items;
  }

  /** Show these; the place stays as it is unless `toTop`. */
  setItems(items, toTop = false) {
    const key = this._active < 0 ? null : this._items[this._active].key;
    this._items = items;
    this._active = key === null ? -1 : items.findIndex((item) => item.key === key);
    if (toTop) {
      this._grid.scrollTop = 0;
    }
    this.draw();
  }

  /** The item of the row that an element is in. */
  itemAt(element) {
    const row = element.closest("[role=row]");
    return row ? this._items[Number(row.dataset.index)] : undefined;
  }

  activate(index) {
    if (!this._items.length) {
      return;
    }
    this._active = Math.max(0, Math.min(this._items.length - 1, index));
    this._show(this._active);
    this._draw();
  }

  get _rowHeight() {
    return parseFloat(getComputedStyle(this._grid).getPropertyValue("--row-height")) || 44;
  }

  /** Scroll so far that a row is seen. */
  _show(index) {
    const top = index * this._rowHeight;
    const room = this._grid.clientHeight - this._body.offsetTop;
    if (top < this._grid.scrollTop) {
      this._grid.scrollTop = top;
    } else if (top + this._rowHeight > this._grid.scrollTop + room) {
      this._grid.scrollTop = top + this._rowHeight - room;
    }
  }

  _draw() {
    const height = this._rowHeight;
    const count = this._items.length;
    const seen = Math.ceil(this._grid.clientHeight / height);
    const first = Math.max(0, Math.floor(this._grid.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(count, first + seen + 2 * SPARE_ROWS);
    this._body.style.height = `${count * height}px`;
    this._window.style.transform = `translateY(${first * height}px)`;
    setAttribute(this._grid, "aria-rowcount", String(count + 1));
    while (this._window.children.length > Math.max(0, last - first)) {
      this._window.lastChild.remove();
    }
    for (let index = first; index < last; index += 1) {
      this._fill(this._window.children[index - first] ?? this._added(), index);
    }
    this._mark();
  }

  _added() {
    const row = this._create();
    row.setAttribute("role", "row");
    this._window.append(row);
    return row;
  }

  _fill(row, index) {
    row.dataset.index = index;
    row.id = `row-${index}`;
    setAttribute(row, "aria-rowindex", String(index + 2));
    row.classList.toggle("active", index === this._active);
    this._update(row, this._items[index]);
  }

  _mark() {
    const id = `row-${this._active}`;
    if (this._active >= 0 && document.getElementById(id)) {
      setAttribute(this._grid, "aria-activedescendant", id);
    } else {
      this._grid.removeAttribute("aria-activedescendant");
    }
  }

  _key(event) {
    if (event.target !== this._grid || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const page = Math.max(1, Math.floor(this._grid.clientHeight / this._rowHeight) - 2);
    const moves = {
      ArrowDown: this._active + 1,
      ArrowUp: this._active - 1,
      PageDown: this._active + page,
      PageUp: this._active - page,
      Home: 0,
      End: this._items.length - 1,
    };
    if (event.key in moves) {
      event.preventDefault();
      this.activate(moves[event.key]);
    } else if (event.key === "Enter" && this._active >= 0) {
      event.preventDefault();
      this._choose(this._items[this._active]);
    }
  }
}
