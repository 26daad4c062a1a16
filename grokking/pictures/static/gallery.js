function gallery(id, gallery) {
  const root = document.getElementById(id);
  const part = name => root.querySelector(`[data-part="${name}"]`);
  const p = gallery.modulus;
  const bytes = bytesOf(gallery.heights);
  const holes = bytesOf(gallery.holes);
  const colors = gallery.colors.map(color => parseInt(color.slice(1), 16));
  let chosen = null;
  let waves = true;
  plot(part("surface"), gallery.figure);
  if (gallery.groups.some(group => group.waves)) choices(part("orders"), ["Wave order", "Natural order"], 0, number => {
    waves = number === 0;
    if (chosen) show(...chosen);
  });

  function show(group, neuron, tile) {
    for (const other of root.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    tile.setAttribute("aria-current", "true");
    chosen = [group, neuron, tile];
    part("look").textContent = neuron.told;
    const order = waves && group.waves || gallery.natural;
    showSurface(part("surface"), bytes, neuron.place * p * p, p, holes, order, neuron.peak);
  }

  function paint(canvas, start, { first, second }) {
    const width = canvas.width = first.length;
    const height = canvas.height = second.length;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    first.forEach((x, column) => second.forEach((y, row) => {
      if (holes[x * p + y]) return; // see-through
      const color = colors[bytes[start + x * p + y]]; // 0xRRGGBB; pixels are 0xAABBGGRR
      pixels[(height - 1 - row) * width + column] =
        0xff000000 | (color & 0xff) << 16 | color & 0xff00 | color >> 16;
    }));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  let first = null;
  for (const group of gallery.groups) {
    const heading = document.createElement("h2");
    const grid = document.createElement("div");
    heading.textContent = group.title;
    grid.className = "tiles";
    for (const neuron of group.neurons) {
      const tile = document.createElement("button");
      const label = document.createElement("span");
      tile.type = "button";
      tile.title = neuron.told;
      label.textContent = neuron.label;
      const canvas = document.createElement("canvas");
      if (neuron.peak > 0) paint(canvas, neuron.place * p * p, group.waves || gallery.natural);
      else tile.className = "dead";
      tile.append(canvas, label);
      tile.addEventListener("click", () => show(group, neuron, tile));
      grid.append(tile);
      first ||= [group, neuron, tile];
    }
    part("groups").append(heading, grid);
  }
  if (first) show(...first);
}
