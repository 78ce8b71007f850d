// @ts-check
/**
 * Passkeys: how a browser proves who is at it. The specification is protocol/README.md, section 8; the formats are SSH's (RFC 4251,
 * OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f). A passkey is a key `sk-ecdsa-sha2-nistp256@openssh.com` whose application is the site.
 */

import { fromBase64, randomBytes, toBase64 } from "./values.js";

const KEY_TYPE = "sk-ecdsa-sha2-nistp256@openssh.com";
const SIGNATURE_TYPE = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
const NAMESPACE = "auth@farhand-v1";
const CONTEXT = "farhand-auth-v1";

/** Milliseconds that a person has; a service that allows less says so by itself. */
const PATIENCE = 80_000;

const encoder = new TextEncoder();

/**
 * @typedef {object} Passkey
 * @property {string} user
 * @property {string} key The public key's blob in base64, as in authorized_keys.
 * @property {string} [id] The browser's name for it in base64; without one, the browser asks which passkey to use.
 */

/** @param {...Uint8Array} parts */
function joined(...parts) {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Return a `string` of SSH: the length in four bytes, and the bytes.
 * @param {Uint8Array | string} value
 */
export function sshString(value) {
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return joined(length, bytes);
}

/**
 * @param {string} algorithm
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
async function digest(algorithm, bytes) {
  return new Uint8Array(await crypto.subtle.digest(algorithm, bytes));
}

/**
 * Return the text that a key signs for a login: SSHSIG's envelope around the transcript's SHA-512.
 * @param {{ origin: string, server: string, user: string, serviceNonce: Uint8Array, clientNonce: Uint8Array,
 *   hello: Uint8Array<ArrayBuffer>, key: Uint8Array }} login
 */
export async function signedText(login) {
  const transcript = joined(
    sshString(CONTEXT),
    sshString(await digest("SHA-256", encoder.encode(login.origin))),
    sshString(login.serviceNonce),
    sshString(login.clientNonce),
    sshString(login.server),
    sshString(login.user),
    sshString(await digest("SHA-256", login.hello)),
    sshString(login.key),
  );
  const inner = [NAMESPACE, "", "sha512"].map(sshString);
  return joined(encoder.encode("SSHSIG"), ...inner, sshString(await digest("SHA-512", transcript)));
}

/**
 * Return the SSHSIG blob of what an authenticator has answered.
 * @param {Uint8Array} key
 * @param {{ origin: string, signature: Uint8Array, authenticatorData: Uint8Array, clientData: Uint8Array }} answer
 */
export function signatureBlob(key, { origin, signature, authenticatorData, clientData }) {
  // rpIdHash (32 bytes), flags (1), counter (4) and, if there are any, extensions (WebAuthn, section 6.1).
  const inner = joined(
    sshString(SIGNATURE_TYPE),
    sshString(joined(...numbers(signature).map(sshString))),
    authenticatorData.subarray(32, 37),
    sshString(origin),
    sshString(clientData),
    sshString(authenticatorData.subarray(37)),
  );
  const version = Uint8Array.of(0, 0, 0, 1);
  const parts = [sshString(key), ...[NAMESPACE, "", "sha512"].map(sshString), sshString(inner)];
  return joined(encoder.encode("SSHSIG"), version, ...parts);
}

/**
 * Return the two numbers of an ECDSA signature in DER (RFC 3279, section 2.2.3), which are already mpints.
 * @param {Uint8Array} der
 */
function numbers(der) {
  const first = der.subarray(4, 4 + der[3]);
  const second = der.subarray(6 + first.length, 6 + first.length + der[5 + first.length]);
  return [first, second];
}

/**
 * Return the blob of a public key that a browser has made (a SubjectPublicKeyInfo, whose last 65 bytes are the point).
 * @param {Uint8Array} spki
 * @param {string} site
 */
export function keyBlob(spki, site) {
  return joined(...[KEY_TYPE, "nistp256", spki.subarray(-65), site].map(sshString));
}

/**
 * Return the blob in a line of authorized_keys, in base64; null if it is not one of a passkey of this site.
 * @param {string} line
 * @param {string} site
 */
export function keyInLine(line, site) {
  const found = /(?:^|\s)sk-ecdsa-sha2-nistp256@openssh\.com\s+([A-Za-z0-9+/]+=*)/.exec(line);
  if (found === null) return null;
  try {
    const blob = fromBase64(found[1]);
    const application = sshString(site);
    const end = blob.subarray(-application.length);
    return end.length === application.length && end.every((byte, at) => byte === application[at]) ? found[1] : null;
  } catch {
    return null;
  }
}

/**
 * Have a passkey made for this site. Rejects with a DOMException if there is none in the end.
 * @param {string} site
 * @param {string} user
 * @returns {Promise<Passkey>}
 */
export async function makePasskey(site, user) {
  const made = /** @type {PublicKeyCredential} */ (
    await navigator.credentials.create({
      publicKey: {
        rp: { id: site, name: "Farhand" },
        user: { id: randomBytes(32), name: user, displayName: user },
        challenge: randomBytes(32), // nobody checks it: the key counts once somebody authorizes it
        pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        authenticatorSelection: { residentKey: "preferred", userVerification: "preferred" },
        attestation: "none",
        timeout: PATIENCE,
      },
    })
  );
  const response = /** @type {AuthenticatorAttestationResponse} */ (made.response);
  const spki = response.getPublicKey();
  if (spki === null) throw new DOMException("the authenticator has made another kind of key", "NotSupportedError");
  return { user, id: toBase64(new Uint8Array(made.rawId)), key: toBase64(keyBlob(new Uint8Array(spki), site)) };
}

/**
 * Return the line of authorized_keys for a passkey.
 * @param {Passkey} passkey
 * @param {string} site
 */
export function keyLine(passkey, site) {
  return `${KEY_TYPE} ${passkey.key} ${passkey.user}@${site}`;
}

/** Logs in with one passkey. */
export class PasskeyLogin {
  /**
   * @param {string} site
   * @param {Passkey} passkey
   */
  constructor(site, passkey) {
    this.user = passkey.user;
    this.server = site;
    this._passkey = passkey;
  }

  /**
   * Return the `login` message for a connection. Rejects with a DOMException if the person or the browser refuses.
   * @param {Uint8Array<ArrayBuffer>} hello the frame that was sent
   * @param {Uint8Array} clientNonce
   * @param {Uint8Array} serviceNonce
   */
  async message(hello, clientNonce, serviceNonce) {
    const { origin } = location;
    const key = fromBase64(this._passkey.key);
    const { user, server } = this;
    const challenge = await signedText({ origin, server, user, serviceNonce, clientNonce, hello, key });
    const id = this._passkey.id;
    const used = /** @type {PublicKeyCredential} */ (
      await navigator.credentials.get({
        publicKey: {
          challenge,
          rpId: server,
          allowCredentials: id === undefined ? [] : [{ type: "public-key", id: fromBase64(id) }],
          userVerification: "preferred",
          timeout: PATIENCE,
        },
      })
    );
    const response = /** @type {AuthenticatorAssertionResponse} */ (used.response);
    const signature = signatureBlob(key, {
      origin,
      signature: new Uint8Array(response.signature),
      authenticatorData: new Uint8Array(response.authenticatorData),
      clientData: new Uint8Array(response.clientDataJSON),
    });
    return { type: "login", public_key: this._passkey.key, signature: toBase64(signature) };
  }
}
