"use strict";
// The page can be read without this: it only speaks of times in the reader's own zone, and copies the digest.
for (const time of document.querySelectorAll("time")) {
  const form = { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  time.title = time.textContent;
  time.textContent = new Intl.DateTimeFormat("en-GB", form).format(new Date(time.dateTime));
}
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
