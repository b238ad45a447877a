/** Requests for tests: short to write, whole for the engine. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compileRules } from './compile.ts'
import type { CompileOptions, HeaderField, RuleSet, RuleSource, WafVerdict } from './types.ts'

export interface Sent {
  readonly method?: string
  readonly target?: string
  readonly headers?: readonly HeaderField[]
  readonly body?: string | Uint8Array
  readonly truncated?: boolean
}

const USUAL: readonly HeaderField[] = [
  ['host', 'shop.example'],
  ['user-agent', 'Mozilla/5.0'],
]

/** Runs both phases as the guard does: a request refused by its head never shows its body. */
export function send(rules: RuleSet, sent: Sent): WafVerdict {
  const transaction = rules.begin()
  const headers = sent.headers ?? []
  const usual = USUAL.filter(([name]) => !headers.some(([other]) => other.toLowerCase() === name))
  const head = transaction.requestHead({
    method: sent.method ?? (sent.body === undefined ? 'GET' : 'POST'),
    target: sent.target ?? '/',
    httpVersion: '1.1',
    headers: [...usual, ...headers],
    remoteAddress: '192.0.2.1',
  })
  if (head.blocked) return head
  const body = typeof sent.body === 'string' ? new TextEncoder().encode(sent.body) : (sent.body ?? new Uint8Array())
  return transaction.requestBody(body, sent.truncated ?? false)
}

/** Rules of one file, named `test.conf` in messages. */
export function compile(text: string, options: Partial<CompileOptions> = {}): RuleSet {
  return compileRules([{ file: 'test.conf', text }], { paranoia: 1, ...options })
}

const RULES = join(import.meta.dirname, '../rules')

export function baseRuleSources(): readonly RuleSource[] {
  return readdirSync(RULES)
    .sort()
    .map((file) => ({ file, text: readFileSync(join(RULES, file), 'utf8') }))
}
