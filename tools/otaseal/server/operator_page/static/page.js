// What makes the page quicker where there is JavaScript: it refreshes by itself, and questions open in a dialog.
// Everything works without it: this file only asks for what a click would, and sends the same forms.
"use strict";

const REFRESH_MS = 5000;

function parse(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

// Put what has changed into its place, unless somebody is just using it.
async function refresh() {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  const answer = await fetch(location.href, { redirect: "error" });
  if (!answer.ok) return;
  const fresh = parse(await answer.text());
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
      part.replaceChildren(...other.childNodes);
    }
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
  for (const form of dialog.querySelectorAll("form")) form.action = link.href;
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  dialog.addEventListener("click", (event) => {
    const cancel = event.target.closest("[data-close]");
    if (cancel || event.target === dialog) { event.preventDefault(); dialog.close(); }
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

if (document.querySelector("[data-live]")) {
  setInterval(() => refresh().catch(() => {}), REFRESH_MS);
}
