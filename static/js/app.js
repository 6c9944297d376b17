// Small behaviour that every page shares. All of it is delegated, so it also works on what htmx brings later.
(() => {
  const announce = (text) => {
    const region = document.getElementById("live");
    region.textContent = "";
    // A region that is emptied and filled in one go says nothing when the same text comes twice.
    requestAnimationFrame(() => { region.textContent = text; });
  };

  const element = (tag, className, text = "") => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  };

  // A sentence at the foot of the page that goes by itself, though not from under a pointer or the focus.
  const toast = (text) => {
    const toasts = document.getElementById("toasts");
    // The same again says it once more, in one place.
    if (toasts.lastElementChild?.firstElementChild.textContent === text) toasts.lastElementChild.remove();
    const card = element("div", "toast show");
    const close = element("button", "btn btn-sm", "Dismiss");
    close.type = "button";
    close.addEventListener("click", () => card.remove());
    card.append(element("span", "", text), close);
    toasts.append(card);
    while (toasts.childElementCount > 3) toasts.firstElementChild.remove();
    const leave = () => (card.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : card.remove());
    setTimeout(leave, 7000);
    announce(text);
  };

  // Resolves to whether the person agrees. The button that is safe to press has the focus.
  const ask = (question, detail = "", agree = "Yes") => new Promise((resolve) => {
    const dialog = element("dialog", "sheet");
    const heading = element("h2", "", question);
    heading.id = "ask-question";
    dialog.setAttribute("aria-labelledby", heading.id);
    dialog.append(heading);
    if (detail) {
      const words = element("p", "", detail);
      words.id = "ask-detail";
      dialog.setAttribute("aria-describedby", words.id);
      dialog.append(words);
    }
    const cancel = element("button", "btn", "Cancel");
    const confirm = element("button", "btn btn-danger", agree);
    const buttons = element("div", "form-actions");
    buttons.append(cancel, confirm);
    dialog.append(buttons);
    cancel.addEventListener("click", () => dialog.close());
    confirm.addEventListener("click", () => dialog.close("agreed"));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "agreed"); });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });

  // Another page of the site in place of this one, while what stands outside of <main> goes on.
  const visit = (address, method = "GET", values = {}) => htmx.ajax(method, address, {
    target: "#main", select: "#main", swap: "outerHTML", push: "true", headers: { "HX-Request": "false" }, values,
  });

  // The cookie's is the newer one where somebody logged in again in another tab.
  const csrf = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1]
    ?? JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRFToken"] = csrf(); });

  window.clipsite = { announce, ask, csrf, toast, visit };

  // <form data-confirm="Question?" data-confirm-detail="…" data-confirm-button="Delete">
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.confirm) return;
    if (form.dataset.confirmed) { delete form.dataset.confirmed; return; }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!await ask(form.dataset.confirm, form.dataset.confirmDetail, form.dataset.confirmButton)) return;
    form.dataset.confirmed = "yes";
    // Without script the server asks.
    form.append(Object.assign(element("input", ""), { type: "hidden", name: "confirmed", value: "yes" }));
    form.requestSubmit(event.submitter);
  }, true);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      toast("Copied.");
    } catch {
      // Not every site is served in a way that lets scripts near the clipboard.
      getSelection().selectAllChildren(source);
      toast("Selected: press Ctrl+C to copy.");
    }
  });

  // A new page, or a form that came back with errors, goes on where a page load would have put the person.
  document.addEventListener("htmx:afterSettle", () => {
    const main = document.getElementById("main");
    if (!main || main.dataset.seen) return;
    main.dataset.seen = "yes";
    // Who is busy outside of <main> stays there.
    if (document.activeElement !== document.body) return;
    const wrong = main.querySelector("[aria-invalid='true']");
    (wrong ?? main).focus();
    if (!wrong) scrollTo(0, 0);
  });
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("main").dataset.seen = "yes";
    document.querySelector("#main [aria-invalid='true']")?.focus();
  });

  // Such a page brings its scripts along, where it has any of its own.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id !== "main") return;
    const page = new DOMParser().parseFromString(event.detail.serverResponse, "text/html");
    const here = new Set([...document.scripts].map((script) => script.src));
    for (const { src } of page.scripts) {
      if (src && !here.has(src)) document.head.append(Object.assign(document.createElement("script"), { src, async: false }));
    }
  });

  // What a page was still waiting for when it is left has no place in the next one.
  const awaited = new Set();
  document.addEventListener("htmx:beforeRequest", (event) => {
    const { xhr, target, requestConfig } = event.detail;
    if (target.id === "main" || requestConfig.verb !== "get") return;
    awaited.add(xhr);
    xhr.addEventListener("loadend", () => awaited.delete(xhr));
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id === "main" && event.detail.shouldSwap) awaited.forEach((xhr) => xhr.abort());
  });

  // An element that its own answer replaces can't ask again for what happens while that is on its way:
  // its successor does, once it listens.
  const missed = new Set();
  const listeners = (root, name) => {
    const those = `[hx-trigger*="${name}"]`;
    return [root, ...root.querySelectorAll(those)].filter((one) => one.matches(those));
  };
  const isReplaced = (one) => {
    const target = one.getAttribute("hx-target");
    return (target ? document.querySelector(target) : one)?.contains(one);
  };
  const isDeaf = (one) => one.closest(".htmx-added") || (one.matches(".htmx-request") && isReplaced(one));
  for (const name of ["images-added", "images-changed", "batches-changed"]) {
    document.addEventListener(name, () => { if (listeners(document.body, name).some(isDeaf)) missed.add(name); }, true);
  }
  document.addEventListener("htmx:load", (event) => {
    for (const name of [...missed]) {
      if (listeners(event.detail.elt, name).length && missed.delete(name)) htmx.trigger(document.body, name);
    }
  });

  // What went wrong, in words, and with what. What is asked for over and over is made up for by the next try.
  const failed = (event, words) => {
    const { elt } = event.detail;
    if (elt.closest("[data-quiet]")) return;
    const named = event.detail.requestConfig?.verb === "post" && elt.closest("[data-name]");
    toast(named ? `${named.dataset.name} was not saved. ${words}` : words);
  };
  // A refusal is the sentence itself; the site's error pages say it in their last paragraph.
  const reason = (type, text) => {
    if (type?.startsWith("text/plain")) return text;
    const page = new DOMParser().parseFromString(text, "text/html");
    const sentence = page.querySelector(".error-page p:not(.error-code)");
    return sentence?.textContent ?? "Something went wrong on the server. Nothing was changed.";
  };
  document.addEventListener("htmx:sendError", (event) => failed(event, "The site can't be reached. Nothing was changed."));
  document.addEventListener("htmx:responseError", (event) => {
    const request = event.detail.xhr;
    failed(event, reason(request.getResponseHeader("Content-Type"), request.responseText));
  });
  window.clipsite.reason = reason;

  // Logged out in the meantime: the answer is the page to log in, which is no part of this one.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const answered = new URL(event.detail.xhr.responseURL || location.href).pathname;
    if (!answered.startsWith("/accounts/login/")) return;
    event.detail.shouldSwap = false;
    // A reload would end an upload, and lose what was typed: both go on once somebody has logged in elsewhere.
    if (event.detail.requestConfig.verb === "get" && !clipsite.isUploading?.()) location.reload();
    else if (!event.detail.elt.closest("[data-quiet]")) toast("You are logged out. Log in in another tab, then do it again.");
  });
})();
