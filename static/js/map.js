// The page of the map: what is loaded, coloured, shown alone and selected; by pointer in map_pointer.js, by keys here.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const page = () => $("#map");
  const address = (name, id) => page().dataset[name].replace("/0/", `/${id}/`);
  const images = (count) => `${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
  const element = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

  const begin = () => {
    if (!page() || page().dataset.begun) return;
    page().dataset.begun = "yes";
    const canvas = $("#map-canvas");
    const drawn = clipsite.map.drawing(canvas, (id) => address("thumbnail", id));
    const { scene } = drawn;
    let columns = null, alone = -1, asked = 0;

    // What is coloured

    const by = () => $("#map-by")?.value ?? "label";
    const kindsOf = () => {
      if (!columns.labels.length) return { names: ["images"], of: () => 0 };
      if (by() === "status") return { names: columns.statuses.map(({ name }) => name), of: (index) => columns.status[index] };
      // The last one is for those that have no label.
      return {
        names: [...columns.labels.map(({ name }) => name), "no label"],
        of: (index) => (columns.label[index] < 0 ? columns.labels.length : columns.label[index]),
      };
    };
    const colourOf = (at, names) => {
      if (by() !== "label" || !columns.labels.length) return at;
      return at === names.length - 1 ? -1 : columns.labels[at].colour;
    };
    const legend = () => {
      const { names, of } = kindsOf(), counts = new Uint32Array(names.length);
      scene.kind = new Uint16Array(scene.points.count);
      for (let index = 0; index < scene.points.count; index += 1) {
        scene.kind[index] = of(index);
        if (!columns.found || columns.found[index]) counts[scene.kind[index]] += 1;
      }
      $("#map-legend").replaceChildren(...names.map((name, at) => {
        const item = element("li", ""), button = element("button", "filter-chip map-kind");
        const colour = colourOf(at, names), dot = element("span", `dot map-shape-${(at + Math.floor(at / 12)) % 4}`);
        if (colour >= 0) button.classList.add(`label-colour-${colour % 12}`);
        Object.assign(button, { type: "button", value: at });
        button.setAttribute("aria-pressed", at === alone);
        button.append(dot, element("span", "chip-text", name), element("span", "num", counts[at].toLocaleString("en")));
        item.hidden = !columns.labels.length || (!counts[at] && at !== alone);
        item.append(button);
        return item;
      }));
      colours();
    };
    // As the style sheet has them in this theme.
    const colours = () => {
      scene.kinds = [...document.querySelectorAll("#map-legend .dot")].map((dot, at) => ({
        colour: getComputedStyle(dot).backgroundColor, shape: (at + Math.floor(at / 12)) % 4,
      }));
      drawn.redraw();
    };
    scene.isOn = (index) => (!columns.found || columns.found[index] === 1) && (alone < 0 || scene.kind[index] === alone);

    // What is selected. Greyed ones never are.

    const select = (found, add = false) => {
      const on = found.filter(scene.isOn);
      scene.selected = new Set(add ? [...scene.selected, ...on] : on);
      const count = scene.selected.size;
      $("#map-number").textContent = count ? `${images(count)} selected` : "None selected";
      $("#map-show").disabled = $("#map-none").disabled = !count;
      // In sight at once, wherever the page is scrolled to.
      $("#map-pick").classList.toggle("is-open", count > 0);
      $("#map-show-words").textContent = count ? `Show the ${count.toLocaleString("en")} in the gallery` : "Show in the gallery";
      clipsite.announce(count ? `${images(count)} selected` : "None selected");
      drawn.redraw();
    };
    $("#map-pick").addEventListener("submit", () => {
      $("#map-images").value = JSON.stringify([...scene.selected].map((index) => scene.points.ids[index]));
    });
    $("#map-none").addEventListener("click", () => { select([]); canvas.focus(); });

    // What is loaded

    const load = async () => {
      const mine = asked += 1;
      const answer = await fetch(page().dataset.points, { headers: { Accept: "application/json" } });
      const told = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : {};
      if (mine !== asked || !document.contains(canvas)) return;
      if (!answer.ok) { $("#map-says").textContent = told.detail || "The map can't be read."; return; }
      const before = new Set([...scene.selected].map((index) => scene.points.ids[index]));
      columns = told;
      scene.points = clipsite.map.points(columns);
      $("#map").classList.toggle("is-empty", !scene.points.count);
      legend();
      select(columns.images.flatMap((id, index) => (before.has(id) ? [index] : [])));
      says();
    };
    const says = () => {
      const { missing, unembedded } = columns, drawnOnce = columns.map !== null;
      const found = columns.found && columns.found.reduce((sum, one) => sum + one, 0);
      $("#map-says").textContent = [
        drawnOnce && `${images(scene.points.count)} on the map.`,
        columns.found && `The search finds ${found.toLocaleString("en")} of them; the others are grey.`,
        drawnOnce && missing && `${images(missing)} ${missing === 1 ? "is" : "are"} not on it yet: draw it again.`,
        unembedded && `CLIP has not come to ${images(unembedded)} yet.`,
      ].filter(Boolean).join(" ");
      canvas.setAttribute("aria-label", `Map of ${images(scene.points.count)}`);
    };
    document.body.addEventListener("map-changed", () => { if (document.contains(canvas)) load(); });
    $("#map-by")?.addEventListener("change", () => { alone = -1; legend(); select([...scene.selected]); });
    $("#map-legend").addEventListener("click", (event) => {
      const kind = event.target.closest(".map-kind");
      if (!kind) return;
      alone = alone === Number(kind.value) ? -1 : Number(kind.value);
      for (const one of document.querySelectorAll(".map-kind")) one.setAttribute("aria-pressed", Number(one.value) === alone);
      select([...scene.selected]);
    });

    // What one image is

    const details = new Map();
    const tell = async (index) => {
      const tip = $("#map-tip");
      tip.hidden = index < 0;
      if (index < 0) { delete tip.dataset.image; return; }
      const id = scene.points.ids[index], [left, top] = drawn.toScreen(scene.points.x[index], scene.points.y[index]);
      if (tip.dataset.image === String(id)) return;
      tip.dataset.image = id;
      $("#map-tip-picture").src = address("thumbnail", id);
      $("#map-tip-link").href = address("image", id);
      $("#map-tip-kind").textContent = columns.labels.length ? [kindName("label", index), kindName("status", index)].join(", ") : "";
      const [w, h] = drawn.size();
      tip.classList.toggle("is-left", left > w / 2);
      tip.classList.toggle("is-above", top > h / 2);
      tip.style.left = `${left}px`;
      tip.style.top = `${top}px`;
      if (!details.has(id)) {
        const answer = await fetch(address("detail", id));
        details.set(id, answer.ok ? (await answer.json()).name : "This image is deleted.");
      }
      if (tip.dataset.image === String(id)) $("#map-tip-link").textContent = details.get(id);
    };
    const kindName = (what, index) => (what === "label" ? columns.labels[columns.label[index]]?.name ?? "no label" : columns.statuses[columns.status[index]].name);

    // By keys: a circle that moves over the map. Enter selects what is in it.

    const STEP = 12;
    const inCursor = () => {
      const { left, top, radius } = scene.cursor;
      return scene.points.inCircle(...drawn.toMap(left, top), radius / drawn.scale()).filter(scene.isOn);
    };
    const cursor = () => {
      const [w, h] = drawn.size();
      scene.cursor ??= { left: w / 2, top: h / 2, radius: 40 };
      const at = scene.cursor;
      at.left = Math.max(0, Math.min(w, at.left));
      at.top = Math.max(0, Math.min(h, at.top));
      at.radius = Math.max(8, Math.min(Math.max(w, h), at.radius));
      return at;
    };
    const said = () => {
      const found = inCursor(), counts = new Map();
      for (const index of found) counts.set(scene.kind[index], (counts.get(scene.kind[index]) ?? 0) + 1);
      const most = [...counts].sort((one, other) => other[1] - one[1])[0];
      const names = kindsOf().names;
      clipsite.announce(`${images(found.length)} in the circle${most && names.length > 1 ? `, ${most[1]} of them ${names[most[0]]}` : ""}`);
      drawn.redraw();
    };
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keys = {
      "+": () => { cursor().radius *= 1.25; },
      "=": () => { cursor().radius *= 1.25; },
      "-": () => { cursor().radius /= 1.25; },
      PageUp: () => drawn.zoom(1.5, [cursor().left, cursor().top]),
      PageDown: () => drawn.zoom(1 / 1.5, [cursor().left, cursor().top]),
      Home: () => drawn.fit(),
    };
    canvas.addEventListener("keydown", (event) => {
      const { key } = event;
      if (!scene.points || event.ctrlKey || event.metaKey || event.altKey) return;
      if (key === "Escape") { scene.outline = null; tell(-1); select([]); return; }
      if (key === "Enter") { event.preventDefault(); cursor(); select(inCursor(), event.shiftKey); return; }
      if (!moves[key] && !keys[key]) return;
      event.preventDefault();
      if (moves[key]) {
        const [right, down] = moves[key], far = event.shiftKey ? 5 * STEP : STEP, at = cursor();
        at.left += right * far;
        at.top += down * far;
      } else keys[key]();
      cursor();
      said();
    });
    canvas.addEventListener("blur", () => { scene.cursor = null; drawn.redraw(); });
    canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) { cursor(); drawn.redraw(); } });

    $("#map-closer").addEventListener("click", () => drawn.zoom(1.5));
    $("#map-further").addEventListener("click", () => drawn.zoom(1 / 1.5));
    $("#map-fit").addEventListener("click", () => drawn.fit());
    new ResizeObserver(() => drawn.redraw()).observe(canvas);
    new MutationObserver(() => { if (scene.points) colours(); }).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
    clipsite.map.pointers(canvas, drawn, { select, tell });
    load();
  };
  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSettle", begin);
  if (document.readyState === "complete") begin();
})();
