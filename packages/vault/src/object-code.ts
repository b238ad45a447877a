/**
 * What turns segments of objects into pieces and back, and nothing else: the thread that does it has a small heap then, which the collector of garbage
 * goes through many times a second.
 */
export { ErasureCode } from './erasure.ts'
export { VaultError } from './errors.ts'
export { openObjectSegment, sealObjectSegment } from './object-cipher.ts'
