// Keeps the overview fresh: fetches its changing part every few seconds while somebody can see it.
"use strict";
(() => {
  const PERIOD = 5000;
  const live = document.getElementById("live");
  const told = document.getElementById("live-told");
  const pause = document.getElementById("live-pause");
  let paused = false;
  let timer = 0;

  function put(text) {
    const held = live.contains(document.activeElement) ? document.activeElement : null;
    const address = held && held.getAttribute("href");
    const summary = held && held.tagName === "SUMMARY";
    const open = live.querySelector("details").open;
    const scrolled = [...live.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    live.innerHTML = text;
    live.querySelector("details").open = open;
    live.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolled[place] || 0; });
    const again = summary ? live.querySelector("summary")
      : address && [...live.querySelectorAll("a")].find((one) => one.getAttribute("href") === address);
    if (again) again.focus({ preventScroll: true });
  }

  async function look() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(live.dataset.address, { redirect: "manual", credentials: "same-origin" });
      if (answer.type === "opaqueredirect") { location.reload(); return; } // signed out
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (!paused) {
        put(text);
        told.textContent = `As of ${live.querySelector("[data-at]").dataset.at} UTC, looked at every 5 s.`;
        told.classList.remove("stale");
      }
    } catch (error) {
      told.textContent = `The site does not answer (${error.message}); this is as of ${live.querySelector("[data-at]").dataset.at} UTC.`;
      told.classList.add("stale");
    }
    timer = setTimeout(look, PERIOD);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    look();
  });
  document.addEventListener("visibilitychange", look);
  timer = setTimeout(look, PERIOD);
})();
