// What the film and the gallery share. Their heights are bytes (see analysis/scenes.py): b stands
// for the activation b / 255 * peak.
const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

// A surface in another order, at another epoch or of another neuron. bytes[start + x * p + y] is the
// height at (x, y); plotly wants [y][x]. Both operands are listed in one order, which brings its axes.
function showSurface(plot, bytes, start, p, order, peak) {
  const { operands, axes } = order;
  const top = peak || 1;
  return Plotly.update(plot, {
    z: [operands.map(y => operands.map(x => bytes[start + x * p + y] * peak / 255))],
    cmax: [top],
    customdata: [operands.map(x => operands.map(y => [x, y]))],
  }, { ...axes, "scene.zaxis.range": [-0.02 * top, top] });
}

const percent = share => (100 * share).toFixed(1) + "%";
