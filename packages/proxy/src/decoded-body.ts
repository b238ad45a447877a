/** The text of a compressed body, for rules to read; what goes on to the client stays as it came. */
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'

const DECODERS = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  // RFC 9110 section 8.4.1.2: the zlib format. What omits its header is nothing that today's servers send.
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
} as const

export type ContentCoding = keyof typeof DECODERS

/** The one coding of a body, by its `Content-Encoding`; undefined for none, an unknown one, or several. */
export function codingOf(rawHeaders: readonly string[]): ContentCoding | undefined {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.toLowerCase() !== 'content-encoding') continue
    const coding = rawHeaders[at + 1]!.toLowerCase()
    return Object.hasOwn(DECODERS, coding) ? (coding as ContentCoding) : undefined
  }
  return undefined
}

/**
 * Decodes the beginning of a body. A body that breaks off or is broken gives what came before.
 *
 * @param bytesMax Stops there: a small body may stand for a huge one.
 */
export function decodedBody(coding: ContentCoding, body: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let length = 0
    const decoder = DECODERS[coding]()
    const done = (): void => {
      decoder.destroy()
      resolve(Buffer.concat(chunks, Math.min(length, bytesMax)))
    }
    decoder.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length >= bytesMax) done()
    })
    decoder.on('end', done)
    decoder.on('error', done)
    decoder.end(body)
  })
}
