// A closer look at an image: in its own pixels, or in a dialog what it is like and why CLIP says what it says.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const show = (dialog, opener) => {
    dialog.dataset.closedBy = opener.dataset.keys ?? "";
    dialog.showModal();
  };

  const look = async (link) => {
    const dialog = $("#look");
    const body = $("[data-body]", dialog);
    $("h2", dialog).textContent = link.dataset.look;
    body.textContent = "Loading…";
    show(dialog, link);
    try {
      const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
      if (!answer.ok || new URL(answer.url).pathname.startsWith("/accounts/")) throw new Error("refused");
      body.innerHTML = await answer.text();
    } catch {
      body.textContent = "This can't be shown now: the site did not answer.";
    }
  };

  const zoom = (link) => {
    const dialog = $("#zoom");
    const [frame, picture] = [$(".zoom-frame", dialog), $("img", dialog)];
    picture.alt = link.dataset.zoom;
    // Not every browser shows every kind of file; the preview they all do.
    picture.onerror = () => { picture.onerror = null; picture.src = link.dataset.preview; };
    picture.onload = () => {
      frame.scrollTo((frame.scrollWidth - frame.clientWidth) / 2, (frame.scrollHeight - frame.clientHeight) / 2);
    };
    picture.src = link.href;
    show(dialog, link);
    frame.focus();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-look], [data-zoom]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.matches("[data-zoom]")) zoom(link);
    else look(link);
  });

  // The picture goes along with the pointer that holds it. Arrows and the wheel scroll by themselves.
  let from = null;
  document.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".zoom-frame");
    if (!frame || event.pointerType === "touch" || event.button) return;
    event.preventDefault();
    frame.focus();
    frame.setPointerCapture(event.pointerId);
    from = { frame, x: frame.scrollLeft + event.clientX, y: frame.scrollTop + event.clientY };
  });
  document.addEventListener("pointermove", (event) => {
    if (from) from.frame.scrollTo(from.x - event.clientX, from.y - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { from = null; });
})();
