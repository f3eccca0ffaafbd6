"use strict";
(() => {
  // Charts: the page holds them drawn; where scripts run, Vega draws them again with tooltips and at the page's width.
  // `ast` interprets expressions instead of compiling them, so the page's policy need not allow eval.
  for (const plot of document.querySelectorAll("[data-spec]")) {
    const spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
    if (typeof spec.width === "number") spec.width = "container";
    const drawn = plot.querySelector("svg");
    const live = document.createElement("div");
    plot.append(live);
    drawn.style.display = "none";
    const options = {
      actions: false, ast: true, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true },
    };
    vegaEmbed(live, spec, options).then(() => drawn.remove(), () => { live.remove(); drawn.style.display = ""; });
  }

  // Disagreements: show those with a label, or with words.
  const form = document.querySelector("form.filter");
  if (!form) return;
  const items = [...document.querySelectorAll(".disagreements > li")];
  const labels = new Set(items.flatMap((item) => [item.dataset.teacher, item.dataset.student]));
  for (const label of [...labels].sort()) form.elements.label.append(new Option(label, label));
  const update = () => {
    const label = form.elements.label.value;
    const words = (form.elements.words?.value ?? "").toLowerCase();
    let shown = 0;
    for (const item of items) {
      const wanted = !label || label === item.dataset.teacher || label === item.dataset.student;
      item.hidden = !(wanted && item.textContent.toLowerCase().includes(words));
      shown += item.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = `${shown} of ${items.length}`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
