// Another proposed name for a group, put into its field.
(() => {
  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-word]");
    if (!chip) return;
    const field = document.getElementById(chip.dataset.for);
    field.value = chip.dataset.word;
    field.focus();
    field.select();
    window.clipsite.announce(`Name: ${chip.dataset.word}`);
  });
})();
