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

// Draws into the element of that id; its buttons change the figure and the sentence above it.
function draw(id, figure, buttons) {
  const element = document.getElementById(id);
  if (!plot(element, figure) || !buttons.length) return;
  const labels = buttons.map(button => button.label);
  choices(document.getElementById(id + "-buttons"), labels, 0, number => {
    const { traces, layout, look_for } = buttons[number];
    Plotly.update(element, traces, layout);
    if (look_for !== null) document.getElementById(id + "-look").textContent = look_for;
  });
}
