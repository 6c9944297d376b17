// Keys and focus for the gallery and for one image. Every action is a form that works without this.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const { is, off, pressed: keyOf } = clipsite.keys;

  // The grid: one card at a time is in the tab order, and the arrows move it.

  const tiles = () => [...document.querySelectorAll("#grid .tile")];
  const link = (tile) => $(".tile-picture", tile);
  let current = null;
  const rove = () => {
    const all = tiles();
    const here = all.find((tile) => tile.id === current) ?? all[0];
    for (const tile of all) {
      for (const stop of tile.querySelectorAll("a, button")) stop.tabIndex = tile === here ? 0 : -1;
    }
  };
  const focusTile = (tile) => {
    if (!tile) return;
    current = tile.id;
    rove();
    link(tile).focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("focusin", (event) => {
    const tile = event.target.closest("#grid .tile");
    if (tile && tile.id !== current) { current = tile.id; rove(); }
  });

  // How many columns there are is the style sheet's business: the nearest card of the row above or below.
  const beside = (all, at, direction) => {
    const top = (index) => all[index].offsetTop;
    let next = at;
    while (all[next] && top(next) === top(at)) next += direction;
    if (!all[next]) return at;
    const off = (index) => Math.abs(all[index].offsetLeft - all[at].offsetLeft);
    const row = top(next);
    let best = next;
    for (; all[next] && top(next) === row; next += direction) if (off(next) < off(best)) best = next;
    return best;
  };
  const steps = {
    ArrowLeft: (all, at) => Math.max(0, at - 1),
    ArrowRight: (all, at) => Math.min(all.length - 1, at + 1),
    ArrowUp: (all, at) => beside(all, at, -1),
    ArrowDown: (all, at) => beside(all, at, 1),
    Home: () => 0,
    End: (all) => all.length - 1,
  };
  const move = (key, tile) => {
    const all = tiles();
    if (tile) return focusTile(all[steps[key](all, all.indexOf(tile))]);
    return focusTile(all.find((one) => one.id === current) ?? all[0]);
  };
  const onward = (tile) => {
    const all = tiles();
    focusTile(all[all.indexOf(tile) + 1] ?? tile);
  };

  // What fails is said by the page's own listeners.
  const post = (address, source, values) => htmx.ajax("POST", address, { source, swap: "none", values }).catch(() => {});
  const decide = (tile, values) => {
    post($("#grid").dataset.decide, $(".tile-actions", tile), values);
    onward(tile);
  };
  const accept = (tile) => {
    // The label that is seen: CLIP may suggest another one by now.
    const button = $("[data-accept]", tile);
    if (button) return decide(tile, { label: button.value });
    clipsite.announce(`${tile.dataset.name}: ${$(".tile-state", tile).textContent.trim()}. There is nothing to accept.`);
    return onward(tile);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".tile-actions button");
    if (!button) return;
    event.preventDefault();
    const tile = button.closest(".tile");
    if (button.matches("[data-choose]")) choose(tile);
    else decide(tile, { [button.name]: button.value });
  });

  // Any label, for one card

  let chosenFor = null;
  const choose = (tile) => {
    const dialog = $("#choose");
    const find = $("[data-find]", dialog);
    chosenFor = tile.id;
    $("#choose-name").textContent = tile.dataset.name;
    find.value = "";
    filter(find);
    dialog.returnValue = "";
    dialog.showModal();
    find.focus();
  };
  const labelOf = (key) => [...document.querySelectorAll("#choose [data-label-keys]")]
    .find((button) => key && button.dataset.labelKeys.split(" ").includes(key));
  document.addEventListener("close", (event) => {
    const tile = event.target.id === "choose" && document.getElementById(chosenFor);
    if (!tile) return;
    if (event.target.returnValue) decide(tile, { label: event.target.returnValue });
    else focusTile(tile);
  }, true);

  // Finding a label by typing

  const labelsOf = (field) => document.getElementById(field.dataset.find);
  const found = (field) => [...labelsOf(field).querySelectorAll("[data-words]")].filter((button) => !button.hidden);
  const filter = (field) => {
    const words = field.value.trim().toLowerCase();
    for (const button of labelsOf(field).querySelectorAll("[data-words]")) {
      button.hidden = !button.dataset.words.includes(words);
      button.classList.remove("is-first");
    }
    const [first] = found(field);
    if (words) first?.classList.add("is-first");
    $("[data-none-found]", labelsOf(field)).hidden = Boolean(first);
  };
  document.addEventListener("input", (event) => { if (event.target.matches("[data-find]")) filter(event.target); });
  const inFind = (event, field) => {
    // A digit at the start is no name of a label; other keys are what somebody types.
    const label = field.closest("#choose") && !field.value && /^\d$/.test(event.key) && labelOf(keyOf(event));
    if (event.key === "Enter" && field.value.trim()) found(field)[0]?.click();
    else if (label) label.click();
    else if (event.key === "Escape" && !field.closest("dialog")) { field.value = ""; filter(field); field.blur(); }
    // Enter in an empty field would press the form's first button.
    else if (event.key !== "Enter") return;
    event.preventDefault();
  };

  // Keys

  const showSimilar = (tile) => {
    const address = new URL(location.pathname, location.origin);
    const set = new URLSearchParams(location.search).get("label_set");
    if (set) address.searchParams.set("label_set", set);
    address.searchParams.set("q", tile.id.replace("image-", "similar:"));
    location.assign(address);
  };
  const inGrid = (event, tile) => {
    const key = keyOf(event);
    if (key in steps) {
      if (!tile && event.target !== document.body && event.target.id !== "main") return false;
      move(key, tile);
      return true;
    }
    if (!tile) return false;
    const onPicture = event.target === link(tile);
    if (is(event, "open") || (onPicture && key === "Space")) { link(tile).click(); return true; }
    if (is(event, "similar")) { showSimilar(tile); return true; }
    if (!$("#grid").dataset.decide || event.repeat) return false;
    // On a button of the card, Enter presses that one.
    if (is(event, "accept") && (onPicture || key !== "Enter")) accept(tile);
    else if (is(event, "none")) decide(tile, { verdict: "none" });
    else if (is(event, "choose")) choose(tile);
    else if (labelOf(key)) decide(tile, { label: labelOf(key).value });
    else return false;
    return true;
  };
  const backInGrid = (event) => {
    const { undo, redo } = $("#grid")?.dataset ?? {};
    const address = is(event, "undo") ? undo : is(event, "redo") ? redo : null;
    if (!address || event.repeat) return false;
    post(address, $("#grid"), { page: "gallery" });
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    if (event.target.matches("[data-find]") && !event.isComposing) inFind(event, event.target);
    if (off(event)) return;
    const tile = event.target.closest("#grid .tile");
    if (($("#grid") && inGrid(event, tile)) || backInGrid(event)) event.preventDefault();
  });

  // What htmx draws: the focus stays where it was, by image, though its card is a new one.

  let kept = null;
  const keep = (tile) => { kept = tile && { id: tile.id, at: tiles().indexOf(tile) }; };
  document.addEventListener("htmx:beforeSwap", () => keep(document.activeElement.closest("#grid .tile")));
  document.addEventListener("htmx:afterSettle", (event) => {
    rove();
    if (kept && document.activeElement === document.body) {
      const all = tiles();
      focusTile(document.getElementById(kept.id) ?? all[Math.min(kept.at, all.length - 1)]);
    }
    if (event.target.id === "review") arrive(event.target);
  });
  // One image that is drawn after another: its keys work at once, and the next picture is there in time.
  const arrive = (review) => {
    review.focus({ preventScroll: true });
    preload(review);
  };
  const preload = (review) => { if (review?.dataset.preload) new Image().src = review.dataset.preload; };
  const refocus = (event) => {
    const tile = event.detail.elt?.closest?.("#grid .tile");
    if (tile) focusTile(tile);
  };
  document.addEventListener("htmx:responseError", refocus);
  document.addEventListener("htmx:sendError", refocus);

  const isOne = (event) => ["review", "opinions"].includes(event.detail.target?.id);
  document.addEventListener("htmx:beforeRequest", (event) => { if (isOne(event)) clipsite.keys.held = true; });
  document.addEventListener("htmx:afterRequest", (event) => { if (isOne(event)) clipsite.keys.held = false; });

  // The page of one image: what was said goes to the foot of the page, and the focus stays on its button.
  let pressed = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id !== "opinions") return;
    const { name, value } = document.activeElement;
    pressed = name && value ? `[name="${name}"][value="${CSS.escape(value)}"]` : null;
    const page = new DOMParser().parseFromString(event.detail.serverResponse, "text/html");
    for (const said of page.querySelectorAll("#main > .alert > div")) clipsite.toast(said.textContent);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "opinions" || document.activeElement !== document.body) return;
    ((pressed && $(pressed, event.target)) || event.target).focus({ preventScroll: true });
  });

  // The work's state is heard when it changes, not at every step.
  let state = $("#progress")?.dataset.state;
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "progress") return;
    // The button that was pressed is gone with what it did.
    if (event.detail.requestConfig?.verb === "post" && document.activeElement === document.body) {
      ($("button, a", event.target) ?? $("#main")).focus({ preventScroll: true });
    }
    if (event.target.dataset.state === state) return;
    state = event.target.dataset.state;
    clipsite.announce(event.target.dataset.says);
  });
  // Another page of the grid, or another filter: which part is shown is heard, and the focus stays near.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "results") return;
    const pager = $(".pager");
    const mistakes = $("#q-mistakes");
    const wrong = mistakes && [...mistakes.querySelectorAll("p + p")].map((words) => words.textContent).join(" ");
    clipsite.announce(wrong ?? (pager ? $("span", pager).textContent : "No image fits"));
    if (document.activeElement === document.body) ($("[aria-current]", pager ?? event.target) ?? $("#main")).focus({ preventScroll: true });
  });
  // A grid that was asked for before a decision was written would show the card as it was.
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig?.verb !== "post" || !$("#refresh.htmx-request")) return;
    htmx.trigger("#refresh", "htmx:abort");
    htmx.trigger(document.body, "images-changed");
  });
  // Of what was decided, the last one can be undone: its toast takes the place of the one before.
  document.addEventListener("htmx:oobAfterSwap", () => {
    const said = [...document.querySelectorAll("#toasts [data-said]")];
    const last = said.pop();
    for (const toast of said) toast.remove();
    const leave = () => (last.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : last.remove());
    if (last && !last.dataset.timed) { last.dataset.timed = "yes"; setTimeout(leave, 8000); }
  });

  // Back from the page of an image: go on at its card.
  document.addEventListener("click", (event) => {
    const tile = event.target.closest("#grid .tile-picture")?.closest(".tile");
    if (tile) history.replaceState(history.state, "", `#${tile.id}`);
  });
  const goOn = () => {
    const came = document.getElementById(location.hash.slice(1));
    if (came?.matches("#grid .tile")) focusTile(came);
  };
  rove();
  preload($("#review"));
  // The browser goes to the address's fragment itself when all is loaded, and takes the focus away.
  if (document.readyState === "complete") goOn();
  else addEventListener("load", () => setTimeout(goOn));
})();
