// @ts-check
/** Makes elements. Text is always text: nothing here ever reads HTML. */

/** @typedef {string | number | Node | null | undefined | false} Child */

/**
 * Return a new element. Properties: `on` an object of listeners, `class`, and attributes; true is an attribute without a value,
 * false and null are none.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{ [name: string]: any }} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(.../** @type {(string | Node)[]} */ (children.flat().filter((child) => child || child === 0).map(asNode)));
  return element;
}

/** @param {Child} child */
function asNode(child) {
  return typeof child === "number" ? String(child) : child;
}

/**
 * Ask in a dialog; resolves with true if it is confirmed.
 * @param {string} question
 * @param {{ yes: string, no: string }} words
 * @returns {Promise<boolean>}
 */
export function confirmDialog(question, { yes, no }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "confirm", "aria-label": question, on: { close: () => (dialog.remove(), resolve(dialog.returnValue === "yes")) } },
      h("p", {}, question),
      h(
        "div",
        { class: "buttons" },
        h("button", { on: { click: () => dialog.close("no") }, autofocus: true }, no),
        h("button", { class: "danger", on: { click: () => dialog.close("yes") } }, yes),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
