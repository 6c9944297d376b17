// The points of a map as typed arrays, and which of them lie where: near a place, in a box, a circle or a lasso.
(() => {
  const EXTENT = 65535;

  // `columns`: what GET /api/v1/projects/{slug}/map/ answers. Cells of a grid make every question about a place short.
  const points = (columns) => {
    const count = columns.images.length;
    const x = Float32Array.from(columns.x), y = Float32Array.from(columns.y);
    const cells = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(count / 4))));
    const side = (EXTENT + 1) / cells;
    const column = (at) => Math.max(0, Math.min(cells - 1, Math.floor(at / side)));
    const starts = new Uint32Array(cells * cells + 1), order = new Uint32Array(count);
    const cell = (index) => column(y[index]) * cells + column(x[index]);
    for (let index = 0; index < count; index += 1) starts[cell(index) + 1] += 1;
    for (let at = 0; at < cells * cells; at += 1) starts[at + 1] += starts[at];
    const next = starts.slice();
    for (let index = 0; index < count; index += 1) { order[next[cell(index)]] = index; next[cell(index)] += 1; }

    // Every index in a box, to `visit`, until that returns false.
    const inBox = (left, top, right, bottom, visit) => {
      for (let row = column(top); row <= column(bottom); row += 1) {
        for (let at = starts[row * cells + column(left)]; at < starts[row * cells + column(right) + 1]; at += 1) {
          const index = order[at];
          if (x[index] < left || x[index] > right || y[index] < top || y[index] > bottom) continue;
          if (visit(index) === false) return;
        }
      }
    };
    const inCircle = (left, top, radius) => {
      const found = [];
      inBox(left - radius, top - radius, left + radius, top + radius, (index) => {
        if ((x[index] - left) ** 2 + (y[index] - top) ** 2 <= radius ** 2) found.push(index);
      });
      return found;
    };
    // The nearest one that `counts`, no further away than `radius`; -1: none.
    const nearest = (left, top, radius, counts) => {
      let best = -1, least = radius ** 2;
      inBox(left - radius, top - radius, left + radius, top + radius, (index) => {
        const far = (x[index] - left) ** 2 + (y[index] - top) ** 2;
        if (far <= least && counts(index)) { best = index; least = far; }
      });
      return best;
    };
    // `lasso`: [[x, y], …], closed by itself. Inside is what a ray from it leaves an odd number of times.
    const inLasso = (lasso) => {
      const xs = lasso.map(([left]) => left), ys = lasso.map(([, top]) => top), found = [];
      const least = (values) => values.reduce((one, other) => Math.min(one, other));
      const most = (values) => values.reduce((one, other) => Math.max(one, other));
      inBox(least(xs), least(ys), most(xs), most(ys), (index) => {
        let inside = false;
        for (let at = 0, before = lasso.length - 1; at < lasso.length; before = at, at += 1) {
          if ((ys[at] > y[index]) === (ys[before] > y[index])) continue;
          const crossing = xs[at] + (y[index] - ys[at]) / (ys[before] - ys[at]) * (xs[before] - xs[at]);
          if (x[index] < crossing) inside = !inside;
        }
        if (inside) found.push(index);
      });
      return found;
    };
    return { count, x, y, ids: columns.images, inBox, inCircle, nearest, inLasso };
  };
  window.clipsite.map = { EXTENT, points };
})();
