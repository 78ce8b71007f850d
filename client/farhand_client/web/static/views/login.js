// @ts-check
/** Who comes in through a service's web door: a user with a passkey, or one who makes one now. */

import { h } from "../dom.js";
import { t } from "../text/text.js";
import { PasskeyLogin, keyInLine, keyLine, makePasskey } from "../wire/passkey.js";

const STORED = "farhand-passkey";

/** @returns {import("../wire/passkey.js").Passkey | null} */
function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED) ?? "null");
    return typeof found?.user === "string" && typeof found?.key === "string" ? found : null;
  } catch {
    return null;
  }
}

/**
 * Ask who logs in; resolves once somebody wants to, in the moment of the click, which browsers want for a passkey.
 * @param {string} site
 * @returns {Promise<PasskeyLogin>}
 */
export function askLogin(site) {
  return new Promise((resolve) => {
    const known = remembered();
    const said = h("p", { role: "alert", class: "said" });
    const user = h("input", { name: "user", autocomplete: "username", autocapitalize: "none", required: true, value: known?.user ?? "" });
    const line = h("textarea", { name: "line", rows: 4, spellcheck: "false", "aria-label": t("passkey-line") });
    const made = h("div", { class: "made", hidden: true });

    /** @param {import("../wire/passkey.js").Passkey} passkey */
    const remember = (passkey) => localStorage.setItem(STORED, JSON.stringify(passkey));

    const logIn = () => {
      const pasted = line.value.trim();
      const key = pasted ? keyInLine(pasted, site) : null;
      const stored = remembered();
      if (pasted && key === null) {
        said.textContent = t("passkey-wrong-line", { site });
      } else if (key !== null) {
        const passkey = { user: user.value.trim(), key };
        remember(passkey);
        resolve(new PasskeyLogin(site, passkey));
      } else if (stored !== null) {
        const passkey = { ...stored, user: user.value.trim() };
        remember(passkey);
        resolve(new PasskeyLogin(site, passkey));
      } else {
        said.textContent = t("passkey-unknown");
      }
    };

    const make = async () => {
      if (!form.reportValidity()) return;
      try {
        const passkey = await makePasskey(site, user.value.trim());
        remember(passkey);
        const text = keyLine(passkey, site);
        made.replaceChildren(
          h("p", {}, t("passkey-made")),
          h("pre", { class: "key-line", tabindex: 0 }, text),
          h("button", { type: "button", on: { click: () => navigator.clipboard.writeText(text) } }, t("copy")),
        );
        made.hidden = false;
        said.textContent = "";
      } catch (error) {
        said.textContent = t("passkey-not-made", { why: error instanceof Error ? error.message : String(error) });
      }
    };

    const form = h(
      "form",
      { class: "login", on: { submit: (/** @type {Event} */ event) => (event.preventDefault(), logIn()) } },
      h("label", {}, t("owner"), user),
      h("div", { class: "buttons" }, h("button", { class: "primary" }, t("passkey-login")), h("button", { type: "button", class: "make", on: { click: make } }, t("passkey-make"))),
      made,
      h("details", {}, h("summary", {}, t("passkey-other")), h("p", {}, t("passkey-line")), line),
      said,
    );
    document.title = `${site} · Farhand`;
    document.body.className = "closed";
    document.body.replaceChildren(h("main", { id: "content" }, h("h1", {}, site), form));
    user.focus();
  });
}
