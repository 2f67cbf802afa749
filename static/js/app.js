/* What every page has: the look switch, menus that close, dialogs, and a word when the server does not answer.

   data-theme-toggle            button that switches light and dark
   data-menu                    <details> menu: closes on Escape and on a press elsewhere
   data-dialog-open="ID"        button that opens <dialog id="ID">; data-dialog-close closes it
   data-form-errors             summary of a refused form: takes the focus when it arrives
   #toasts                      region for notices that come from scripts                              */

const root = document.documentElement;

function systemIsDark() {
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function currentTheme() {
  return root.dataset.theme || (systemIsDark() ? "dark" : "light");
}

function labelToggle(button) {
  const isDark = currentTheme() === "dark";
  button.setAttribute("aria-label", isDark ? button.dataset.labelLight : button.dataset.labelDark);
  button.title = button.getAttribute("aria-label");
  const use = button.querySelector("use");
  if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*$/, isDark ? "#sun" : "#moon"));
}

document.querySelectorAll("[data-theme-toggle]").forEach((button) => {
  labelToggle(button);
  button.addEventListener("click", () => {
    root.dataset.theme = currentTheme() === "dark" ? "light" : "dark";
    try {
      window.localStorage.setItem("tunesmith-theme", root.dataset.theme);
    } catch (error) {
      /* The choice then lasts for this page only. */
    }
    labelToggle(button);
    document.dispatchEvent(new CustomEvent("themechange"));
  });
});

document.addEventListener("click", (event) => {
  document.querySelectorAll("details[data-menu][open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  const opener = event.target.closest("[data-dialog-open]");
  if (opener) document.getElementById(opener.dataset.dialogOpen)?.showModal();
  if (event.target.closest("[data-dialog-close]")) event.target.closest("dialog")?.close();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelectorAll("details[data-menu][open]").forEach((menu) => {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
});

/* Errors above a form: people of screen readers and keyboards land on them. */
function focusFormErrors(container) {
  const summary = container.querySelector?.("[data-form-errors]");
  if (!summary) return;
  summary.tabIndex = -1;
  summary.focus();
}
focusFormErrors(document);
document.addEventListener("htmx:afterSettle", (event) => focusFormErrors(event.target));

export function toast(text, tone = "bad") {
  const region = document.getElementById("toasts");
  if (!region || !text) return;
  const notice = document.createElement("div");
  notice.className = `notice notice-${tone}`;
  const words = document.createElement("div");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button button-icon";
  close.setAttribute("aria-label", region.dataset.closeLabel || "Close");
  close.textContent = "×";
  close.addEventListener("click", () => notice.remove());
  const spacer = document.createElement("span");
  notice.append(spacer, words, close);
  region.append(notice);
  while (region.children.length > 3) region.firstElementChild.remove();
}

/* A refusal that says where it belongs (HX-Retarget) is shown there; any other error gets a plain word. */
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status >= 400 && xhr.getResponseHeader("HX-Retarget")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});
document.addEventListener("htmx:sendError", () => toast(document.getElementById("toasts")?.dataset.networkError));
document.addEventListener("htmx:responseError", () => toast(document.getElementById("toasts")?.dataset.serverError));

/* On a phone the sections are one strip: bring the current one into sight. */
const strip = document.querySelector(".sidenav");
const current = strip?.querySelector("[aria-current]");
if (current && strip.scrollWidth > strip.clientWidth) {
  strip.scrollLeft = current.offsetLeft - (strip.clientWidth - current.offsetWidth) / 2;
}

/* The same for a strip of tabs that is wider than the screen. */
document.querySelectorAll(".tabs").forEach((tabs) => {
  const tab = tabs.querySelector("[aria-current]");
  if (!tab || tabs.scrollWidth <= tabs.clientWidth) return;
  const place = tab.getBoundingClientRect();
  tabs.scrollLeft += place.left - tabs.getBoundingClientRect().left - (tabs.clientWidth - place.width) / 2;
});
