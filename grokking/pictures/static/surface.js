// What the film and the gallery share. Their heights are bytes (see analysis/scenes.py): b stands
// for the activation b / 255 * peak.
const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

// Activations as plotly wants them, [y][x], from bytes [x][y]; both operands listed in one order.
function activations(bytes, start, order, peak) {
  const p = order.length;
  return order.map(y => order.map(x => bytes[start + x * p + y] * peak / 255));
}

// A surface in another order or of another neuron: heights, scale and labels of the axes.
function showSurface(plot, bytes, start, order, peak) {
  const step = Math.max(1, Math.floor(order.length / 6));
  const top = peak || 1;
  const tickvals = order.map((_, i) => i).filter(i => i % step === 0);
  const ticktext = tickvals.map(i => String(order[i]));
  const axis = name => ({
    [`scene.${name}.title.text`]: name[0],
    [`scene.${name}.tickvals`]: tickvals,
    [`scene.${name}.ticktext`]: ticktext,
  });
  return Plotly.update(plot, {
    z: [activations(bytes, start, order, peak)],
    cmax: [top],
    customdata: [order.map(x => order.map(y => [x, y]))],
  }, { ...axis("xaxis"), ...axis("yaxis"), "scene.zaxis.range": [-0.02 * top, top] });
}

const percent = share => (100 * share).toFixed(1) + "%";
