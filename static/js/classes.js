// Reviewing a class at a time: marks by pointer and by key, the picture large, another label. The form works without this.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const form = () => $("#class");
  const grid = () => $("#class-grid");
  const cards = () => [...document.querySelectorAll("#class-grid .pick")];
  const box = (card) => $(".pick-box", card);
  const instead = (card) => $(".pick-instead", card);
  const isWrong = (card) => box(card).checked;
  const chosen = (card) => instead(card).selectedOptions[0];
  const large = () => $("#class-large");
  // The card that keys are about: the one with the focus, or that had it last.
  let current = null;
  // What a dialog is about: closing one gives the focus back to where it was before, which may be another card.
  let shown = null;
  const here = () => cards().find((card) => card.id === current);

  // What is marked, as the page says it

  const draw = (card) => { $(".pick-choose", card).textContent = chosen(card).textContent; };
  // Marks outlive a step aside: the page of another class, or a reload.
  const kept = () => `marks of ${location.pathname} ${form().dataset.label}`;
  const tally = () => {
    const wrong = cards().filter(isWrong);
    sessionStorage.setItem(kept(), JSON.stringify(wrong.map((card) => [card.id, instead(card).value])));
    const said = (value) => wrong.filter((card) => instead(card).value === value).length;
    const rest = cards().length - wrong.length, none = said("none"), skipped = said("skip");
    const corrected = wrong.length - none - skipped;
    const parts = [
      rest && `accept ${rest} as ${form().dataset.name}`,
      corrected && `correct ${corrected}`,
      none && `${none} none of these`,
      skipped && `leave out ${skipped}`,
    ].filter(Boolean).join(", ");
    $("#class-says").textContent = parts.charAt(0).toUpperCase() + parts.slice(1);
    $("#class-marked").textContent = wrong.length;
    return wrong.length;
  };
  const told = (card) => (isWrong(card) ? `Wrong, ${chosen(card).textContent} instead of ${form().dataset.name}` : "Not wrong");
  const changed = (card) => {
    draw(card);
    clipsite.announce(`${told(card)}. ${tally()} marked wrong.`);
    if (large().open) fill(card);
  };
  const mark = (card, wrong) => {
    box(card).checked = wrong;
    // A mark that is taken back takes back what it said: CLIP's runner-up is offered again.
    if (!wrong) instead(card).selectedIndex = 0;
  };
  // `value`: a label's id, "none" or "skip". The label itself is no correction.
  const put = (card, value) => {
    mark(card, value !== form().dataset.label);
    if (isWrong(card)) {
      const options = [...instead(card).options];
      if (!options.some((option) => option.value === value)) instead(card).add(new Option(nameOf(value), value));
      instead(card).value = value;
    }
  };
  const say = (card, value) => { put(card, value); changed(card); };
  const restore = () => {
    for (const [id, value] of JSON.parse(sessionStorage.getItem(kept()) ?? "[]")) {
      const card = document.getElementById(id);
      // A label may be gone by now.
      if (card && $(`#class-choose [value="${CSS.escape(value)}"]`)) put(card, value);
    }
  };

  // Moving: one card at a time is in the tab order.

  const rove = () => {
    const at = here() ?? cards()[0];
    for (const card of cards()) {
      for (const stop of card.querySelectorAll("input, a, button")) stop.tabIndex = card === at ? 0 : -1;
    }
  };
  const focusCard = (card) => {
    if (!card) return;
    current = card.id;
    rove();
    box(card).focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("focusin", (event) => {
    const card = event.target.closest("#class-grid .pick");
    if (card && card.id !== current) { current = card.id; rove(); }
  });
  const columns = () => getComputedStyle(grid()).gridTemplateColumns.split(" ").length;
  const steps = {
    ArrowLeft: (at) => at - 1,
    ArrowRight: (at) => at + 1,
    ArrowUp: (at) => at - columns(),
    ArrowDown: (at) => at + columns(),
    Home: () => 0,
    End: () => cards().length - 1,
  };
  const beside = (key) => {
    const all = cards(), at = all.indexOf(here());
    return at < 0 ? all[0] : all[steps[key](at)] ?? here();
  };

  // A range goes from where the last single step led to where Shift leads; what it leaves is as it was before.

  let anchor = null;
  let before = new Map();
  const setAnchor = (card) => { anchor = card?.id ?? null; before = new Map(); };
  const markTo = (card) => {
    const all = cards();
    const from = all.findIndex((one) => one.id === anchor), to = all.indexOf(card);
    for (const [one, wrong] of before) { mark(one, wrong); draw(one); }
    before = new Map();
    for (const one of all.slice(Math.min(from, to), Math.max(from, to) + 1)) {
      before.set(one, isWrong(one));
      mark(one, true);
      draw(one);
    }
    focusCard(card);
    clipsite.announce(`${before.size} marked as a range. ${tally()} marked wrong.`);
  };
  const extend = (card) => {
    if (!cards().some((one) => one.id === anchor)) setAnchor(here() ?? card);
    markTo(card);
  };

  document.addEventListener("click", (event) => {
    const card = event.target.closest(".pick-picture")?.closest(".pick");
    if (!card || !event.shiftKey) return;
    event.preventDefault();
    extend(card);
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches(".pick-box")) return;
    const card = event.target.closest(".pick");
    mark(card, event.target.checked);
    setAnchor(card);
    focusCard(card);
    changed(card);
  });

  // One picture large

  const fill = (card) => {
    const all = cards(), at = all.indexOf(card), picture = $("#large-picture");
    const runnerUp = instead(card).options[0].textContent;
    if (picture.getAttribute("src") !== card.dataset.preview) picture.src = card.dataset.preview;
    picture.alt = card.dataset.name;
    $("#large-name").textContent = card.dataset.name;
    $("#large-place").textContent = `${at + 1} of ${all.length}`;
    $("#large-says").textContent = isWrong(card)
      ? told(card) : `${form().dataset.name} ${card.dataset.probability}, then ${runnerUp}`;
    $("#large-mark").setAttribute("aria-pressed", isWrong(card));
    // The next one is there when it is asked for.
    for (const next of [all[at + 1], all[at - 1]]) if (next) new Image().src = next.dataset.preview;
  };
  const show = (card) => {
    current = shown = card.id;
    rove();
    fill(card);
    if (!large().open) { large().showModal(); large().focus(); }
    clipsite.announce(`${card.dataset.name}: ${$("#large-says").textContent}`);
  };

  // Another label

  const labels = () => [...document.querySelectorAll("#class-labels [data-words]")];
  const nameOf = (value) => $(`#class-choose [value="${CSS.escape(value)}"] .choice-text`).textContent.trim();
  const digit = (key) => labels().find((label) => label.dataset.digit.split(" ").includes(key));
  const find = () => {
    const words = $("#class-find").value.trim().toLowerCase();
    for (const label of labels()) {
      label.hidden = !label.dataset.words.includes(words);
      label.classList.remove("is-first");
    }
    const first = labels().find((label) => !label.hidden);
    if (words) first?.classList.add("is-first");
    $("#class-not-found").hidden = Boolean(first);
    return first;
  };
  const choose = (card) => {
    const dialog = $("#class-choose");
    current = shown = card.id;
    $("#class-choose-name").textContent = card.dataset.name;
    $("#class-find").value = "";
    find();
    dialog.returnValue = "";
    dialog.showModal();
    $("#class-find").focus();
  };
  document.addEventListener("input", (event) => { if (event.target.id === "class-find") find(); });
  const inFind = (event) => {
    const words = event.target.value.trim();
    const button = event.key === "Enter" ? words && find() : !words && /^\d$/.test(event.key) && digit(clipsite.keys.pressed(event));
    // Enter in an empty field would press the form's first button.
    if (button || event.key === "Enter") event.preventDefault();
    if (button) button.click();
  };
  document.addEventListener("close", (event) => {
    const card = event.target.closest("#class-choose, #class-large") && document.getElementById(shown);
    if (!card) return;
    current = shown;
    if (event.target.id === "class-choose" && event.target.returnValue) say(card, event.target.returnValue);
    if (!large().open) focusCard(card);
  }, true);

  // How many in a row: kept by this browser, and by the address.

  const setAcross = (number) => {
    const range = $("#across");
    range.value = number;
    grid().dataset.across = range.value;
    localStorage.setItem("across", range.value);
    for (const field of document.querySelectorAll("form[data-visit] [name=across]")) field.value = range.value;
    for (const link of document.querySelectorAll(".class-header a[href*='across=']")) {
      link.href = link.getAttribute("href").replace(/across=\d+/, `across=${range.value}`);
    }
    const address = new URL(location.href);
    address.searchParams.set("across", range.value);
    history.replaceState(history.state, "", address);
  };
  document.addEventListener("input", (event) => { if (event.target.id === "across") setAcross(event.target.value); });
  // Keys are off in the range: who moved it by pointer goes on with the pictures.
  document.addEventListener("pointerup", (event) => { if (event.target.id === "across") focusCard(here() ?? cards()[0]); });

  // What buttons and keys do with the current card

  const acts = {
    mark: (card) => { mark(card, !isWrong(card)); setAnchor(card); changed(card); },
    another: choose,
    none: (card) => say(card, "none"),
    skip: (card) => say(card, "skip"),
    large: show,
    previous: () => show(beside("ArrowLeft")),
    next: () => show(beside("ArrowRight")),
    close: () => large().close(),
    smaller: () => setAcross(Number($("#across").value) + 1),
    larger: () => setAcross(Number($("#across").value) - 1),
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button || !grid()) return;
    event.preventDefault();
    const card = button.closest(".pick") ?? here() ?? cards()[0];
    if (button.closest(".pick")) current = card.id;
    acts[button.dataset.act](card);
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-sheet]");
    if (opener) document.getElementById(opener.dataset.sheet).showModal();
  });

  // Keys

  const isButton = (target) => target.closest("a, button, summary");
  const bound = (key) => [...document.querySelectorAll("[data-keys]")].find((one) => one.dataset.keys.split(" ").includes(key));
  // Shift makes a range of a step.
  const bare = (key) => key.replace("shift+", "");
  let busy = false;

  const inGrid = (event, key) => {
    const dialog = large().open, card = here();
    if (bare(key) in steps && !(dialog && ["Home", "End"].includes(bare(key)))) {
      if (dialog) show(beside(event.key));
      else if (event.shiftKey) extend(beside(event.key));
      else { focusCard(beside(event.key)); setAnchor(here()); }
      return true;
    }
    const isLarge = grid().dataset.largeKeys.split(" ").includes(key);
    if (isLarge && isButton(event.target)) return false;
    if (isLarge && dialog) { large().close(); return true; }
    if (!card) return false;
    if (isLarge) { show(card); return true; }
    if (digit(key)) { say(card, digit(key).value); return true; }
    return false;
  };
  const press = (key, event) => {
    const wanted = bound(key);
    if (!wanted) return false;
    // Over the grid stands one picture: only what is about it has its key. On a button, Enter presses that one.
    if (large().open && !large().contains(wanted)) return key === "Enter" && !isButton(event.target);
    if (key === "Enter" && isButton(event.target)) return false;
    // What came only just now is not accepted by a key that was pressed twice.
    if ((key === "Enter" || wanted.id === "class-accept") && (busy || document.body.dataset.fresh)) return true;
    wanted.click();
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "class-find") { inFind(event); return; }
    if (event.defaultPrevented || !$(".class-toolbar") || clipsite.keys.typing(event.target)) return;
    if (event.target.closest(".dropdown-menu.show, [aria-expanded=true]") || $("dialog[open]:not(#class-large)")) return;
    const key = clipsite.keys.pressed(event);
    if (!key) return;
    if (event.repeat && !(bare(key) in steps)) { if (key === "Enter") event.preventDefault(); return; }
    if (grid() ? inGrid(event, key) || press(key, event) : pressAlone(key, event)) event.preventDefault();
  });
  // A class that is settled has no cards, only ways on and back.
  const pressAlone = (key, event) => {
    if (!bound(key) || isButton(event.target)) return false;
    bound(key).click();
    return true;
  };

  // Accepting, undo and redo: the page that follows comes in place of this one, and uploads go on.

  document.addEventListener("submit", (event) => {
    const sent = event.target;
    if (!sent.matches("[data-visit], .class-across")) return;
    event.preventDefault();
    if (busy || !sent.matches("[data-visit]")) return;
    busy = true;
    if (sent === form()) sessionStorage.removeItem(kept());
    sent.setAttribute("aria-busy", "true");
    const values = {};
    for (const [name, value] of new FormData(sent, event.submitter)) (values[name] ??= []).push(value);
    clipsite.visit(sent.getAttribute("action"), "POST", values).catch(() => {}).finally(() => { busy = false; sent.removeAttribute("aria-busy"); });
  });

  let known = null;
  const arrive = () => {
    if (known === $(".class-toolbar")) return;
    const first = known === null;
    known = $(".class-toolbar");
    if (!known) return;
    current = null;
    setAnchor(null);
    document.body.dataset.fresh = "yes";
    setTimeout(() => { delete document.body.dataset.fresh; }, 500);
    if (!first) clipsite.announce([...document.querySelectorAll("#main > .alert > div")].map((one) => one.textContent).join(" "));
    if (!grid()) return;
    if (!new URL(location.href).searchParams.has("across") && localStorage.getItem("across")) setAcross(localStorage.getItem("across"));
    restore();
    for (const card of cards()) draw(card);
    tally();
    rove();
    // Who went on by a key goes on by keys.
    if (!first && ["main", ""].includes(document.activeElement.id)) { focusCard(cards()[0]); scrollTo(0, 0); }
  };
  document.addEventListener("htmx:afterSettle", arrive);
  arrive();
})();
