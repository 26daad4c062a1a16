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

// A table whose rows can be sorted by pressing a column's name, and saved as CSV.
function sortable(id, file) {
  const table = document.getElementById(id);
  const rows = () => [...table.tBodies[0].rows];
  const text = row => [...row.cells].map(cell => cell.textContent);
  // Of a cell: its number, "> 5,000" after 5,000; H:MM:SS in seconds. Words and dashes come after all numbers.
  const rank = word => {
    if (/^\d+(:\d\d)+$/.test(word)) return word.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
    const number = /^(> )?(\d[\d,]*(\.\d+)?(e[+-]?\d+)?)/.exec(word);
    return number ? parseFloat(number[2].replaceAll(",", "")) + (number[1] ? 0.5 : 0) : Infinity;
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (one, two) => {
        const [a, b] = [one, two].map(row => row.cells[column].textContent);
        if (rank(a) !== rank(b)) return rank(a) < rank(b) ? -1 : 1;
        return a.localeCompare(b, undefined, { numeric: true });
      };
      const sorted = rows().sort((one, two) => (down ? -1 : 1) * order(one, two));
      table.tBodies[0].append(...sorted);
    });
  });
  const quoted = word => (/[",\n]/.test(word) ? '"' + word.replaceAll('"', '""') + '"' : word);
  const save = document.createElement("button");
  save.type = "button";
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => {
    const lines = [heads.map(head => head.textContent), ...rows().map(text)];
    const content = lines.map(line => line.map(quoted).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
    link.download = file;
    link.click();
  });
  const bar = document.createElement("div");
  bar.className = "buttons";
  bar.append(save);
  table.parentElement.before(bar);
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
  if (!plot(element, figure)) return;
  element.on("plotly_click", event => {
    const to = event.points[0].customdata?.[1]; // as the cells of a phase diagram have it
    if (typeof to === "string" && /^[\w.]*#cell-\d+$/.test(to)) location.href = to;
  });
  if (!buttons.length) return;
  const labels = buttons.map(button => button.label);
  choices(document.getElementById(id + "-buttons"), labels, 0, number => {
    const { traces, layout, look_for } = buttons[number];
    Plotly.update(element, traces, layout);
    if (look_for !== null) document.getElementById(id + "-look").textContent = look_for;
  });
}
