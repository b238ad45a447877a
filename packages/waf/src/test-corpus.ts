/**
 * The corpus of attacks and of requests that only look like some: one text a line, in files by class, placed in every way a
 * request can carry it. `attacks/KIND.txt` holds texts; a second part of the name says that a line is something else:
 *
 *   paths.txt           request targets as they stand
 *   KIND.queries.txt    query strings as they stand (also sent as form bodies)
 *   KIND.json.txt       JSON bodies as they stand
 *   KIND.headers.txt    header fields, `Name: value`
 *   KIND.lines.txt      texts of several lines, each written as a JSON string
 *   KIND.requests.txt   whole requests, each as JSON: method, target, headers, body or bodyBase64
 */
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

/** `held-out` parts were written before the rules were tuned and are only measured on. */
export type CorpusPart = 'attacks' | 'benign' | 'held-out/attacks' | 'held-out/benign'

const encodeAll = (text: string): string =>
  [...new TextEncoder().encode(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

const body = (type: string, text: string): Sent => ({
  method: 'POST',
  target: '/post',
  headers: [['Content-Type', type]],
  body: text,
})

type Placements = Readonly<Record<string, (text: string) => Sent>>

const FORM = 'application/x-www-form-urlencoded'

const TEXT: Placements = {
  query: (text) => ({ target: `/search?page=2&q=${encodeURIComponent(text)}` }),
  'query, every byte escaped': (text) => ({ target: `/search?q=${encodeAll(text)}&page=2` }),
  form: (text) => body(FORM, `name=Ann&note=${encodeURIComponent(text).replaceAll('%20', '+')}`),
  JSON: (text) => body('application/json', JSON.stringify({ user: { name: 'Ann', notes: ['hello', text] } })),
  multipart: (text) =>
    body(
      'multipart/form-data; boundary=xYzZY',
      `--xYzZY\r\nContent-Disposition: form-data; name="note"\r\n\r\n${text}\r\n--xYzZY--\r\n`,
    ),
}

const BY_KIND: ReadonlyMap<string, Placements> = new Map<string, Placements>([
  ['paths', { target: (text) => ({ target: text }) }],
  ['queries', { query: (text) => ({ target: `/list?${text}` }), form: (text) => body(FORM, text) }],
  ['json', { JSON: (text) => body('application/json', text), 'JSON of no type': (text) => body('text/plain', text) }],
  [
    'headers',
    {
      header: (text) => {
        const colon = text.indexOf(':')
        return { headers: [[text.slice(0, colon), text.slice(colon + 1).trim()]] }
      },
    },
  ],
  ['lines', TEXT],
])

/** One text in every way that a file of this name places its lines. */
export function placed(fileName: string, line: string): readonly CorpusCase[] {
  const [name = '', kind = ''] = basename(fileName, '.txt').split('.')
  if (kind === 'requests') return [{ class: name, text: line, placement: 'a request', sent: wholeRequest(line) }]
  const placements = BY_KIND.get(name === 'paths' ? name : kind) ?? TEXT
  const text = kind === 'lines' ? String(JSON.parse(line)) : line
  return Object.entries(placements).map(([placement, place]) => ({ class: name, text, placement, sent: place(text) }))
}

function wholeRequest(line: string): Sent {
  const { bodyBase64, ...sent } = JSON.parse(line) as Sent & { readonly bodyBase64?: string }
  return bodyBase64 === undefined ? sent : { ...sent, body: Uint8Array.from(Buffer.from(bodyBase64, 'base64')) }
}

export function loadCorpus(part: CorpusPart): readonly CorpusCase[] {
  const folder = join(CORPUS, part)
  return readdirSync(folder).flatMap((file) =>
    readFileSync(join(folder, file), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .flatMap((line) => placed(file, line)),
  )
}
