/* Puts the chosen colours on the page before its first paint: loaded without `defer`, on purpose. */
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function choice() {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto"; // storage can be forbidden
    }
  }

  function apply() {
    const chosen = root.dataset.themeChoice ?? choice();
    const theme = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  }

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("themechosen", apply);
})();
