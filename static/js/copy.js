/* Copy buttons. In a box with data-copy-box, the button with data-copy copies the text of data-copy-source.
   data-copied-label on the button is the word shown for two seconds afterwards. */

async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea"); // plain http inside a house has no clipboard API
  area.value = text;
  area.className = "sr-only";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copy refused");
}

function selectText(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.closest("[data-copy-box]")?.querySelector("[data-copy-source]");
  if (!source) return;
  const word = button.querySelector("[data-copy-word]") || button;
  const before = word.textContent;
  try {
    await copyText("value" in source ? source.value : source.textContent);
    word.textContent = button.dataset.copiedLabel || before;
    window.setTimeout(() => { word.textContent = before; }, 2000);
  } catch (error) {
    selectText(source); // the person can still press Ctrl+C
  }
});
