function film(id, film) {
  const root = document.getElementById(id);
  const part = name => root.querySelector(`[data-part="${name}"]`);
  const last = film.epochs.length - 1;
  const p = film.modulus;
  const heights = film.stars.map(star => bytesOf(star.heights));
  let frame = last;
  let star = 0;
  let waves = film.stars.some(star => star.waves !== null);
  let playing = 0; // the number of the showing that goes on, 0: none
  let turn = 0; // the number of the last one

  plot(part("surface"), film.figures.surface);
  for (const name of ["curves", "spectrum"])
    plot(part(name), film.figures[name], { displayModeBar: false });
  part("slider").max = last;
  choices(part("stars"), film.stars.map(star => star.label), 0, number => {
    star = number;
    stage();
  });
  if (waves) choices(part("orders"), ["Wave order", "Natural order"], 0, number => {
    waves = number === 0;
    stage();
  });
  part("slider").addEventListener("input", event => {
    pause();
    show(Number(event.target.value));
  });
  part("play").addEventListener("click", () => playing ? pause() : play());

  function stage() {
    tell();
    const shown = film.stars[star];
    const order = waves && shown.waves || film.natural;
    return showSurface(part("surface"), heights[star], frame * p * p, p, order, shown.peaks[frame]);
  }

  async function show(number) {
    frame = number;
    const epoch = Math.max(film.epochs[frame], film.first_drawn_epoch);
    await Promise.all([
      stage(),
      Plotly.relayout(part("curves"), { "shapes[0].x0": epoch, "shapes[0].x1": epoch }),
      Plotly.restyle(part("spectrum"), { y: [film.spectra[frame]] }, 0),
    ]);
  }

  function tell() {
    const { neuron, frequency, shares, peaks } = film.stars[star];
    part("slider").value = frame;
    part("epoch").textContent = "epoch " + film.epochs[frame].toLocaleString("en");
    part("look").textContent = `Accuracy on the training pairs ${percent(film.training[frame])}, on ` +
      `the others ${percent(film.validation[frame])}. Neuron ${neuron} holds ` +
      `${percent(shares[frame])} of its variance in frequency ${frequency}; its largest activation ` +
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
