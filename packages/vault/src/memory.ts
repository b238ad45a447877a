/**
 * Memory of segments and pieces: given back at once, copied, and overwritten, each as fast as the platform can. The plain ways cost more than
 * encryption does.
 */

/** Smaller ones lie in memory that others share, or are not worth it. */
const GIVEN_BACK_BYTES_MIN = 4_096
const ZEROS = Buffer.alloc(65_536)

/**
 * Frees the memory of a buffer that nobody will look at again: it is empty then, as is every other view of it. Ciphers and sockets hand out a new
 * buffer with every call; left to the collector of garbage, those of one object have it go through the whole heap several times. Does nothing where
 * the bytes are part of more, or shared with other threads.
 *
 * @param bytes Made by the platform for whoever calls, and by now copied.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer, length } = bytes
  if (length < GIVEN_BACK_BYTES_MIN || length !== buffer.byteLength) return
  if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0)
}

/**
 * Copies a run of bytes. `set` goes one by one where threads share the memory and its places are not aligned alike; the copy of a buffer does it
 * for the platform, unless it is of all of it.
 */
export function copyBytes(source: Uint8Array, target: Uint8Array, at: number, from = 0, to = source.length): void {
  const middle = (from + to) >> 1
  Buffer.prototype.copy.call(source, target, at, from, middle)
  Buffer.prototype.copy.call(source, target, at + middle - from, middle, to)
}

/** Overwrites it with zeros: `fill` goes one by one, too. */
export function wipe(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += ZEROS.length)
    copyBytes(ZEROS, bytes, at, 0, Math.min(ZEROS.length, bytes.length - at))
}
