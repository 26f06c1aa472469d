// Small helpers to make and change elements.
//
// Text only ever becomes a text node: no string of ours or of a peer is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `props` are properties, or attributes where they have a dash or are `role`. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes("-") || key === "role" || key === "for") {
      made.setAttribute(key, value);
    } else {
      made[key] = value;
    }
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

/** One of the icons of index.html, silent for screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Text that only screen readers tell. */
export function unseen(text) {
  return el("span", { className: "unseen" }, text);
}

/** Change a text only if it is another one, so that nothing is laid out or told twice. */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

export function byId(id) {
  return document.getElementById(id);
}

/** At most one call a frame, however often it is asked for. */
export function oncePerFrame(draw) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };
}

/** A canvas made sharp for this screen: its context, with sizes in CSS pixels; null if unseen. */
export function sharpContext(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (width < 1 || height < 1) {
    return null;
  }
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** A colour of the stylesheet, by the name of its variable. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
