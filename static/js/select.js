// Selecting cards of the grid, and saying the same of all of them. The boxes and the form work without this.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const form = () => document.getElementById("bulk");
  const boxes = () => [...document.querySelectorAll("#grid .tile-select")];
  const boxOf = (tile) => tile && $(".tile-select", tile);
  const tileAt = (element) => element?.closest?.("#grid .tile");
  // By image, since cards are drawn anew; and where a range begins.
  const chosen = new Set();
  let anchor = null;

  const show = () => {
    for (const box of boxes()) {
      box.checked = chosen.has(box.value);
      const tile = tileAt(box);
      tile.setAttribute("aria-selected", box.checked);
      // In the tab order with its card.
      box.tabIndex = $(".tile-picture", tile).tabIndex;
    }
    label();
  };

  // What the buttons will do, in a sentence.
  const label = () => {
    const bar = form();
    if (!bar) return;
    const { what } = bar.elements;
    const option = what.selectedOptions[0];
    const words = option.value && (option.dataset.words ?? `Set ${option.label} on`);
    const [some, all] = [$("[data-selected]", bar), $("[data-all]", bar)];
    const number = `${chosen.size.toLocaleString("en")} selected`;
    bar.classList.toggle("is-open", chosen.size > 0);
    $("[data-number]", bar).textContent = chosen.size ? number : "None selected";
    some.textContent = `${words || "Set … on"} ${number}`;
    some.disabled = !words || !chosen.size;
    some.hidden = !chosen.size;
    all.textContent = `${words || "Set … on"} ${all.dataset.all}`;
    all.disabled = !words;
    $("[data-select-none]", bar).hidden = !chosen.size;
  };
  const say = () => {
    show();
    clipsite.announce(chosen.size ? `${chosen.size} selected` : "None selected");
  };
  const mark = (box, on) => { if (on) chosen.add(box.value); else chosen.delete(box.value); };
  const none = () => { chosen.clear(); anchor = null; say(); };

  const range = (from, to) => {
    const all = boxes();
    const ends = [from, to].map((box) => all.indexOf(box)).sort((a, b) => a - b);
    for (const box of all.slice(Math.max(0, ends[0]), ends[1] + 1)) mark(box, true);
  };
  const anchored = () => boxes().find((box) => box.value === anchor);

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches(".tile-select")) { mark(box, box.checked); anchor = box.value; say(); }
    if (box.form === form() && box.name === "what") { find().value = box.selectedOptions[0].value && box.selectedOptions[0].label; label(); }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-select-none]")) none();
    const tile = tileAt(event.target);
    const box = boxOf(tile);
    if (!event.shiftKey || !box || event.target.closest(".tile-actions")) return;
    // The browser would open a window.
    event.preventDefault();
    event.stopPropagation();
    range(anchored() ?? box, box);
    getSelection().removeAllRanges();
    $(".tile-picture", tile).focus({ preventScroll: true });
    // A box that is clicked gets back what it was, once the click is over.
    setTimeout(say);
  }, true);

  const typing = (target) => target.matches("input:not([type=radio], [type=checkbox]), select, textarea, [contenteditable]");
  const toggle = (box) => { mark(box, !chosen.has(box.value)); anchor = box.value; say(); };
  const extend = (event, tile) => {
    const from = anchored() ?? boxOf(tile);
    // The arrow alone moves the focus, wherever the next row is.
    event.target.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, bubbles: true, cancelable: true }));
    const to = boxOf(tileAt(document.activeElement));
    if (!to) return;
    anchor = from.value;
    chosen.clear();
    range(from, to);
    say();
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.altKey || !form() || $("dialog[open]")) return;
    if (event.key === "Enter" && event.target.id === "bulk-find") { event.preventDefault(); confirmed(); return; }
    if (typing(event.target) || $(".dropdown-menu.show")) return;
    const tile = tileAt(event.target);
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (command && key === "a" && !event.shiftKey && (tile || event.target === document.body || event.target.id === "main")) {
      for (const box of boxes()) mark(box, true);
      say();
    } else if (command) return;
    else if (event.shiftKey && event.key.startsWith("Arrow") && boxOf(tile)) extend(event, tile);
    else if (event.shiftKey) return;
    else if (key === "escape" && chosen.size) none();
    else if (clipsite.keys.is(event, "mark") && boxOf(tile)) toggle(boxOf(tile));
    // Enter in a box would send the form.
    else if (key === "enter" && event.target.matches(".tile-select")) event.target.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  // A label is found by typing: the options are those of the list that serves without script.

  const find = () => document.getElementById("bulk-find");
  const meant = (text) => {
    const typed = text.trim().toLowerCase();
    const options = [...form().elements.what.options].filter((option) => option.value);
    const starts = options.filter((option) => option.label.toLowerCase().startsWith(typed));
    const exact = starts.filter((option) => option.label.toLowerCase() === typed);
    return typed && (exact[0] ?? (starts.length === 1 && starts[0]));
  };
  const confirmed = () => {
    const some = $("[data-selected]", form());
    if (!some.disabled && !some.hidden) some.click();
  };
  document.addEventListener("input", (event) => {
    if (event.target !== find()) return;
    form().elements.what.value = meant(event.target.value)?.value ?? "";
    label();
  });
  const arrive = () => {
    const bar = form();
    if (!bar || bar.dataset.arrived) return;
    bar.dataset.arrived = "yes";
    const { what, count } = bar.elements;
    count.disabled = false;
    what.hidden = true;
    find().hidden = false;
    $("#bulk-options").replaceChildren(...[...what.options].filter((option) => option.value).map((option) => {
      const made = document.createElement("option");
      made.value = option.label;
      return made;
    }));
    $("#grid").setAttribute("aria-multiselectable", "true");
    if (before) { find().value = before; what.value = meant(before)?.value ?? ""; }
    if (wasFinding) find().focus();
  };

  // What htmx draws: cards that are still there stay selected, and what was typed stays.
  let before = "";
  let wasFinding = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    before = find()?.value ?? "";
    wasFinding = Boolean(find()) && document.activeElement === find();
    const { xhr, target } = event.detail;
    if (xhr.status === 409 && target.id === "bulk-ask") {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
  const settle = () => {
    const here = new Set(boxes().map((box) => box.value));
    for (const value of chosen) if (!here.has(value)) chosen.delete(value);
    arrive();
    show();
    wasFinding = false;
  };
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id === "bulk-ask" && !event.target.open) event.target.showModal();
    settle();
  });
  document.addEventListener("focusin", (event) => { if (tileAt(event.target)) show(); });
  document.addEventListener("bulk-done", () => { $("#bulk-ask[open]")?.close(); none(); });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#bulk-ask [data-bulk-cancel]")) return;
    event.preventDefault();
    event.target.closest("dialog").close();
  });
  settle();
})();
