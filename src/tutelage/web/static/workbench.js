"use strict";

const GONE = "The workbench does not answer. Is `tutelage ui` still running? What a run has done so far is kept.";

function tell(words) {
  const line = document.createElement("p");
  line.className = "fault";
  line.textContent = words;
  const fault = document.getElementById("fault");
  fault.replaceChildren(line);
  fault.scrollIntoView({ block: "center" });
}

// Uploads: a file is sent as it is, by PUT, and what is in it is shown. One that is too large is not sent at all: the answer
// that refuses it would be lost with the connection.
addEventListener("change", async (event) => {
  const input = event.target.closest?.("[data-upload]");
  if (!input || !input.files.length) return;
  const fault = document.getElementById("fault");
  const file = input.files[0];
  const most = Number(document.body.dataset.most);
  fault.replaceChildren();
  input.disabled = true;
  try {
    if (file.size > most) return tell(`${file.name} has ${file.size.toLocaleString("en")} bytes; ${most.toLocaleString("en")} may be uploaded. Put it into the folder of texts and name it there.`);
    const place = (input.dataset.to ?? "/files/") + encodeURIComponent(file.name);
    const reply = await fetch(place, { method: "PUT", body: file, headers: { "HX-Request": "true" } });
    const said = await reply.text();
    if ((reply.headers.get("content-type") ?? "").includes("json")) tell(JSON.parse(said).error);
    else htmx.swap(reply.ok ? document.querySelector(input.dataset.upload) : fault, said, { swapStyle: "innerHTML" });
    if (!reply.ok) fault.scrollIntoView({ block: "center" });
  } catch {
    tell(GONE);
  } finally {
    input.disabled = false;
    input.value = "";
  }
});
for (const lost of ["htmx:sendError", "htmx:sseError"]) addEventListener(lost, () => tell(GONE));
addEventListener("htmx:sseOpen", () => document.getElementById("fault").replaceChildren());

// A fault must be seen, wherever on the page its cause is.
addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "fault" && event.target.textContent.trim()) event.target.scrollIntoView({ block: "center" });
});
addEventListener("htmx:beforeRequest", () => document.getElementById("fault").replaceChildren());

// Between a request and the moment when its answer stands on the page and listens, the page is busy.
const root = document.documentElement;
let begun = 0, open = 0;
const idle = () => open || root.removeAttribute("data-busy");
addEventListener("htmx:beforeRequest", () => {
  begun += 1;
  open += 1;
  root.setAttribute("data-busy", "true");
});
addEventListener("htmx:afterSettle", idle);
addEventListener("htmx:afterRequest", () => {
  const own = begun;
  open -= 1;
  setTimeout(() => own === begun && idle(), 60); // answers that change nothing, and faults, settle nothing
});

// Keys: a key clicks what is marked with it, unless somebody is writing or holds a modifier. While the page is busy keys do
// nothing: who types ahead would label a text that is not there yet.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
  if (root.hasAttribute("data-busy")) return;
  const at = event.target;
  if (at.closest?.("textarea, select, input:not([type=checkbox]):not([type=radio])")) return;
  if (event.key === "Enter" && at.closest?.("button, a, summary")) return;
  const wanted = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (!wanted || wanted.disabled) return;
  event.preventDefault();
  wanted.click();
});

// After an answer the next text has the focus, so that a screen reader reads it and keys go on working.
addEventListener("htmx:afterSettle", (event) => {
  event.target.querySelector?.("[data-focus]")?.focus({ preventScroll: true });
});
