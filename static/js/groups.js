/* Single keys on the page of duplicates. Hooks: [data-groups] holds [data-group] cards, open ones with [data-open];
   in a card buttons with data-group-key="1" (keep the first row) and so on, and button[data-group-undo].
   Without this file the buttons work as buttons. */

const list = document.querySelector("[data-groups]");
const typing = "input:not([type=checkbox]), textarea, select, [contenteditable]";
let lastSettled = null; // id of the card that was decided last

const open = () => [...list.querySelectorAll("[data-open]")];

function show(card) {
  list.querySelectorAll(".group-current").forEach((node) => node.classList.remove("group-current"));
  if (!card) return;
  card.classList.add("group-current");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function current() {
  return list.querySelector(".group-current[data-open]") || open()[0] || null;
}

function press(card, key) {
  const button = card.querySelector(`[data-group-key="${key}"]`);
  if (!button) return;
  lastSettled = card.id;
  button.click();
}

document.addEventListener("keydown", (event) => {
  if (!list || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(typing)) return;
  const key = event.key.toLowerCase();
  const card = current();
  if (key === "u") {
    const undo =
      document.getElementById(lastSettled || "")?.querySelector("[data-group-undo]") ||
      list.querySelector("[data-group-undo]");
    undo?.click();
  } else if (!card) return;
  else if (key === "n") {
    const cards = open();
    show(cards[(cards.indexOf(card) + 1) % cards.length]);
  } else if (/^[1-9bfk]$/.test(key)) press(card, key);
  else return;
  event.preventDefault();
});

document.addEventListener("htmx:afterSettle", () => {
  if (lastSettled) show(open()[0]);
});
