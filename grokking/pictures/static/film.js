function film(id, film) {
  const root = document.getElementById(id);
  const part = name => root.querySelector(`[data-part="${name}"]`);
  const last = film.epochs.length - 1;
  const p = film.modulus;
  const holes = bytesOf(film.holes);
  const heights = film.neurons.map(neuron => bytesOf(neuron.heights));
  let frame = last;
  let chosen = 0; // place of the neuron
  let waves = film.neurons.some(neuron => neuron.waves !== null);
  let playing = 0; // the number of the showing that goes on, 0: none
  let turn = 0; // the number of the last one

  plot(part("surface"), film.figures.surface);
  for (const name of ["curves", "spectrum"])
    if (film.figures[name]) plot(part(name), film.figures[name], { displayModeBar: false });
  part("spectrum-title").textContent = film.spectrum_title;
  part("spectrum").hidden = part("spectrum-title").hidden = !film.figures.spectrum;
  part("slider").max = last;
  choices(part("neurons"), film.neurons.map(neuron => neuron.label), 0, number => {
    chosen = number;
    render();
  });
  if (waves) choices(part("orders"), ["Wave order", "Natural order"], 0, number => {
    waves = number === 0;
    render();
  });
  part("slider").addEventListener("input", event => {
    pause();
    show(Number(event.target.value));
  });
  part("play").addEventListener("click", () => playing ? pause() : play());

  function render() {
    tell();
    const shown = film.neurons[chosen];
    const order = waves && shown.waves || film.natural;
    return showSurface(part("surface"), heights[chosen], frame * p * p, p, holes, order, shown.peaks[frame]);
  }

  async function show(number) {
    frame = number;
    const epoch = Math.max(film.epochs[frame], film.first_drawn_epoch);
    await Promise.all([
      render(),
      Plotly.relayout(part("curves"), { "shapes[0].x0": epoch, "shapes[0].x1": epoch }),
      film.figures.spectrum && Plotly.restyle(part("spectrum"), { y: [film.spectra[frame]] }, 0),
    ]);
  }

  function tell() {
    const { neuron, block, shares, peaks } = film.neurons[chosen];
    part("slider").value = frame;
    part("epoch").textContent = "epoch " + film.epochs[frame].toLocaleString("en");
    const held = block === null ? ": " :
      ` holds ${percent(shares[frame])} of its variance in ${block}; `;
    const accuracy = film.training === null ? `over all pairs ${percent(film.validation[frame])}` :
      `on the training pairs ${percent(film.training[frame])}, on the others ` +
      percent(film.validation[frame]);
    part("look").textContent = `Accuracy ${accuracy}. Neuron ${neuron}${held}its largest activation ` +
      `is ${peaks[frame].toPrecision(3)}.`;
  }

  async function play() {
    const mine = ++turn;
    playing = mine;
    part("play").textContent = "Pause";
    for (let next = frame === last ? 0 : frame + 1; next <= last && playing === mine; ++next) {
      await show(next);
      await new Promise(resolve => setTimeout(resolve, 180));
    }
    if (playing === mine) pause();
  }

  function pause() {
    playing = 0;
    part("play").textContent = "Play";
  }

  show(last);
}
