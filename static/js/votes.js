/* Judging answers. Without this file it works by buttons and whole pages.

   [data-votes]        region that is swapped for the next case (data-said, data-draft-url, data-keep-seconds, data-lost)
   [data-vote-form]    the form of the case; [data-lead] gets the seconds that it was looked at
   [data-key="1"]      is pressed by the key 1, unless somebody is typing; [data-arrow="ArrowLeft"] by that arrow
   [data-question]     fieldset with the marks 1 to 5 of one question
   [data-write]        <details> with the texts; what is typed in [data-typed] is kept as a draft; [data-save] saves   */

import { toast } from "./app.js";

const typing = "input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]";
const region = () => document.querySelector("[data-votes]");
const form = () => document.querySelector("[data-vote-form]");
const write = () => document.querySelector("[data-write]");

/* --- How long the case was looked at: only while the page can be seen. */
let seen = 0;
let since = document.hidden ? null : performance.now();
const look = () => seen + (since === null ? 0 : performance.now() - since);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    seen = look();
    since = null;
    if (changed) keepDraft(true);
  } else {
    since = performance.now();
    keepDraft();
  }
});
document.addEventListener(
  "submit",
  () => {
    const field = form()?.querySelector("[data-lead]");
    if (field) field.value = (look() / 1000).toFixed(2);
  },
  true,
);
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.matches?.("[data-vote-form]")) event.detail.parameters.set("lead_seconds", (look() / 1000).toFixed(2));
});

/* --- The case is held while it is open, and what was typed is kept. */
let changed = false;
let draftTimer = null;

async function keepDraft(isLeaving = false) {
  const card = form();
  clearTimeout(draftTimer);
  draftTimer = null;
  if (!card || (document.hidden && !isLeaving)) return;
  const body = new FormData(card);
  const isDraft = changed;
  if (!isDraft) for (const name of [...body.keys()]) if (!["item", "csrfmiddlewaretoken"].includes(name)) body.delete(name);
  changed = false;
  try {
    const answer = await fetch(region().dataset.draftUrl, { method: "POST", body, keepalive: isLeaving });
    if (card !== form()) return;
    if (!answer.ok) changed ||= isDraft && answer.status >= 500; /* else it would be refused again */
    else {
      const told = await answer.json();
      if (card !== form()) return;
      if (!told.held) toast(told.why ?? region().dataset.lost, "warn");
      else if (isDraft && !changed) card.querySelector("[data-draft-said]").hidden = false;
    }
  } catch (error) {
    changed ||= isDraft; /* No connection: the case is held for some minutes anyway. */
  }
  if (changed) draftTimer ??= setTimeout(keepDraft, 4000);
}

document.addEventListener("input", (event) => {
  if (!event.target.closest("[data-typed], [data-question]")) return;
  changed = true;
  draftTimer ??= setTimeout(keepDraft, 1500);
});
document.addEventListener("focusout", (event) => {
  if (changed && event.target.closest("[data-typed]")) keepDraft();
});
window.addEventListener("pagehide", () => changed && keepDraft(true));

/* --- A new case: say what happened, begin at its top, hold it. */
let keeping = null;

function begin(isFirst) {
  const here = region();
  if (!here) return;
  seen = 0;
  since = document.hidden ? null : performance.now();
  changed = false;
  clearTimeout(draftTimer);
  draftTimer = null;
  clearInterval(keeping);
  keeping = setInterval(keepDraft, Number(here.dataset.keepSeconds) * 1000);
  const title = here.querySelector("[data-vote-title]");
  if (isFirst) return;
  document.getElementById("votes-said").textContent = `${here.dataset.said} ${title?.textContent ?? ""}`.trim();
  if (here.querySelector("[role=alert]")) return;
  title?.focus({ preventScroll: true });
  here.scrollIntoView({ block: "start" });
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "votes") begin(false);
});
begin(true);

/* --- Keys. */
const chosen = (question) => question.querySelector("input:checked");

/* The mark goes to the question that has the focus, else to the first one without a mark. */
function mark(number) {
  const questions = [...document.querySelectorAll("[data-question]")];
  if (!questions.length || !/^[1-5]$/.test(number)) return false;
  const here = document.activeElement?.closest("[data-question]") ?? questions.find((one) => !chosen(one)) ?? questions.at(-1);
  const input = here.querySelector(`input[value="${number}"]`);
  input.checked = true;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  const next = questions[questions.indexOf(here) + 1];
  (next ? chosen(next) ?? next.querySelector("input") : document.querySelector("[data-save]"))?.focus();
  return true;
}

function openText() {
  write().open = true;
  document.getElementById("vote-correction").focus();
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  const inText = event.target.closest("[data-typed]");
  if (inText && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    document.querySelector("[data-save]")?.click();
    return;
  }
  if (inText && event.key === "Escape") {
    if (changed) keepDraft();
    region().querySelector("[data-vote-title]")?.focus({ preventScroll: true });
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest(typing)) return;
  if (mark(event.key)) {
    event.preventDefault();
    return;
  }
  if (event.key === "Enter" && event.target.matches("input[type=radio]")) {
    event.preventDefault();
    document.querySelector("[data-save]")?.click();
    return;
  }
  const key = event.key.toLowerCase();
  const fits = (node) => node.dataset.key === key || node.dataset.arrow === event.key;
  const node = [...document.querySelectorAll("[data-key], [data-arrow]")].find(fits);
  if (!node) return;
  event.preventDefault();
  if (key === "c") openText();
  else node.click();
});
