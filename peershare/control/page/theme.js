// The theme: light or dark, as the system says or as the switch in the header was set.
//
// A plain script, so that it runs before the first paint.  Not for: colours, style.css has them.
"use strict";

(() => {
  const KEY = "peershare-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  let wanted = stored(); // "" where the system decides

  function stored() {
    try {
      const value = localStorage.getItem(KEY);
      return value === "light" || value === "dark" ? value : "";
    } catch {
      return ""; // storage is switched off
    }
  }

  function store() {
    try {
      localStorage.setItem(KEY, wanted);
    } catch {
      // it lasts as long as the page then
    }
  }

  function apply() {
    const theme = wanted || (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(theme === "dark"));
    document.dispatchEvent(new Event("themechange")); // canvases are drawn anew
  }

  function toggle() {
    wanted = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    store();
    apply();
  }

  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", toggle);
    apply();
  });
  apply();
})();
