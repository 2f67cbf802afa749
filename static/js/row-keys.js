/* Single keys on a row's page: an element with data-key="a" is pressed by the key a, unless somebody is typing.
   Without this file the buttons work as buttons. */

const typing = "input, textarea, select, [contenteditable]";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(typing)) return;
  const key = event.key.toLowerCase();
  const node = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  if (!node) return;
  event.preventDefault();
  node.click();
  if (node.tagName === "SUMMARY") node.parentElement.querySelector("textarea")?.focus();
});
