// Draws a map on its canvas: all points in one pass over its pixels, and pictures in their place where few are in sight.
(() => {
  const { EXTENT } = clipsite.map;
  const MOST_PICTURES = 150, KEPT_PICTURES = 600;
  const CLOSEST = 400;

  // Which pixels around a point belong to it: circle, square, diamond, triangle. Told apart without colour.
  const SHAPES = [
    (x, y, r) => x * x + y * y <= r * r,
    (x, y, r) => Math.max(Math.abs(x), Math.abs(y)) <= r * 0.85,
    (x, y, r) => Math.abs(x) + Math.abs(y) <= r * 1.2,
    (x, y, r) => y <= r * 0.8 && y >= -r && Math.abs(x) <= (y + r) * 0.6,
  ];
  const stamp = (shape, r) => {
    const pixels = [];
    for (let y = -Math.ceil(r * 1.2); y <= r * 1.2; y += 1) {
      for (let x = -Math.ceil(r * 1.2); x <= r * 1.2; x += 1) if (SHAPES[shape](x, y, r)) pixels.push([x, y]);
    }
    return pixels;
  };
  const bytes = (colour) => (colour.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  // As a pixel of ImageData, which is little-endian wherever browsers run.
  const pixel = (colour, alpha) => {
    const [red, green, blue] = bytes(colour);
    return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  };

  // `thumbnail(id)`: the address of an image's. What is drawn stands in `scene`, which the page changes as it likes:
  // points, kind (of each point), kinds ([{colour, shape}]), isOn(index), selected (a Set), outline, cursor.
  const drawing = (canvas, thumbnail) => {
    const pen = canvas.getContext("2d");
    const scene = { points: null, kind: null, kinds: [], isOn: () => true, selected: new Set(), outline: null, cursor: null };
    const view = { x: EXTENT / 2, y: EXTENT / 2, zoom: 1 };
    const pictures = new Map();
    let waiting = false;

    // All in CSS pixels, but for what is drawn.
    const size = () => [canvas.clientWidth || 1, canvas.clientHeight || 1];
    const scale = () => Math.min(...size()) * 0.92 / EXTENT * view.zoom;
    const toScreen = (x, y) => { const [w, h] = size(), s = scale(); return [(x - view.x) * s + w / 2, (y - view.y) * s + h / 2]; };
    const toMap = (left, top) => { const [w, h] = size(), s = scale(); return [(left - w / 2) / s + view.x, (top - h / 2) / s + view.y]; };
    const redraw = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    };
    const pan = (left, top) => { view.x -= left / scale(); view.y -= top / scale(); redraw(); };
    const zoom = (factor, [left, top] = size().map((side) => side / 2)) => {
      const [x, y] = toMap(left, top);
      view.zoom = Math.max(0.5, Math.min(CLOSEST, view.zoom * factor));
      const [moved, down] = toMap(left, top);
      view.x += x - moved;
      view.y += y - down;
      redraw();
    };
    const fit = () => { Object.assign(view, { x: EXTENT / 2, y: EXTENT / 2, zoom: 1 }); redraw(); };

    // Indices in sight; null where there are more than `most`.
    const inSight = (most) => {
      const [w, h] = size(), found = [];
      const [left, top] = toMap(-20, -20), [right, bottom] = toMap(w + 20, h + 20);
      scene.points.inBox(left, top, right, bottom, (index) => { found.push(index); return found.length <= most; });
      return found.length > most ? null : found;
    };
    const picture = (id) => {
      let image = pictures.get(id);
      if (!image) {
        image = new Image();
        image.onload = redraw;
        image.src = thumbnail(id);
        pictures.set(id, image);
        if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
      }
      return image.complete && image.naturalWidth ? image : null;
    };

    const draw = () => {
      const ratio = devicePixelRatio || 1, [w, h] = size();
      const width = Math.round(w * ratio), height = Math.round(h * ratio);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, width, height);
      if (!scene.points) return;
      const style = getComputedStyle(canvas);
      const few = inSight(MOST_PICTURES);
      if (!few) drawPoints(width, height, ratio, style);
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (few) drawPictures(few, style);
      drawMarks(style);
    };
    const drawPoints = (width, height, ratio, style) => {
      const { points, kind, kinds, isOn, selected } = scene;
      const sheet = pen.createImageData(width, height), out = new Uint32Array(sheet.data.buffer);
      const radius = ratio * Math.max(1, Math.min(5, 60 / Math.sqrt(points.count) * Math.sqrt(view.zoom) + 1));
      const faint = pixel(style.color, 50), strong = pixel(style.outlineColor, 255), some = selected.size > 0;
      const shades = kinds.map(({ colour }) => pixel(colour, some ? 110 : 255));
      const small = stamp(0, radius * 0.8), shapes = SHAPES.map((_, shape) => stamp(shape, radius)), ring = stamp(0, radius + 1.5 * ratio);
      const s = scale() * ratio, left = width / 2 - view.x * s, top = height / 2 - view.y * s;
      const put = (index, pixels, colour) => {
        const x = Math.round(points.x[index] * s + left), y = Math.round(points.y[index] * s + top);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) return;
        for (const [right, down] of pixels) {
          const column = x + right, row = y + down;
          if (column >= 0 && column < width && row >= 0 && row < height) out[row * width + column] = colour;
        }
      };
      // Those that are greyed lie below, those that are selected above.
      for (let index = 0; index < points.count; index += 1) if (!isOn(index)) put(index, small, faint);
      for (let index = 0; index < points.count; index += 1) if (isOn(index)) put(index, shapes[kinds[kind[index]].shape], shades[kind[index]]);
      for (const index of selected) put(index, ring, strong);
      for (const index of selected) put(index, shapes[kinds[kind[index]].shape], pixel(kinds[kind[index]].colour, 255));
      pen.putImageData(sheet, 0, 0);
    };
    const drawPictures = (few, style) => {
      const { points, kind, kinds, isOn, selected } = scene;
      const side = Math.max(26, Math.min(88, Math.min(...size()) / Math.sqrt(few.length + 1) * 0.55));
      // One order, whatever is in sight; what is selected comes last.
      const rank = (index) => (selected.has(index) ? 2 : isOn(index) ? 1 : 0);
      for (const index of few.sort((one, other) => rank(one) - rank(other) || one - other)) {
        const [left, top] = toScreen(points.x[index], points.y[index]).map((at) => Math.round(at - side / 2));
        const edge = selected.has(index) ? 4 : 2, image = picture(points.ids[index]);
        pen.globalAlpha = isOn(index) ? 1 : 0.2;
        pen.fillStyle = selected.has(index) ? style.outlineColor : kinds[kind[index]].colour;
        pen.fillRect(left - edge, top - edge, side + 2 * edge, side + 2 * edge);
        if (image) {
          const cut = Math.min(image.naturalWidth, image.naturalHeight);
          pen.drawImage(image, (image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2, cut, cut, left, top, side, side);
        }
        pen.globalAlpha = 1;
      }
    };
    const drawMarks = (style) => {
      pen.strokeStyle = style.outlineColor;
      pen.lineWidth = 2;
      if (scene.outline?.length > 1) {
        const path = new Path2D();
        scene.outline.forEach(([x, y], at) => path[at ? "lineTo" : "moveTo"](...toScreen(x, y)));
        path.closePath();
        pen.globalAlpha = 0.12;
        pen.fillStyle = style.outlineColor;
        pen.fill(path, "evenodd");
        pen.globalAlpha = 1;
        pen.setLineDash([5, 4]);
        pen.stroke(path);
        pen.setLineDash([]);
      }
      if (scene.cursor) {
        const { left, top, radius } = scene.cursor;
        pen.beginPath();
        pen.arc(left, top, radius, 0, 2 * Math.PI);
        pen.moveTo(left - 5, top); pen.lineTo(left + 5, top);
        pen.moveTo(left, top - 5); pen.lineTo(left, top + 5);
        pen.stroke();
      }
    };
    return { scene, view, size, scale, toScreen, toMap, redraw, pan, zoom, fit };
  };
  Object.assign(clipsite.map, { drawing, SHAPES });
})();
