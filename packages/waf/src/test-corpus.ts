/** The corpus of attacks and of requests that only look like some: one text a line, in files by class, placed in every way. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Sent } from './test-requests.ts'

const CORPUS = join(import.meta.dirname, '../corpus')

export interface CorpusCase {
  readonly class: string
  readonly text: string
  readonly placement: string
  readonly sent: Sent
}

const encodeAll = (text: string): string =>
  [...new TextEncoder().encode(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

const body = (type: string, text: string): Sent => ({
  method: 'POST',
  target: '/post',
  headers: [['Content-Type', type]],
  body: text,
})

const PLACEMENTS: Readonly<Record<string, (text: string) => Sent>> = {
  query: (text) => ({ target: `/search?page=2&q=${encodeURIComponent(text)}` }),
  'query, every byte escaped': (text) => ({ target: `/search?q=${encodeAll(text)}&page=2` }),
  form: (text) => body('application/x-www-form-urlencoded', `name=Ann&note=${encodeURIComponent(text).replaceAll('%20', '+')}`),
  JSON: (text) => body('application/json', JSON.stringify({ user: { name: 'Ann', notes: ['hello', text] } })),
  multipart: (text) =>
    body(
      'multipart/form-data; boundary=xYzZY',
      `--xYzZY\r\nContent-Disposition: form-data; name="note"\r\n\r\n${text}\r\n--xYzZY--\r\n`,
    ),
}

/** `kind` is a folder of the corpus. Lines of `paths.txt` are request targets as they stand. */
export function loadCorpus(kind: 'attacks' | 'benign'): readonly CorpusCase[] {
  return readdirSync(join(CORPUS, kind)).flatMap((file): CorpusCase[] => {
    const name = basename(file, '.txt')
    const lines = readFileSync(join(CORPUS, kind, file), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
    if (name === 'paths') return lines.map((text) => ({ class: name, text, placement: 'target', sent: { target: text } }))
    return lines.flatMap((text) =>
      Object.entries(PLACEMENTS).map(([placement, place]) => ({ class: name, text, placement, sent: place(text) })),
    )
  })
}
