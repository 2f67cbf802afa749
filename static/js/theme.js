/* Runs before the first paint: the person's chosen look, and the mark that scripts are on. */
(function () {
  var root = document.documentElement;
  root.setAttribute("data-js", "");
  try {
    var chosen = window.localStorage.getItem("tunesmith-theme");
    if (chosen === "light" || chosen === "dark") root.setAttribute("data-theme", chosen);
  } catch (error) {
    /* Storage may be switched off; then the system's look is used. */
  }
})();
