// The page of the keys: a field takes the key that is pressed in it.
(() => {
  const MODIFIERS = ["Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock"];
  const say = (field) => clipsite.announce(`${field.labels[0].textContent}: ${field.value || "no key"}`);

  document.addEventListener("focusin", (event) => { if (event.target.matches("[data-key]")) event.target.dataset.key = "first"; });
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!field.matches("[data-key]") || MODIFIERS.includes(event.key)) return;
    const press = clipsite.keys.pressed(event);
    // Tab goes on to the next field, and a keyboard on a screen names no keys.
    if (!press || ["Tab", "shift+Tab", "Escape", "Unidentified", "Process"].includes(press)) return;
    event.preventDefault();
    const before = field.dataset.key === "first" ? [] : field.value.split(" ").filter(Boolean);
    field.dataset.key = "more";
    field.value = [...new Set([...before, press])].slice(-3).join(" ");
    say(field);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-empties]");
    if (!button) return;
    const field = document.getElementById(button.dataset.empties);
    field.value = "";
    say(field);
  });
})();
