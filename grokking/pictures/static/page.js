// Draws a figure into an element; false where plotly.js is missing.
function plot(element, figure, more = {}) {
  if (!window.Plotly) {
    element.textContent = "The copy of plotly.js that belongs beside this page is missing.";
    return false;
  }
  Plotly.newPlot(element, figure.data, figure.layout, {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    showLink: false,
    plotlyServerURL: "",
    topojsonURL: "",
    toImageButtonOptions: { filename: document.title },
    ...more,
  });
  return true;
}

// Draws into the element of that id, whose buttons call plotly with their own arguments.
function draw(id, figure, buttons) {
  const element = document.getElementById(id);
  if (!plot(element, figure)) return;
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
