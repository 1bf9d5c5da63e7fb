// Looks every few seconds where the delivery is. Without this script the page loads itself again.
"use strict";
const SECONDS = 3;

async function look() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = document.getElementById("live"), then = page.getElementById("live");
      if (then.dataset.state !== now.dataset.state) {
        location.replace(location.pathname);
        return;
      }
      if (then.textContent !== now.textContent) {
        now.replaceChildren(...then.childNodes);
      }
    }
  } catch {
    // The line is cut; the next look may find it again.
  }
  setTimeout(look, 1000 * SECONDS);
}

setTimeout(look, 1000 * SECONDS);
