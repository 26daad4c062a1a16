// What the film and the gallery share. Their heights are bytes (see analysis/scenes.py): b stands
// for the activation b / 255 * peak.
const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

// A surface in another order, at another epoch or of another neuron. bytes[start + x * p + y] is the
// height at (x, y); plotly wants [y][x]. An order lists both operands and brings its axes; where
// holes[x * p + y] there is no question, and a gap.
function showSurface(plot, bytes, start, p, holes, order, peak) {
  const { first, second, axes } = order;
  const top = peak || 1;
  const height = (x, y) => holes[x * p + y] ? null : bytes[start + x * p + y] * peak / 255;
  return Plotly.update(plot, {
    z: [second.map(y => first.map(x => height(x, y)))],
    cmax: [top],
    customdata: [first.map(x => second.map(y => [x, y]))],
  }, { ...axes, "scene.zaxis.range": [-0.02 * top, top] });
}

const percent = share => (100 * share).toFixed(1) + "%";
