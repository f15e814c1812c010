// What makes the page quicker where there is JavaScript: it refreshes by itself, and questions open in a dialog.
// Everything works without it: this file only asks for what a click would, and sends the same forms.
"use strict";

const LEAST_MS = 2000; // between two refreshes, however much changes
const USUAL_MS = 60000; // so that "3 minutes ago" stays true
const HINTS = ["channel", "releases", "devices", "alarms", "reload"];

function parse(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

function isUsed(part) {
  return part.contains(document.activeElement) || document.querySelector("dialog[open]");
}

// Put what has changed into its place, unless somebody is just using it.
async function refresh() {
  const answer = await fetch(location.href, { redirect: "error" });
  if (!answer.ok) return;
  const fresh = parse(await answer.text());
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (other && other.innerHTML !== part.innerHTML && !isUsed(part)) part.replaceChildren(...other.childNodes);
  }
}

let waiting = 0;
let last = 0;

function soon() {
  if (waiting || document.hidden) return;
  waiting = setTimeout(() => {
    waiting = 0;
    last = Date.now();
    refresh().catch(() => {});
  }, Math.max(250, last + LEAST_MS - Date.now()));
}

// Listen while somebody looks: a browser has few connections to one host, and other tabs want theirs.
let source = null;

function listen() {
  if (document.hidden) {
    if (source) source.close();
    source = null;
  } else if (!source) {
    source = new EventSource(document.body.dataset.events);
    for (const hint of HINTS) source.addEventListener(hint, soon);
  }
}

if (document.querySelector("[data-live]")) {
  setInterval(soon, USUAL_MS);
  if (document.body.dataset.events) {
    listen();
    document.addEventListener("visibilitychange", () => { listen(); soon(); });
  }
}

// Show the question behind a link in a dialog; where that fails, the link leads to it.
async function ask(link) {
  const answer = await fetch(link.href, { redirect: "error" });
  const asked = parse(await answer.text()).querySelector("[data-ask]");
  if (!asked) throw new Error("no question");
  const dialog = document.createElement("dialog");
  const heading = asked.querySelector("h1");
  heading.id = "dialog-title";
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(asked);
  for (const form of dialog.querySelectorAll("form:not([action])")) form.action = link.href;
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("[data-close]") && event.target !== dialog) return;
    event.preventDefault();
    dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  ask(link).catch(() => { location.href = link.href; });
});
