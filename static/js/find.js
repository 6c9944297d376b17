// Search in the pictures: the handle of the cut-off, and a picture that is dropped on the line. Both are forms without this.
(() => {
  const written = (value) => Number(value).toFixed(3).replace("-", "−");
  // While the handle moves: what would be above it. What is found is asked for when it is let go.
  document.addEventListener("input", (event) => {
    const handle = event.target;
    if (handle.id !== "cutoff") return;
    document.getElementById("cutoff-value").textContent = written(handle.value);
    const bars = document.querySelectorAll(".find-bars rect");
    const [low, high] = [Number(handle.min), Number(handle.max)];
    bars.forEach((bar, place) => bar.classList.toggle("is-above", low + ((place + 1) * (high - low)) / bars.length > handle.value));
  });

  const form = () => document.querySelector(".search-picture");
  document.addEventListener("change", (event) => {
    if (event.target.id === "search-picture" && event.target.files.length) form().submit();
  });
  const over = (event) => event.target.closest?.("#search") && event.dataTransfer?.types.includes("Files") && form();
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      document.getElementById("search")?.classList.toggle("is-dropping", Boolean(over(event)));
      if (!over(event)) return;
      event.preventDefault();
      event.stopPropagation();
    }, true);
  }
  document.addEventListener("drop", (event) => {
    if (!over(event)) return;
    // It is a question, not a picture to add.
    event.preventDefault();
    event.stopPropagation();
    document.getElementById("search").classList.remove("is-dropping");
    form().elements.picture.files = event.dataTransfer.files;
    form().submit();
  }, true);
})();
