// @ts-check
/** SGR escape sequences (ECMA-48, section 8.3.117; colours as xterm has them) to styles with a small number each. */

/**
 * @typedef {object} Style
 * @property {string} foreground a CSS colour, or the name of one of sixteen, or empty
 * @property {string} background
 * @property {number} flags
 */

export const BOLD = 1;
export const FAINT = 2;
export const ITALIC = 4;
export const UNDERLINE = 8;
export const INVERSE = 16;
export const STRIKE = 32;
export const HIDDEN = 64;

/** Styles that one page tells apart; of more, the rest is shown plainly. A program that uses all colours of a photo has more. */
const MAX_STYLES = 65535;

const FLAGS = new Map([[1, BOLD], [2, FAINT], [3, ITALIC], [4, UNDERLINE], [7, INVERSE], [8, HIDDEN], [9, STRIKE]]);
const NO_FLAGS = new Map([[22, BOLD | FAINT], [23, ITALIC], [24, UNDERLINE], [27, INVERSE], [28, HIDDEN], [29, STRIKE]]);

export class StyleTable {
  constructor() {
    /** @type {Style[]} */
    this.styles = [{ foreground: "", background: "", flags: 0 }];
    /** @type {Map<string, number>} */
    this._numbers = new Map([["//0", 0]]);
  }

  /**
   * Return the number of the style after the parameters of an SGR sequence.
   * @param {number} number the style before
   * @param {string} parameters such as `1;38;5;208`
   */
  after(number, parameters) {
    const before = this.styles[number];
    let { foreground, background, flags } = before;
    const values = parameters.split(/[;:]/).map((word) => (word === "" ? 0 : Number(word)));
    for (let at = 0; at < values.length; at++) {
      const value = values[at];
      const flag = FLAGS.get(value);
      const off = NO_FLAGS.get(value);
      if (value === 0) [foreground, background, flags] = ["", "", 0];
      else if (flag !== undefined) flags |= flag;
      else if (off !== undefined) flags &= ~off;
      else if (value >= 30 && value <= 37) foreground = `c${value - 30}`;
      else if (value >= 90 && value <= 97) foreground = `c${value - 82}`;
      else if (value >= 40 && value <= 47) background = `c${value - 40}`;
      else if (value >= 100 && value <= 107) background = `c${value - 92}`;
      else if (value === 39) foreground = "";
      else if (value === 49) background = "";
      else if (value === 38 || value === 48) {
        const [colour, used] = extended(values, at + 1);
        at += used;
        if (value === 38) foreground = colour;
        else background = colour;
      }
    }
    return this._number({ foreground, background, flags });
  }

  /** @param {Style} style */
  _number(style) {
    const key = `${style.foreground}/${style.background}/${style.flags}`;
    let number = this._numbers.get(key);
    if (number === undefined) {
      if (this.styles.length >= MAX_STYLES) return 0;
      number = this.styles.push(style) - 1;
      this._numbers.set(key, number);
    }
    return number;
  }
}

/**
 * Return the colour of `5;N` or `2;R;G;B`, and how many values it took.
 * @param {number[]} values
 * @param {number} at
 * @returns {[string, number]}
 */
function extended(values, at) {
  if (values[at] === 5) {
    const index = values[at + 1];
    return [index >= 0 && index < 256 ? indexed(index) : "", 2];
  }
  if (values[at] === 2) {
    const rgb = values.slice(at + 1, at + 4);
    return [rgb.length === 3 && rgb.every((part) => part >= 0 && part < 256) ? `rgb(${rgb.join(" ")})` : "", 4];
  }
  return ["", 0];
}

/** @param {number} index */
function indexed(index) {
  if (index < 16) return `c${index}`;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const steps = [0, 95, 135, 175, 215, 255];
  const cube = index - 16;
  return `rgb(${steps[Math.floor(cube / 36)]} ${steps[Math.floor(cube / 6) % 6]} ${steps[cube % 6]})`;
}
