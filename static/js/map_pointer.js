// The map under a mouse, a pen or fingers: lasso or box, moving, zooming, and what lies under the pointer.
(() => {
  // Nearer than this to where it began, a press was no lasso.
  const STILL = 4, REACH = 14;

  clipsite.map.pointers = (canvas, drawn, { select, tell }) => {
    const { scene } = drawn;
    const down = new Map();
    let act = "", start = null, isSpace = false, isMoved = false;

    const place = (event) => { const frame = canvas.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
    const isHand = () => document.querySelector("[name=map-mode]:checked")?.value === "hand";
    const under = ([left, top]) => (scene.points
      ? scene.points.nearest(...drawn.toMap(left, top), REACH / drawn.scale(), scene.isOn) : -1);
    const cursor = () => canvas.classList.toggle("is-hand", isHand() || isSpace);
    const stop = () => { act = ""; scene.outline = null; drawn.redraw(); };

    canvas.addEventListener("pointerdown", (event) => {
      if (!scene.points || event.button === 2) return;
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      down.set(event.pointerId, place(event));
      isMoved = false;
      start = place(event);
      if (down.size === 2) { act = "pinch"; scene.outline = null; return; }
      if (isHand() || isSpace || event.button === 1) { act = "pan"; event.preventDefault(); return; }
      act = event.shiftKey ? "box" : "lasso";
      scene.outline = [drawn.toMap(...start)];
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = place(event), before = down.get(event.pointerId);
      if (!before) { if (event.pointerType === "mouse") tell(under(here)); return; }
      if (Math.hypot(here[0] - start[0], here[1] - start[1]) > STILL) isMoved = true;
      if (act === "pinch") pinch(event.pointerId, here);
      down.set(event.pointerId, here);
      if (act === "pan") { tell(-1); drawn.pan(here[0] - before[0], here[1] - before[1]); }
      if (act === "lasso") {
        // Between two frames a fast pointer was in more places than one.
        const all = event.getCoalescedEvents?.() ?? [];
        for (const each of all.length ? all : [event]) scene.outline.push(drawn.toMap(...place(each)));
      }
      if (act === "box") {
        const [left, top] = drawn.toMap(...start), [right, bottom] = drawn.toMap(...here);
        scene.outline = [[left, top], [right, top], [right, bottom], [left, bottom]];
      }
      if (act === "lasso" || act === "box") { tell(-1); drawn.redraw(); }
    });
    const pinch = (moved, here) => {
      const [other] = [...down].filter(([id]) => id !== moved).map(([, at]) => at), before = down.get(moved);
      const far = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      const middle = [(here[0] + other[0]) / 2, (here[1] + other[1]) / 2];
      drawn.pan((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
      drawn.zoom(far(here) / far(before), middle);
    };
    canvas.addEventListener("pointerup", (event) => {
      if (!down.delete(event.pointerId)) return;
      // The finger that is left after a pinch draws nothing.
      if (down.size) return;
      if (!isMoved && act !== "pinch") tell(under(place(event)));
      else if (act === "lasso" || act === "box") select(scene.points.inLasso(scene.outline), event.ctrlKey || event.metaKey);
      stop();
    });
    canvas.addEventListener("pointercancel", (event) => { down.delete(event.pointerId); stop(); });
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !event.relatedTarget?.closest?.("#map-tip")) tell(-1);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      tell(-1);
      drawn.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); isSpace = true; cursor(); } });
    canvas.addEventListener("keyup", (event) => { if (event.key === " ") { isSpace = false; cursor(); } });
    canvas.addEventListener("blur", () => { isSpace = false; cursor(); });
    document.addEventListener("change", (event) => { if (event.target.name === "map-mode") cursor(); });
  };
})();
