/** Server-sent events (WHATWG HTML, section 9.2) from bytes in any split; bounded. */

export interface ServerEvent {
  readonly event: string
  readonly data: string
}

const EVENT_CHARS_MAX = 1_048_576

export class EventStreamParser {
  readonly #decoder = new TextDecoder()
  #rest = ''
  #event = ''
  #data: string[] = []
  #size = 0

  /** Takes the next bytes; the events that they complete. @throws When one event is longer than the bound. */
  push(chunk: Uint8Array): readonly ServerEvent[] {
    this.#rest += this.#decoder.decode(chunk, { stream: true })
    const found: ServerEvent[] = []
    for (;;) {
      const end = /\r\n|\n|\r(?=.)/s.exec(this.#rest)
      if (end === null) break
      const line = this.#rest.slice(0, end.index)
      this.#rest = this.#rest.slice(end.index + end[0].length)
      const complete = this.#line(line)
      if (complete !== undefined) found.push(complete)
    }
    if (this.#rest.length + this.#size > EVENT_CHARS_MAX) throw new Error(`an event is longer than ${EVENT_CHARS_MAX} characters`)
    return found
  }

  #line(line: string): ServerEvent | undefined {
    if (line === '') {
      const complete = this.#data.length === 0 ? undefined : { event: this.#event || 'message', data: this.#data.join('\n') }
      this.#event = ''
      this.#data = []
      this.#size = 0
      return complete
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') this.#event = value
    else if (field === 'data') {
      this.#data.push(value)
      this.#size += value.length
    }
    return undefined
  }
}
