// @ts-check
/** A row of output as an element. */

import { h } from "../dom.js";
import { t } from "../text/text.js";
import { Row } from "./log.js";
import * as styles from "./styles.js";

/** Characters of a row that are shown; the rest is in the download. Wider than any screen. */
const MAX_SHOWN = 4096;

/** @type {[number, string][]} */
const CLASSES = [
  [styles.BOLD, "bold"],
  [styles.FAINT, "faint"],
  [styles.ITALIC, "italic"],
  [styles.UNDERLINE, "underline"],
  [styles.INVERSE, "inverse"],
  [styles.STRIKE, "strike"],
  [styles.HIDDEN, "concealed"],
];

/**
 * @param {import("./log.js").OutputLog} log
 * @param {number} number
 * @param {{ found: boolean, time: string | null }} about
 */
export function rowElement(log, number, { found, time }) {
  const row = log.row(number);
  if (row.kind === Row.GAP) return h("div", { class: "row gap" }, t("gap", { bytes: row.gap }));
  const element = h("div", { class: `row ${row.kind === Row.STDERR ? "stderr" : "stdout"}${found ? " found" : ""}` });
  if (time !== null) element.append(h("span", { class: "time" }, time));
  const content = document.createElement("span");
  let shown = 0;
  for (const part of row.parts) {
    const text = part.text.slice(0, MAX_SHOWN - shown);
    shown += text.length;
    if (part.style === 0) {
      content.append(text);
    } else {
      content.append(styled(text, log.styles.styles[part.style]));
    }
    if (shown >= MAX_SHOWN) {
      content.append("…");
      break;
    }
  }
  if (shown === 0) content.append("\u200b"); // an empty row has the height of a row
  element.append(content);
  return element;
}

/**
 * @param {string} text
 * @param {import("./styles.js").Style} style
 */
function styled(text, style) {
  const span = document.createElement("span");
  const classes = CLASSES.filter(([flag]) => style.flags & flag).map(([, name]) => name);
  if (/^c\d+$/.test(style.foreground)) classes.push(style.foreground);
  else if (style.foreground !== "") span.style.color = style.foreground;
  if (/^c\d+$/.test(style.background)) classes.push(`b${style.background.slice(1)}`);
  else if (style.background !== "") span.style.backgroundColor = style.background;
  span.className = classes.join(" ");
  span.textContent = text;
  return span;
}
