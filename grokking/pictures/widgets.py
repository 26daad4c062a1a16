"""The film and the gallery: HTML and scripts of the two parts of pages that plotly alone cannot do.

Their heights come as bytes (see analysis/scenes.py): `peak / 255` is the size of a step.
"""

import base64
from typing import Literal, NamedTuple

import numpy as np

from grokking.analysis.fourier import wave_order
from grokking.analysis.scenes import Bytes
from grokking.pictures.surface_views import waves_shown

WidgetName = Literal["film", "gallery"]


class Asset(NamedTuple):
    """Static markup, in which %ID% is the element's id, and a function of the widget's name."""

    markup: str
    script: str


def text_of(heights: Bytes) -> str:
    """Heights as the scripts take them: base64."""
    return base64.b64encode(np.ascontiguousarray(heights).tobytes()).decode("ascii")


def listed_in_waves(modulus: int, frequency: int) -> list[int] | None:
    """The wave order of a frequency as the scripts take it; None where there is none."""
    order = wave_order(modulus, frequency, waves_shown(modulus)) if frequency else None
    return None if order is None else order.tolist()


SHARED_SCRIPT = """
const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

// Buttons of which one is pressed; act(number) when another is chosen.
function choices(group, labels, chosen, act) {
  labels.forEach((label, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-pressed", number === chosen);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      act(number);
    });
    group.append(button);
  });
}

// Activations as plotly wants them, [y][x], from bytes [x][y]; both operands listed in one order.
function activations(bytes, start, order, peak) {
  const p = order.length;
  return order.map(y => order.map(x => bytes[start + x * p + y] * peak / 255));
}

// A surface in another order or of another neuron: heights, scale and labels of the axes.
function showSurface(plot, bytes, start, order, peak) {
  const step = Math.max(1, Math.floor(order.length / 6)), top = peak || 1;
  const tickvals = order.map((_, i) => i).filter(i => i % step === 0);
  const ticktext = tickvals.map(i => String(order[i]));
  const axis = name => ({
    [`scene.${name}.title.text`]: name[0],
    [`scene.${name}.tickvals`]: tickvals, [`scene.${name}.ticktext`]: ticktext,
  });
  return Plotly.update(plot, {
    z: [activations(bytes, start, order, peak)], cmax: [top],
    customdata: [order.map(x => order.map(y => [x, y]))],
  }, {...axis("xaxis"), ...axis("yaxis"), "scene.zaxis.range": [-0.02 * top, top]});
}

const percent = share => (100 * share).toFixed(1) + "%";
"""

_FILM = Asset(
    markup="""
<div class="film" id="%ID%">
<div class="bar">
<button type="button" class="play" data-part="play">Play</button>
<input type="range" min="0" step="1" data-part="slider" aria-label="frame of the film">
<output data-part="epoch"></output>
</div>
<div class="bar">
<div class="buttons" role="group" aria-label="neuron" data-part="stars"></div>
<div class="buttons" role="group" aria-label="order of the operands" data-part="orders"></div>
</div>
<p class="look" data-part="look"></p>
<div class="row">
<figure style="--share: 1.5"><div class="plot" data-part="surface" style="aspect-ratio: 1.1"></div></figure>
<figure style="--share: 1">
<h2>Accuracy</h2><div class="plot" data-part="curves" style="height: 230px"></div>
<h2>Frequencies in the embedding</h2><div class="plot" data-part="spectrum" style="height: 230px"></div>
</figure>
</div>
</div>""",
    script="""
function film(id, film) {
  const root = document.getElementById(id);
  const part = name => root.querySelector(`[data-part="${name}"]`);
  const last = film.epochs.length - 1, natural = [...Array(film.modulus).keys()];
  const heights = film.stars.map(star => bytesOf(star.heights));
  let frame = last, star = 0, waves = film.stars.some(star => star.order !== null);
  let playing = 0, turn = 0;  // the number of the showing that goes on, 0: none; of the last one
  const order = () => waves && film.stars[star].order || natural;
  const start = () => frame * film.modulus ** 2;

  plot(part("surface"), film.figures.surface);
  for (const name of ["curves", "spectrum"])
    plot(part(name), film.figures[name], {displayModeBar: false});
  part("slider").max = last;
  choices(part("stars"), film.stars.map(star => star.label), 0, number => { star = number; stage(); });
  if (waves) choices(part("orders"), ["Wave order", "Natural order"], 0,
                     number => { waves = number === 0; stage(); });
  part("slider").addEventListener("input", event => { pause(); show(Number(event.target.value)); });
  part("play").addEventListener("click", () => playing ? pause() : play());

  function stage() {
    tell();
    return showSurface(part("surface"), heights[star], start(), order(), film.stars[star].peaks[frame]);
  }
  async function show(number) {
    frame = number;
    const epoch = Math.max(film.epochs[frame], film.first_drawn_epoch);
    await Promise.all([
      stage(),
      Plotly.relayout(part("curves"), {"shapes[0].x0": epoch, "shapes[0].x1": epoch}),
      Plotly.restyle(part("spectrum"), {y: [film.spectra[frame]]}, 0),
    ]);
  }
  function tell() {
    const {neuron, frequency, shares, peaks} = film.stars[star];
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
""",
)

_GALLERY = Asset(
    markup="""
<div class="gallery" id="%ID%">
<div class="viewer">
<div class="buttons" role="group" aria-label="order of the operands" data-part="orders"></div>
<p class="look" data-part="look" aria-live="polite"></p>
<div class="plot" data-part="surface" style="aspect-ratio: 1"></div>
</div>
<div data-part="groups"></div>
</div>""",
    script="""
function gallery(id, gallery) {
  const root = document.getElementById(id), p = gallery.modulus;
  const part = name => root.querySelector(`[data-part="${name}"]`);
  const bytes = bytesOf(gallery.heights), natural = [...Array(p).keys()];
  const colors = gallery.colors.map(color => parseInt(color.slice(1), 16));
  let chosen = null, waves = true;
  plot(part("surface"), gallery.figure);
  choices(part("orders"), ["Wave order", "Natural order"], 0, number => {
    waves = number === 0;
    if (chosen) show(...chosen);
  });

  function show(group, neuron, tile) {
    for (const other of root.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    tile.setAttribute("aria-current", "true");
    chosen = [group, neuron, tile];
    part("look").textContent = neuron.told;
    showSurface(part("surface"), bytes, neuron.place * p * p, waves && group.order || natural,
                neuron.peak);
  }
  function paint(canvas, start, order) {
    canvas.width = canvas.height = p;
    const image = new ImageData(p, p), pixels = new Uint32Array(image.data.buffer);
    order.forEach((x, column) => order.forEach((y, row) => {
      const color = colors[bytes[start + x * p + y]];  // 0xRRGGBB; pixels are 0xAABBGGRR
      pixels[(p - 1 - row) * p + column] =
        0xff000000 | (color & 0xff) << 16 | color & 0xff00 | color >> 16;
    }));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
  let first = null;
  for (const group of gallery.groups) {
    const heading = document.createElement("h2"), grid = document.createElement("div");
    heading.textContent = group.title;
    grid.className = "tiles";
    for (const neuron of group.neurons) {
      const tile = document.createElement("button"), label = document.createElement("span");
      tile.type = "button";
      tile.title = neuron.told;
      label.textContent = neuron.label;
      const canvas = document.createElement("canvas");
      if (neuron.peak > 0) paint(canvas, neuron.place * p * p, group.order || natural);
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
""",
)

WIDGETS: dict[WidgetName, Asset] = {"film": _FILM, "gallery": _GALLERY}

STYLESHEET = """
.bar { display: flex; flex-wrap: wrap; gap: 4px 20px; align-items: center; margin: 6px 0; }
.bar .buttons { margin: 0; }
.film .play { font: inherit; min-width: 5.5em; min-height: 36px; border: 1px solid var(--accent);
  border-radius: 6px; color: white; background: var(--accent); cursor: pointer; }
.film input { flex: 1 1 200px; min-height: 36px; }
.film output { min-width: 8em; font-variant-numeric: tabular-nums; }
.gallery { display: grid; gap: 8px 24px; }
@media (min-width: 900px) {
  .gallery { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); }
  .gallery .viewer { position: sticky; top: 8px; align-self: start; }
}
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(64px, 1fr)); gap: 6px; }
.tiles button { font: inherit; font-size: .7rem; padding: 2px; border: 1px solid transparent;
  border-radius: 4px; background: none; color: var(--muted); cursor: pointer;
  display: flex; flex-direction: column; align-items: center; }
.tiles canvas { width: 100%; aspect-ratio: 1; border-radius: 2px; display: block; }
.tiles .dead canvas { background: repeating-linear-gradient(45deg, #eceff2 0 6px, #fff 6px 12px); }
.tiles button:hover { border-color: var(--accent); }
.tiles button[aria-current] { border-color: var(--accent); background: #e6f1f8; color: var(--ink); }
"""
