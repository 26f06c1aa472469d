// A plain table of values, kept as it is where a value has not changed.
//
// On a narrow screen each row becomes a small card whose cells carry their headings, so the
// roles are said explicitly: a stylesheet that changes how a table is drawn takes them away.
// Not for: lists too long to draw (list.js).

import { el, setText } from "./dom.js";

export class Table {
  /**
   * `columns`: {title, className, wide}, `wide` for what takes a whole line of a narrow row.
   * A cell is a text, or an element that `fill(row)` of its column made and changes.
   */
  constructor(element, label, columns) {
    this._columns = columns;
    this._rows = new Map();
    this._body = el("tbody", { role: "rowgroup" });
    const heads = columns.map(({ title, className = "" }) =>
      el("th", { role: "columnheader", scope: "col", className }, title),
    );
    element.setAttribute("role", "table");
    element.setAttribute("aria-label", label);
    element.append(
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
      this._body,
    );
  }

  /** Show these rows, {key, cells: [text, …], decorate?(row element)}, in this order. */
  set(rows) {
    const keys = new Set(rows.map(({ key }) => key));
    for (const [key, row] of this._rows) {
      if (!keys.has(key)) {
        row.remove();
        this._rows.delete(key);
      }
    }
    rows.forEach(({ key, cells, decorate }, index) => {
      const row = this._rows.get(key) ?? this._added(key);
      cells.forEach((text, column) => setText(row.texts[column], text));
      decorate?.(row);
      if (this._body.children[index] !== row) {
        this._body.insertBefore(row, this._body.children[index] ?? null);
      }
    });
  }

  _added(key) {
    const texts = this._columns.map(() => el("span", { className: "text" }));
    const cells = this._columns.map(({ title, className = "", wide = false }, index) => {
      const cell = el("td", { role: "cell", className: `${className}${wide ? " wide" : ""}` });
      cell.dataset.label = title;
      cell.append(texts[index]);
      return cell;
    });
    const row = el("tr", { role: "row" }, ...cells);
    row.texts = texts;
    this._rows.set(key, row);
    return row;
  }
}
