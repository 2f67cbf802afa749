/* The review queue. Without this file it works by buttons and whole pages.

   [data-review]                region that is swapped for the next card (data-said, data-keep-url, data-draft-url,
                                data-keep-seconds, data-lost)
   [data-review-form]           the form of the card; [data-lead] gets the seconds that it was looked at
   [data-key="a"]               is pressed by the key a, unless somebody is typing
   [data-edit]                  <details> with the texts; [data-save] saves them (Ctrl+Enter), Escape leaves
   [data-edit-fields]           what is typed in there is kept as a draft; the answer fills #edit-check               */

import { toast } from "./app.js";

const typing = "input:not([type=checkbox]), textarea, select, [contenteditable]";
const region = () => document.querySelector("[data-review]");
const form = () => document.querySelector("[data-review-form]");
const edit = () => document.querySelector("[data-edit]");

/* --- How long the card was looked at: only while the page can be seen. */
let seen = 0;
let since = document.hidden ? null : performance.now();
const look = () => seen + (since === null ? 0 : performance.now() - since);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    seen = look();
    since = null;
    keepDraft(true);
  } else {
    since = performance.now();
    keepRow();
  }
});

function noteLead() {
  const field = form()?.querySelector("[data-lead]");
  if (field) field.value = (look() / 1000).toFixed(2);
}
document.addEventListener("submit", noteLead, true);
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.matches?.("[data-review-form]")) event.detail.parameters.set("lead_seconds", (look() / 1000).toFixed(2));
});

/* --- The row is held while the card is open. */
async function keepRow() {
  const card = form();
  if (!card || document.hidden) return;
  const body = new FormData();
  for (const name of ["row", "csrfmiddlewaretoken"]) body.set(name, card.elements[name].value);
  try {
    const answer = await fetch(region().dataset.keepUrl, { method: "POST", body });
    if (answer.ok && !(await answer.json()).held && card === form()) toast(region().dataset.lost, "warn");
  } catch (error) {
    /* No connection: the row is held for some minutes anyway. */
  }
}

/* --- Drafts. */
let changed = false;
let draftTimer = null;

async function keepDraft(isLeaving = false) {
  const card = form();
  clearTimeout(draftTimer);
  draftTimer = null;
  if (!card || !changed) return;
  changed = false;
  try {
    const answer = await fetch(region().dataset.draftUrl, {
      method: "POST",
      body: new FormData(card),
      keepalive: isLeaving,
      headers: { "HX-Request": "true" },
    });
    const text = await answer.text();
    if (card !== form()) return;
    if (answer.ok) {
      const place = document.getElementById("edit-check");
      /* Rendered and escaped by the server; the policy of the site runs no script that stood in it. */
      if (!changed) place.replaceChildren(document.createRange().createContextualFragment(text));
    } else changed = true;
  } catch (error) {
    changed = true;
  }
  if (changed) draftTimer ??= setTimeout(keepDraft, 4000);
}

document.addEventListener("input", (event) => {
  if (!event.target.closest("[data-edit-fields]")) return;
  changed = true;
  draftTimer ??= setTimeout(keepDraft, 1500);
});
document.addEventListener("focusout", (event) => {
  if (event.target.closest("[data-edit-fields]")) keepDraft();
});
window.addEventListener("pagehide", () => keepDraft(true));

/* --- A new card: say what happened, begin at its top, hold it. */
let keeping = null;

function begin(isFirst) {
  const here = region();
  if (!here) return;
  seen = 0;
  since = document.hidden ? null : performance.now();
  changed = false;
  clearInterval(keeping);
  keeping = setInterval(keepRow, Number(here.dataset.keepSeconds) * 1000);
  const opener = here.querySelector("[data-open-edit]");
  if (opener) opener.hidden = false;
  const title = here.querySelector("[data-review-title]");
  if (isFirst) return;
  document.getElementById("review-said").textContent = `${here.dataset.said} ${title?.textContent ?? ""}`.trim();
  const alarm = here.querySelector("[role=alert]");
  if (alarm && edit()?.open) openEdit();
  else title?.focus({ preventScroll: true });
  if (!alarm) here.scrollIntoView({ block: "start" });
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "review") begin(false);
});
begin(true);

/* --- Keys. */
function openEdit() {
  const details = edit();
  if (!details) return;
  details.open = true;
  const fields = [...details.querySelectorAll("textarea, input[type=text]")];
  fields.at(-1)?.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-edit]")) openEdit();
});

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  const inEdit = event.target.closest("[data-edit-fields]");
  if (inEdit && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    document.querySelector("[data-save]")?.click();
    return;
  }
  if (inEdit && event.key === "Enter" && event.target.matches("input")) {
    event.preventDefault(); /* Enter in the label's field would press the first button of the form */
    return;
  }
  if (event.key === "Escape" && edit()?.open) {
    keepDraft();
    edit().open = false;
    region().querySelector("[data-review-title]")?.focus({ preventScroll: true });
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest(typing)) return;
  const key = event.key.toLowerCase();
  const node = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  if (!node) return;
  event.preventDefault();
  if (key === "e") openEdit();
  else node.click();
});
