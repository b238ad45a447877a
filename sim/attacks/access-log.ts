/** Requests as nginx writes them in its `combined` format, which is all that a reader of logs sees: no account, no session, no handshake. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { hashOf, type Play } from './traffic.ts'

const BUFFER_CHARS = 1 << 20
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const two = (value: number): string => String(value).padStart(2, '0')

/** Programs say what they like: attackers' call themselves browsers, too, so that nobody is found by a name. */
function userAgentOf(ja4: string): string {
  const version = 100 + (hashOf(ja4.length, ja4.charCodeAt(12), ja4.charCodeAt(18)) % 40)
  return `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`
}

/** One line, without its end. */
export function logLine({ atMs, source, method, path, status, bytes, ja4 }: Play): string {
  const at = new Date(atMs)
  const day = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}`
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`
  return `${source} - - [${day}:${time} +0000] "${method} ${path} HTTP/1.1" ${status} ${bytes} "-" "${userAgentOf(ja4)}"`
}

export class AccessLog {
  readonly #file: number
  #text = ''
  lines = 0

  constructor(path: string) {
    this.#file = openSync(path, 'w', 0o600)
  }

  add(play: Play): void {
    this.#text += `${logLine(play)}\n`
    this.lines += 1
    if (this.#text.length >= BUFFER_CHARS) this.#flush()
  }

  #flush(): void {
    writeSync(this.#file, this.#text)
    this.#text = ''
  }

  close(): void {
    this.#flush()
    closeSync(this.#file)
  }
}
