// Everything here only adds comfort: each page works without it.
"use strict";

const texts = document.body.dataset;

// Copy buttons: the word changes for two seconds and is announced; without a clipboard the value is selected.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const word = button.querySelector("[data-word]");
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    const before = word.textContent;
    word.textContent = texts.copied;
    setTimeout(() => { word.textContent = before; }, 2000);
  } catch {
    getSelection().selectAllChildren(source);
  }
});

// Selects that apply at once keep their button for people without JavaScript.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-apply]")) event.target.form.requestSubmit();
});

// Shortcuts: "/" search, "g d" domains, "g m" messages, "?" help. Off with the setting (WCAG 2.1.4).
let waiting = 0;
document.addEventListener("keydown", (event) => {
  if (texts.shortcuts !== "on" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const places = { m: texts.messages, d: texts.domains, o: "/" };
  if (Date.now() - waiting < 1200 && places[event.key]) { location.href = places[event.key]; return; }
  waiting = event.key === "g" ? Date.now() : 0;
  if (event.key === "/") {
    const field = document.querySelector("[data-search]");
    if (field) { field.focus(); event.preventDefault(); }
  }
  if (event.key === "?") location.href = texts.help;
});
