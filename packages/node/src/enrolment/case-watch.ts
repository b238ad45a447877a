/** Whether the case of a device is open, by the input that its configuration names: a file that tells, or a command that is run. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'

export type CaseInput =
  /** Closed as long as the file can be read and holds this text, but for white space around it. */
  | { readonly file: string; readonly closed: string }
  /** Closed as long as it ends with 0. */
  | { readonly command: readonly [program: string, ...more: string[]] }

const LOOK_MS = 500
const COMMAND_MS_MAX = 3_000
const BYTES_MAX = 4_096
/** An input that fails once may be busy; one that goes on failing was cut off. */
const FAILURES_MAX = 3

export class CaseWatch {
  readonly #input: CaseInput
  #timer: NodeJS.Timeout | undefined
  #isBusy = false
  #failures = 0
  #isOpen = false

  constructor(input: CaseInput) {
    this.#input = input
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS)
    this.#timer.unref()
    void this.look()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Once open, open for good: whoever closes it again has been inside. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  async look(): Promise<void> {
    if (this.#isBusy || this.#isOpen) return
    this.#isBusy = true
    try {
      const found = await read(this.#input)
      this.#failures = found === 'unreadable' ? this.#failures + 1 : 0
      this.#isOpen = found === 'open' || this.#failures >= FAILURES_MAX
    } finally {
      this.#isBusy = false
    }
  }
}

async function read(input: CaseInput): Promise<'open' | 'closed' | 'unreadable'> {
  if ('file' in input) {
    try {
      const text = await readFile(input.file, { encoding: 'utf8', signal: AbortSignal.timeout(COMMAND_MS_MAX) })
      return text.length <= BYTES_MAX && text.trim() === input.closed ? 'closed' : 'open'
    } catch {
      return 'unreadable'
    }
  }
  const [program, ...more] = input.command
  return new Promise((settle) => {
    execFile(program, more, { timeout: COMMAND_MS_MAX, maxBuffer: BYTES_MAX }, (error) => {
      if (error === null) settle('closed')
      else settle(typeof error.code === 'number' ? 'open' : 'unreadable')
    })
  })
}
