// Loaded in the head without defer, so that the theme stands before anything is painted.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const systemTheme = () => (system.matches ? "dark" : "light");

  // Storage can be forbidden; the theme then lasts as long as the page.
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const store = (theme) => {
    try {
      // Choosing what the system shows anyway means following the system again.
      if (theme === systemTheme()) localStorage.removeItem("theme");
      else localStorage.setItem("theme", theme);
    } catch { /* nothing to keep */ }
  };

  const show = (theme) => {
    root.dataset.bsTheme = theme;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      const label = theme === "dark" ? "Use light theme" : "Use dark theme";
      button.setAttribute("aria-label", label);
      button.title = label;
    }
  };
  const current = () => stored() ?? systemTheme();

  show(current());
  document.addEventListener("DOMContentLoaded", () => show(current()));
  system.addEventListener("change", () => show(current()));
  addEventListener("storage", (event) => { if (event.key === "theme") show(current()); });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const theme = root.dataset.bsTheme === "dark" ? "light" : "dark";
    store(theme);
    show(theme);
  });
})();
