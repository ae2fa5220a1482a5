// Everything works without this file: it folds the menu on small screens and shows the print button.
(function () {
  "use strict";

  var button = document.querySelector(".menu-button");
  var menu = document.getElementById("site-menu");

  if (button && menu) {
    document.documentElement.classList.add("folds-menu");
    button.hidden = false;
    button.addEventListener("click", function () {
      var open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
    });
    document.addEventListener("keydown", function (event) {
      if (event.key === "Escape" && button.getAttribute("aria-expanded") === "true") {
        button.setAttribute("aria-expanded", "false");
        button.focus();
      }
    });
  }

  document.querySelectorAll("[data-print]").forEach(function (print) {
    print.hidden = false;
    print.addEventListener("click", function () {
      window.print();
    });
  });
})();
