// The search line completes the part that is being typed: the browser's own list knows whole values only.
(() => {
  // Where the part at the cursor's end begins: after the last space that stands in no quotes.
  const last = (text) => {
    let start = 0, quoted = false;
    for (let at = 0; at < text.length; at += 1) {
      if (text[at] === '"') quoted = !quoted;
      else if (/\s/.test(text[at]) && !quoted) start = at + 1;
    }
    return start;
  };
  const words = new WeakMap();
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.id !== "q" || !field.list) return;
    const { list } = field;
    if (!words.has(list)) words.set(list, [...list.options].map((option) => option.value));
    const start = last(field.value);
    const before = field.value.slice(0, start);
    const sign = field.value[start] === "-" ? "-" : "";
    const part = field.value.slice(start + sign.length).toLowerCase();
    const found = words.get(list).filter((word) => word.toLowerCase().startsWith(part) && word !== part).slice(0, 20);
    list.replaceChildren(...found.map((word) => Object.assign(document.createElement("option"), { value: before + sign + word })));
  });
})();
