/**
 * Reads the regular files of a tar archive (POSIX.1-1988 ustar and .1-2001 pax, and GNU's long names) from memory. It makes no
 * files: whoever writes decides where. Links, devices and everything else are skipped; a name that leaves the archive is refused.
 */

const BLOCK = 512
const NAME_CHARS_MAX = 1_024

export interface TarFile {
  /** With `/` between folders; relative, without `.` and `..`. */
  readonly path: string
  readonly bytes: Buffer
}

export class ArchiveInvalid extends Error {
  override readonly name = 'ArchiveInvalid'
  readonly code = 'ARCHIVE_INVALID'
}

/** @throws {ArchiveInvalid} Also for an archive that ends too soon. */
export function* readTar(archive: Buffer, filesMax: number): Generator<TarFile> {
  let at = 0
  let longName: string | undefined
  let files = 0
  while (at + BLOCK <= archive.length) {
    const header = archive.subarray(at, at + BLOCK)
    if (header.every((byte) => byte === 0)) return
    if (!isSound(header)) throw new ArchiveInvalid(`no tar header at byte ${at}: a wrong checksum`)
    const size = octal(header, 124, 12)
    const type = String.fromCharCode(header[156]!)
    const from = at + BLOCK
    if (from + size > archive.length) throw new ArchiveInvalid('the archive ends within a file')
    const bytes = archive.subarray(from, from + size)
    at = from + Math.ceil(size / BLOCK) * BLOCK
    if (type === 'x') longName = paxPath(bytes) ?? longName
    else if (type === 'L') longName = untilNul(bytes)
    else if (type !== 'g' && type !== 'K') {
      const name = longName ?? ustarName(header)
      longName = undefined
      if (type !== '0' && type !== '\0') continue
      files += 1
      if (files > filesMax) throw new ArchiveInvalid(`more than ${filesMax} files`)
      yield { path: safePath(name), bytes }
    }
  }
  throw new ArchiveInvalid('the archive ends without its end mark')
}

function isSound(header: Buffer): boolean {
  let sum = 0
  for (const [at, byte] of header.entries()) sum += at >= 148 && at < 156 ? 32 : byte
  return sum === octal(header, 148, 8)
}

function octal(header: Buffer, from: number, length: number): number {
  const text = header
    .toString('latin1', from, from + length)
    .replace(/[\0 ]+$/, '')
    .trim()
  if (!/^[0-7]{1,11}$/.test(text)) throw new ArchiveInvalid(`a number in a tar header is ${JSON.stringify(text)}`)
  return Number.parseInt(text, 8)
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

function ustarName(header: Buffer): string {
  const name = untilNul(header.subarray(0, 100))
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? untilNul(header.subarray(345, 500)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

/** Records are `LENGTH KEY=VALUE\n`. */
function paxPath(bytes: Buffer): string | undefined {
  let at = 0
  while (at < bytes.length) {
    const blank = bytes.indexOf(32, at)
    const length = Number(bytes.toString('latin1', at, blank < 0 ? at : blank))
    if (blank < 0 || !Number.isInteger(length) || length <= blank - at || at + length > bytes.length)
      throw new ArchiveInvalid('a pax record is malformed')
    const record = bytes.toString('utf8', blank + 1, at + length - 1)
    if (record.startsWith('path=')) return record.slice('path='.length)
    at += length
  }
  return undefined
}

function safePath(name: string): string {
  const steps = name.split('/').filter((step) => step !== '' && step !== '.')
  const isBad =
    name.startsWith('/') || /[\0\\]/.test(name) || name.length > NAME_CHARS_MAX || steps.includes('..') || steps.length === 0
  if (isBad) throw new ArchiveInvalid(`the name ${JSON.stringify(name.slice(0, 200))} leads out of the archive`)
  return steps.join('/')
}
