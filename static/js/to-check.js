/* The queue of answers to check. Without this file it works by buttons.

   [data-key="a"]       is pressed by the key a, unless somebody is typing
   [data-edit]          <details> with the correction; Escape leaves it
   [data-save]          is pressed by Ctrl+Enter in the correction                                                  */

const typing = "input, textarea, select, [contenteditable]";

function open(details) {
  details.open = true;
  const field = details.querySelector("textarea");
  field?.focus();
  field?.select();
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.repeat) return;
  const edit = event.target.closest("[data-edit]");
  if (edit && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    edit.querySelector("[data-save]")?.click();
    return;
  }
  if (edit && event.key === "Escape") {
    edit.open = false;
    edit.querySelector("summary")?.focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(typing)) return;
  const key = event.key.toLowerCase();
  const node = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  if (!node) return;
  event.preventDefault();
  if (node.matches("summary")) open(node.parentElement);
  else node.click();
});
