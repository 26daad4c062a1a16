"""The stylesheet and the script that every page carries inline."""

from grokking.pictures.style import FONT, INK, MUTED, RULE

# No page fetches anything: the browser itself enforces it.
POLICY = (
    "connect-src 'none'; img-src data: blob:; font-src 'none'; media-src 'none'; "
    "frame-src 'none'; object-src 'none'; form-action 'none'; base-uri 'none'"
)

STYLESHEET = f"""
:root {{ color-scheme: light; --ink: {INK}; --muted: {MUTED}; --rule: {RULE}; --accent: #0072B2; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: white; color: var(--ink); font: 16px/1.5 {FONT}; }}
main {{ max-width: 1400px; margin: 0 auto; padding: 20px clamp(12px, 3vw, 32px) 40px;
  overflow-wrap: anywhere; }}
h1 {{ font-size: clamp(1.35rem, 1.1rem + 1vw, 1.8rem); line-height: 1.2; margin: 0 0 .3em; }}
h2 {{ font-size: 1.15rem; line-height: 1.3; margin: 1.6em 0 .2em; }}
p {{ margin: .2em 0 .6em; max-width: 78ch; }}
a {{ color: var(--accent); }}
.look {{ color: var(--muted); }}
.row {{ display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start; }}
.row.even {{ display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }}
.row > figure {{ flex: var(--share) 1 calc(var(--share) * 280px); min-width: min(100%, 260px); }}
figure {{ margin: 0; }}
figure h2 {{ margin-top: .3em; }}
.plot {{ width: 100%; max-height: 600px; }}
.buttons {{ display: flex; flex-wrap: wrap; gap: 6px; margin: 8px 0; }}
.buttons button {{ font: inherit; font-size: .9rem; color: var(--ink); background: white;
  border: 1px solid #b6bfca; border-radius: 6px; padding: 6px 14px; min-height: 36px;
  cursor: pointer; }}
.buttons button:hover {{ border-color: var(--accent); }}
.buttons button[aria-pressed="true"] {{ color: white; background: var(--accent);
  border-color: var(--accent); }}
:focus-visible {{ outline: 3px solid #56B4E9; outline-offset: 2px; }}
dl {{ display: flex; flex-wrap: wrap; gap: 6px 28px; margin: .6em 0; }}
dt {{ color: var(--muted); font-size: .8rem; }}
dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; color: var(--muted); padding-bottom: 4px; }}
summary {{ color: var(--muted); font-size: .9rem; cursor: pointer; margin: .3em 0; }}
@media print {{
  .buttons, .bar, details, .modebar-container {{ display: none; }}
  figure, tr {{ break-inside: avoid; }}
  h2 {{ break-after: avoid; }}
}}
th, td {{ text-align: left; vertical-align: top; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--rule);
  overflow-wrap: normal; }}
"""

# plot: draws a figure into an element. draw: into the element of that id, whose buttons call plotly
# with their own arguments.
SCRIPT = """
function plot(element, figure, more = {}) {
  if (!window.Plotly) {
    element.textContent = "The copy of plotly.js that belongs beside this page is missing.";
    return;
  }
  Plotly.newPlot(element, figure.data, figure.layout, {
    responsive: true, displaylogo: false, showSendToCloud: false, showLink: false,
    plotlyServerURL: "", topojsonURL: "", toImageButtonOptions: {filename: document.title},
    ...more,
  });
}

function draw(id, figure, buttons) {
  const element = document.getElementById(id);
  plot(element, figure);
  if (!window.Plotly) return;
  buttons.forEach((button, number) => {
    const control = document.getElementById(id + "-button-" + (number + 1));
    control.addEventListener("click", () => {
      for (const other of control.parentElement.children)
        other.setAttribute("aria-pressed", other === control);
      Plotly[button.method](element, ...button.args);
      if (button.look_for !== null)
        document.getElementById(id + "-look").textContent = button.look_for;
    });
  });
}
"""
