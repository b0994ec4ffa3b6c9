/** Scrolling of a log: it follows its end until somebody scrolls up, and never jumps when it grows above. */

const NEAR_END_PX = 60;
const NEAR_TOP_PX = 300;

export class Scroll {
  /** Whether the end stays in sight. */
  following = true;
  #box;
  #moved;
  #nearTop;

  /**
   * @param {HTMLElement} box
   * @param {{moved: () => void, nearTop: () => void}} told moved: following began or ended; nearTop: time for older messages
   */
  constructor(box, { moved, nearTop }) {
    this.#box = box;
    this.#moved = moved;
    this.#nearTop = nearTop;
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const watch = new ResizeObserver(() => this.following && this.#toEnd());
    watch.observe(box);
    watch.observe(box.firstElementChild);
  }

  /** Go to the end and stay there. */
  follow() {
    this.following = true;
    this.#toEnd();
  }

  /** Let `change` alter the content while what is being read stays where it is. */
  keep(change) {
    const anchor = this.following ? null : this.#firstInSight();
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (this.following) this.#toEnd();
    else if (anchor?.isConnected) this.#box.scrollTop += anchor.getBoundingClientRect().top - before;
    if (this.#box.scrollHeight <= this.#box.clientHeight) this.#nearTop();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    const following = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (following !== this.following) {
      this.following = following;
      this.#moved();
    }
    if (scrollTop < NEAR_TOP_PX && !following) this.#nearTop();
  }

  #toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  #firstInSight() {
    const top = this.#box.getBoundingClientRect().top;
    return [...this.#box.querySelectorAll(".message")].find((node) => node.getBoundingClientRect().bottom > top);
  }
}
