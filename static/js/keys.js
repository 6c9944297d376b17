// What a key press means: each person's own keys, and what on the page they press. Off while somebody types.
(() => {
  // A press as labeling/keys.py writes it: `n`, `?`, `Enter`, `ctrl+z`, `shift+ArrowUp`. Empty: none that counts.
  const pressed = (event) => {
    const { key } = event;
    // AltGr makes signs, and says that Ctrl and Alt are held.
    const sign = event.getModifierState?.("AltGraph") && key.length === 1;
    if (event.isComposing || key === "Dead" || (event.altKey && !sign)) return "";
    const name = key === " " ? "Space" : key.length === 1 ? key.toLowerCase() : key;
    // Of a sign like `?`, Shift is a part already.
    const shift = event.shiftKey && (name.length > 1 || name !== name.toUpperCase());
    const ctrl = (event.ctrlKey || event.metaKey) && !sign;
    return `${ctrl ? "ctrl+" : ""}${shift ? "shift+" : ""}${name}`;
  };
  const within = (keys, press) => Boolean(press && keys?.split(" ").includes(press));
  const map = () => JSON.parse(document.querySelector("[data-keymap]")?.dataset.keymap ?? "{}");
  // Whether the press is one of an action that may have no button of its own.
  const is = (event, action) => (map()[action] ?? []).includes(pressed(event));

  const typing = (target) => target.matches("input:not([type=radio], [type=checkbox]), select, textarea, [contenteditable]");
  const inMenu = (target) => target.closest(".dropdown-menu.show, [aria-expanded=true]");
  // Where keys mean what the field, menu or dialog makes of them.
  const off = (event) => event.defaultPrevented || event.isComposing || typing(event.target)
    || Boolean(inMenu(event.target)) || Boolean(document.querySelector("dialog[open]"));

  // `held`: an image is on its way, and one that nobody has seen yet is not decided about.
  window.clipsite.keys = { pressed, is, off, typing, held: false };

  const usual = (event, press) => {
    // On a button or link, Enter and Space press that one.
    if (press === "Enter") return Boolean(event.target.closest("a, button, summary"));
    return press === "Space" && Boolean(event.target.closest("button, summary, input"));
  };
  document.addEventListener("keydown", (event) => {
    const press = pressed(event);
    const dialog = document.querySelector("dialog[open]");
    // The key that opened a dialog closes it.
    if (dialog && !event.repeat && !typing(event.target) && within(dialog.dataset.closedBy, press)) {
      event.preventDefault();
      dialog.close();
      return;
    }
    // A page that makes more of its keys presses its buttons itself.
    if (!press || event.repeat || off(event) || document.querySelector("[data-own-keys]")) return;
    const wanted = [...document.querySelectorAll("[data-keys]")].find((one) => within(one.dataset.keys, press));
    if (!wanted || usual(event, press)) return;
    event.preventDefault();
    if (clipsite.keys.held) return;
    if (wanted.matches("input")) wanted.focus();
    else if (!wanted.disabled) wanted.click();
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
  });
})();
