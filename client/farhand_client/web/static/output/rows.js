// @ts-check
/** A list of which only the rows in sight are elements: a million scroll as a hundred do. */

/** Rows above and below those in sight, so that a quick scroll shows no blank. */
const MARGIN = 20;

export class VirtualRows {
  /**
   * @param {HTMLElement} viewport scrolls
   * @param {(number: number) => HTMLElement} draw returns the element of a row
   */
  constructor(viewport, draw) {
    this._viewport = viewport;
    this._draw = draw;
    this._content = document.createElement("div");
    this._content.className = "rows";
    this._shown = document.createElement("div");
    this._shown.className = "rows-shown";
    this._content.append(this._shown);
    viewport.append(this._content);
    this._count = 0;
    this._rowHeight = 20;
    this._frame = 0;
    this._drawnFrom = -1;
    this._drawnTo = -1;
    this._following = true;
    /** Called when following begins or ends. */
    this.onFollow = () => {};
    viewport.addEventListener("scroll", () => this._scrolled(), { passive: true });
    // Known from the observer, since asking an element makes the browser lay everything out at once.
    this._height = 0;
    this._measured = false;
    this._observer = new ResizeObserver(([{ contentRect }]) => {
      this._height = contentRect.height;
      this._measured = false; // as with another zoom
      this._later();
    });
    this._observer.observe(viewport);
  }

  /** Whether the newest row stays in sight. */
  get following() {
    return this._following;
  }

  set following(follow) {
    if (this._following === follow) return;
    this._following = follow;
    this.onFollow();
    this._later();
  }

  /** The number of the first row in sight. */
  get first() {
    return Math.floor(this._viewport.scrollTop / this._rowHeight);
  }

  /**
   * Show so many rows; `dropped` of the old ones are gone from the beginning.
   * @param {number} count
   * @param {number} [dropped]
   */
  update(count, dropped = 0) {
    this._count = count;
    if (dropped > 0 && !this._following) this._viewport.scrollTop -= dropped * this._rowHeight;
    this._drawnFrom = -1;
    this._later();
  }

  /**
   * Scroll to a row.
   * @param {number} number
   */
  show(number) {
    this.following = false;
    this._viewport.scrollTop = Math.max(0, number * this._rowHeight - this._viewport.clientHeight / 2);
    this._later();
  }

  close() {
    this._observer.disconnect();
    cancelAnimationFrame(this._frame);
  }

  _scrolled() {
    const below = this._viewport.scrollHeight - this._viewport.clientHeight - this._viewport.scrollTop;
    const follow = below < this._rowHeight * 1.5;
    if (follow !== this._following) {
      this._following = follow;
      this.onFollow();
    }
    this._later();
  }

  _later() {
    if (this._frame === 0) this._frame = requestAnimationFrame(() => this._render());
  }

  _render() {
    this._frame = 0;
    if (this._height === 0) return;
    const all = this._count * this._rowHeight;
    const top = this._following ? Math.max(0, all - this._height) : this._viewport.scrollTop;
    const from = Math.max(0, Math.floor(top / this._rowHeight) - MARGIN);
    const to = Math.min(this._count, Math.ceil((top + this._height) / this._rowHeight) + MARGIN);
    const same = from === this._drawnFrom && to === this._drawnTo;
    if (!same) {
      [this._drawnFrom, this._drawnTo] = [from, to];
      const elements = [];
      for (let number = from; number < to; number++) elements.push(this._draw(number));
      this._shown.replaceChildren(...elements);
      this._shown.style.transform = `translateY(${from * this._rowHeight}px)`;
    }
    // Scrolling lays out what was changed before it, so it comes last.
    this._content.style.height = `${all}px`;
    if (this._following) this._viewport.scrollTop = all;
    if (same || this._measured) return;
    const measured = /** @type {HTMLElement | null} */ (this._shown.firstElementChild)?.offsetHeight ?? 0;
    this._measured = measured > 0;
    if (measured > 0 && measured !== this._rowHeight) {
      this._rowHeight = measured;
      this._drawnFrom = -1;
      this._later();
    }
  }
}
