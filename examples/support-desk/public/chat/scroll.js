/** Keeps the newest message in view for those who look at it, and the place of those who look at older ones. */

const NEAR = 80; // pixels: so close to the end one looks at the newest

/** `around(change)` wraps every change of the log; `older()` is called when its top comes into view. */
export function keepInView(log, news, older) {
  let atEnd = true;
  let lastChild = null;
  const toEnd = () => (log.scrollTop = log.scrollHeight);
  const look = () => {
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    if (atEnd) news.hidden = true;
    if (log.scrollTop < NEAR) older();
  };
  log.addEventListener("scroll", look, { passive: true });
  news.addEventListener("click", () => {
    toEnd();
    log.focus({ preventScroll: true }); // the button goes away
  });
  const resized = new ResizeObserver(() => atEnd && toEnd());
  resized.observe(log);

  const around = (change) => {
    const first = log.querySelector("[data-seq]");
    const from = first?.getBoundingClientRect().top;
    change();
    const last = log.querySelector(".messages")?.lastElementChild ?? null;
    if (atEnd) toEnd();
    else {
      if (first?.isConnected) log.scrollTop += first.getBoundingClientRect().top - from;
      if (last?.dataset.key !== lastChild) news.hidden = false;
    }
    lastChild = last?.dataset.key ?? null;
    if (log.scrollHeight <= log.clientHeight) older();
  };
  return { around, stop: () => resized.disconnect() };
}
