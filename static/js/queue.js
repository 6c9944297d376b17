// A person's list of images in review: another order as soon as it is chosen, and the images free once the page is left.
(() => {
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-order]")) event.target.form.requestSubmit();
  });

  const leave = () => {
    const review = document.querySelector("#review[data-leave]");
    if (!review) return;
    const { leave: address, queue, until } = review.dataset;
    const said = new FormData();
    for (const [name, value] of Object.entries({ queue, until, csrfmiddlewaretoken: clipsite.csrf() })) said.append(name, value);
    navigator.sendBeacon(address, said);
  };
  addEventListener("pagehide", leave);
  // Another page that is drawn in place of this one.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id === "main" && event.detail.shouldSwap) leave();
  });
  // Gone back to: somebody else may be at its image by now.
  addEventListener("pageshow", (event) => { if (event.persisted && document.querySelector("#review")) location.reload(); });
})();
