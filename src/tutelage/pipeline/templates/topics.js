"use strict";
(() => {
  // Terms: rank by λ · frequent + (1 − λ) · exclusive, and show the first twelve.
  const slider = document.querySelector("form.terms-of");
  if (slider) {
    const rank = () => {
      const lambda = Number(slider.elements.lambda.value);
      slider.querySelector("output").textContent = lambda.toFixed(2);
      for (const list of document.querySelectorAll(".terms")) {
        const score = (item) => lambda * item.dataset.f + (1 - lambda) * item.dataset.e;
        [...list.children].sort((a, b) => score(b) - score(a)).forEach((item, place) => {
          item.classList.toggle("more", place >= 12);
          list.append(item);
        });
      }
    };
    slider.addEventListener("input", rank);
    slider.addEventListener("submit", (event) => event.preventDefault());
    slider.hidden = false;
    rank();
  }

  // Answers: show those of a topic, question or paper, or with words.
  const form = document.querySelector("form.answers-of");
  const items = [...document.querySelectorAll(".answers > li")];
  const keys = ["topic", "question", "document"];
  const update = () => {
    const words = form.elements.words.value.toLowerCase();
    let shown = 0;
    for (const item of items) {
      const wanted = keys.every((key) => !form.elements[key].value || form.elements[key].value === item.dataset[key]);
      item.hidden = !(wanted && item.textContent.toLowerCase().includes(words));
      shown += item.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = `${shown} of ${items.length}`;
    for (const link of document.querySelectorAll(".map a")) {
      link.classList.toggle("chosen", link.dataset.topic === form.elements.topic.value);
    }
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  for (const link of document.querySelectorAll("[data-show], .map a")) {
    link.addEventListener("click", () => {
      form.elements.topic.value = link.dataset.show ?? link.dataset.topic;
      update();
    });
  }

  // A link to an answer opens its passage, whatever the filter hides.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || !items.includes(target)) return;
    if (target.hidden) {
      form.reset();
      update();
    }
    target.querySelector("details").open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  update();
  open();
})();
