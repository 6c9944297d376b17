// Comments and guidelines: their dialogs, and the names that are offered after an @. All of it is links and forms without this.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);

  // <a data-dialog="id">: its page in a dialog of this one.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("a[data-dialog]");
    const dialog = opener && document.getElementById(opener.dataset.dialog);
    if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    // Where the focus goes back to; left in the closed dialog, it would take the next key.
    if (document.activeElement === document.body) opener.closest("[tabindex]")?.focus({ preventScroll: true });
    dialog.showModal();
  });

  // Names after an @

  const MOST = 8;
  const ON = "aria-activedescendant";
  const isField = (target) => target.matches?.("textarea[data-names]");
  const listOf = (field) => field.parentElement.querySelector("[role=listbox]");
  // What is typed since the last @ before the cursor, unless that one stands within a word.
  const typed = (field) => field.value.slice(0, field.selectionStart).match(/(?:^|[^\p{L}\p{N}_])@([^\s@]*)$/u)?.[1];
  const fitting = (field, start) => {
    const names = [...document.getElementById(field.dataset.names).options].map((option) => option.value);
    const wanted = start.toLowerCase();
    const begin = names.filter((name) => name.toLowerCase().startsWith(wanted));
    const within = names.filter((name) => !begin.includes(name) && name.toLowerCase().includes(wanted));
    return [...begin, ...within].slice(0, MOST);
  };
  const close = (field) => {
    listOf(field)?.remove();
    field.removeAttribute(ON);
    field.removeAttribute("aria-controls");
  };
  const choose = (field, option) => {
    for (const one of listOf(field).children) one.setAttribute("aria-selected", one === option);
    field.setAttribute(ON, option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  const offer = (field) => {
    const start = typed(field);
    const names = start === undefined ? [] : fitting(field, start);
    const before = listOf(field)?.childElementCount;
    close(field);
    if (!names.length || (names.length === 1 && names[0] === start)) return;
    const list = Object.assign(document.createElement("ul"), { className: "mention-list", id: "mention-list", role: "listbox", ariaLabel: "Members" });
    for (const [number, name] of names.entries()) {
      list.append(Object.assign(document.createElement("li"), { id: `mention-${number}`, role: "option", textContent: name }));
    }
    field.parentElement.append(list);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", list.id);
    choose(field, list.firstElementChild);
    if (before !== names.length) say(field, `${names.length} ${names.length === 1 ? "member fits" : "members fit"}: arrows choose, Enter takes`);
  };
  const take = (field, option) => {
    const end = field.selectionStart;
    field.setRangeText(`@${option.textContent} `, end - typed(field).length - 1, end, "end");
    close(field);
    field.focus();
  };
  document.addEventListener("input", (event) => { if (isField(event.target)) offer(event.target); });
  document.addEventListener("focusout", (event) => { if (isField(event.target)) close(event.target); });
  // The field keeps the focus while a name is pressed.
  document.addEventListener("mousedown", (event) => { if (event.target.closest(".mention-list")) event.preventDefault(); });
  document.addEventListener("click", (event) => {
    const option = event.target.closest(".mention-list [role=option]");
    if (option) take($("textarea", option.closest(".mention-field")), option);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!isField(field) || event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      field.form.requestSubmit();
      return;
    }
    const list = listOf(field);
    if (!list) return;
    const options = [...list.children];
    const at = options.findIndex((option) => option.id === field.getAttribute(ON));
    if (event.key === "ArrowDown") choose(field, options[(at + 1) % options.length]);
    else if (event.key === "ArrowUp") choose(field, options.at(at - 1));
    else if (event.key === "Enter" || event.key === "Tab") take(field, options[at]);
    else if (event.key === "Escape") close(field);
    else return;
    event.preventDefault();
  });

  // What is behind an open dialog is not heard: it has a voice of its own.
  const say = (inside, words) => {
    const voice = $("[role=status]", inside.closest("dialog") ?? document.createElement("i"));
    if (voice) voice.textContent = words;
    else clipsite.announce(words);
  };

  // Drawn again: what happened is heard, the number on the button is right, and the focus stays near.
  let draft = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id !== "comments") return;
    const field = $("textarea", event.detail.target);
    draft = field && event.detail.requestConfig.elt !== field.form ? field.value : "";
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const section = event.target;
    if (section.id === "guidelines") section.focus({ preventScroll: true });
    if (section.id !== "comments" || !section.dataset.count) return;
    const field = $("textarea", section);
    if (field && draft) field.value = draft;
    const count = Number(section.dataset.count);
    for (const shown of document.querySelectorAll("[data-comment-count]")) {
      shown.textContent = count || "";
      shown.closest("a").setAttribute("aria-label", `Comments: ${count} open`);
    }
    if (section.dataset.happened) say(section, section.dataset.happened);
    const { activeElement } = document;
    const opened = !section.dataset.happened && section.closest("dialog[open]");
    if (opened || activeElement === document.body || activeElement.matches("dialog")) (field ?? section).focus({ preventScroll: !opened });
  });
})();
