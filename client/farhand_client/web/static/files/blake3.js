// @ts-check
/** BLAKE3, the digest of transfers (protocol/README.md, section 11): https is not needed for it, and it takes bytes as they come. */

const IV = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;

const BLOCK = 64;
const CHUNK = 1024;

/**
 * Replace a chaining value by that after another block.
 * @param {Int32Array} value
 * @param {Int32Array} m words, of which a block begins at `at`
 * @param {number} at
 * @param {number} counter
 * @param {number} length
 * @param {number} flags
 */
function compress(value, m, at, counter, length, flags) {
  let v0 = value[0], v1 = value[1], v2 = value[2], v3 = value[3], v4 = value[4], v5 = value[5], v6 = value[6], v7 = value[7];
  let v8 = IV[0], v9 = IV[1], v10 = IV[2], v11 = IV[3];
  let v12 = counter | 0, v13 = (counter / 2 ** 32) | 0, v14 = length, v15 = flags;
  let m0 = m[at + 0], m1 = m[at + 1], m2 = m[at + 2], m3 = m[at + 3], m4 = m[at + 4], m5 = m[at + 5], m6 = m[at + 6], m7 = m[at + 7];
  let m8 = m[at + 8], m9 = m[at + 9], m10 = m[at + 10], m11 = m[at + 11], m12 = m[at + 12], m13 = m[at + 13], m14 = m[at + 14], m15 = m[at + 15];
  for (let round = 0; round < 7; round++) {
    v0 = (v0 + v4 + m0) | 0; v12 ^= v0; v12 = (v12 >>> 16) | (v12 << 16);
    v8 = (v8 + v12) | 0; v4 ^= v8; v4 = (v4 >>> 12) | (v4 << 20);
    v0 = (v0 + v4 + m1) | 0; v12 ^= v0; v12 = (v12 >>> 8) | (v12 << 24);
    v8 = (v8 + v12) | 0; v4 ^= v8; v4 = (v4 >>> 7) | (v4 << 25);
    v1 = (v1 + v5 + m2) | 0; v13 ^= v1; v13 = (v13 >>> 16) | (v13 << 16);
    v9 = (v9 + v13) | 0; v5 ^= v9; v5 = (v5 >>> 12) | (v5 << 20);
    v1 = (v1 + v5 + m3) | 0; v13 ^= v1; v13 = (v13 >>> 8) | (v13 << 24);
    v9 = (v9 + v13) | 0; v5 ^= v9; v5 = (v5 >>> 7) | (v5 << 25);
    v2 = (v2 + v6 + m4) | 0; v14 ^= v2; v14 = (v14 >>> 16) | (v14 << 16);
    v10 = (v10 + v14) | 0; v6 ^= v10; v6 = (v6 >>> 12) | (v6 << 20);
    v2 = (v2 + v6 + m5) | 0; v14 ^= v2; v14 = (v14 >>> 8) | (v14 << 24);
    v10 = (v10 + v14) | 0; v6 ^= v10; v6 = (v6 >>> 7) | (v6 << 25);
    v3 = (v3 + v7 + m6) | 0; v15 ^= v3; v15 = (v15 >>> 16) | (v15 << 16);
    v11 = (v11 + v15) | 0; v7 ^= v11; v7 = (v7 >>> 12) | (v7 << 20);
    v3 = (v3 + v7 + m7) | 0; v15 ^= v3; v15 = (v15 >>> 8) | (v15 << 24);
    v11 = (v11 + v15) | 0; v7 ^= v11; v7 = (v7 >>> 7) | (v7 << 25);
    v0 = (v0 + v5 + m8) | 0; v15 ^= v0; v15 = (v15 >>> 16) | (v15 << 16);
    v10 = (v10 + v15) | 0; v5 ^= v10; v5 = (v5 >>> 12) | (v5 << 20);
    v0 = (v0 + v5 + m9) | 0; v15 ^= v0; v15 = (v15 >>> 8) | (v15 << 24);
    v10 = (v10 + v15) | 0; v5 ^= v10; v5 = (v5 >>> 7) | (v5 << 25);
    v1 = (v1 + v6 + m10) | 0; v12 ^= v1; v12 = (v12 >>> 16) | (v12 << 16);
    v11 = (v11 + v12) | 0; v6 ^= v11; v6 = (v6 >>> 12) | (v6 << 20);
    v1 = (v1 + v6 + m11) | 0; v12 ^= v1; v12 = (v12 >>> 8) | (v12 << 24);
    v11 = (v11 + v12) | 0; v6 ^= v11; v6 = (v6 >>> 7) | (v6 << 25);
    v2 = (v2 + v7 + m12) | 0; v13 ^= v2; v13 = (v13 >>> 16) | (v13 << 16);
    v8 = (v8 + v13) | 0; v7 ^= v8; v7 = (v7 >>> 12) | (v7 << 20);
    v2 = (v2 + v7 + m13) | 0; v13 ^= v2; v13 = (v13 >>> 8) | (v13 << 24);
    v8 = (v8 + v13) | 0; v7 ^= v8; v7 = (v7 >>> 7) | (v7 << 25);
    v3 = (v3 + v4 + m14) | 0; v14 ^= v3; v14 = (v14 >>> 16) | (v14 << 16);
    v9 = (v9 + v14) | 0; v4 ^= v9; v4 = (v4 >>> 12) | (v4 << 20);
    v3 = (v3 + v4 + m15) | 0; v14 ^= v3; v14 = (v14 >>> 8) | (v14 << 24);
    v9 = (v9 + v14) | 0; v4 ^= v9; v4 = (v4 >>> 7) | (v4 << 25);
    // The order of the words in the next round.
    const t0 = m0; m0 = m2; m2 = m3; m3 = m10; m10 = m12; m12 = m9; m9 = m11; m11 = m5; m5 = t0;
    const t1 = m1; m1 = m6; m6 = m4; m4 = m7; m7 = m13; m13 = m14; m14 = m15; m15 = m8; m8 = t1;
  }
  value[0] = v0 ^ v8; value[1] = v1 ^ v9; value[2] = v2 ^ v10; value[3] = v3 ^ v11;
  value[4] = v4 ^ v12; value[5] = v5 ^ v13; value[6] = v6 ^ v14; value[7] = v7 ^ v15;
}

/**
 * @param {Int32Array} left
 * @param {Int32Array} right
 * @param {number} root
 */
function parent(left, right, root) {
  const words = new Int32Array(16);
  words.set(left);
  words.set(right, 8);
  const value = IV.slice();
  compress(value, words, 0, 0, BLOCK, PARENT | root);
  return value;
}

/** Makes the digest of bytes that come in parts. Keeps a kilobyte of them, and 32 bytes for each doubling. */
export class Blake3 {
  constructor() {
    this._bytes = new Uint8Array(CHUNK);
    this._words = new Int32Array(this._bytes.buffer); // every machine with a browser is little-endian, as BLAKE3 is
    this._filled = 0;
    this._chunks = 0;
    /** Values of complete subtrees, each smaller than the one before. @type {Int32Array[]} */
    this._subtrees = [];
  }

  /** @param {Uint8Array} bytes */
  update(bytes) {
    for (let at = 0; at < bytes.length; ) {
      if (this._filled === CHUNK) this._endChunk();
      const part = bytes.subarray(at, at + CHUNK - this._filled);
      this._bytes.set(part, this._filled);
      this._filled += part.length;
      at += part.length;
    }
    return this;
  }

  /** Return another one that has had the same bytes. */
  copy() {
    const copy = new Blake3();
    copy._bytes.set(this._bytes);
    copy._filled = this._filled;
    copy._chunks = this._chunks;
    copy._subtrees = [...this._subtrees];
    return copy;
  }

  /** Return the digest of all bytes so far; more may follow. */
  digest() {
    let value = this._chunkValue(this._subtrees.length === 0 ? ROOT : 0);
    for (let at = this._subtrees.length - 1; at >= 0; at--) value = parent(this._subtrees[at], value, at === 0 ? ROOT : 0);
    return new Uint8Array(value.buffer);
  }

  _endChunk() {
    let value = this._chunkValue(0);
    for (let count = ++this._chunks; count % 2 === 0; count /= 2) {
      value = parent(/** @type {Int32Array} */ (this._subtrees.pop()), value, 0);
    }
    this._subtrees.push(value);
    this._filled = 0;
  }

  /** @param {number} root */
  _chunkValue(root) {
    const blocks = Math.max(1, Math.ceil(this._filled / BLOCK));
    this._bytes.fill(0, this._filled, blocks * BLOCK);
    const value = IV.slice();
    for (let block = 0; block < blocks; block++) {
      const last = block === blocks - 1;
      const flags = (block === 0 ? CHUNK_START : 0) | (last ? CHUNK_END | root : 0);
      compress(value, this._words, block * 16, this._chunks, last ? this._filled - block * BLOCK : BLOCK, flags);
    }
    return value;
  }
}

/** @param {Uint8Array} bytes */
export function blake3(bytes) {
  return new Blake3().update(bytes).digest();
}
