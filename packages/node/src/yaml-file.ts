/** A YAML file that people write, read into a checked value; what is wrong with it is told with line and column. */
import { LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'

export type YamlReading<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] }

const PROBLEMS_MAX = 20

/** @param file Names the text in messages, `file:line:column: …`. */
export function readYaml<T>(schema: z.ZodType<T>, text: string, file: string): YamlReading<T> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${Math.max(1, line)}:${Math.max(1, col)}`
  }
  if (document.errors.length > 0) {
    return { ok: false, problems: document.errors.slice(0, PROBLEMS_MAX).map(({ pos, message }) => `${at(pos[0])}: ${message}`) }
  }
  let value: unknown
  try {
    // Aliases have no use here, and can make a small file large.
    value = document.toJS({ maxAliasCount: 0 })
  } catch {
    return { ok: false, problems: [`${file}:1:1: aliases (*name) are not accepted; write the value out`] }
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return { ok: true, value: parsed.data }
  const problems = parsed.error.issues.slice(0, PROBLEMS_MAX).map(({ path, message }) => {
    let known: readonly PropertyKey[] = path
    let node = document.getIn(known as unknown[], true) as { range?: readonly number[] } | undefined
    while (node?.range === undefined && known.length > 0) {
      known = known.slice(0, -1)
      node = document.getIn(known as unknown[], true) as typeof node
    }
    return `${at(node?.range?.[0] ?? 0)}: ${path.map(String).join('.') || 'the file'}: ${message}`
  })
  return { ok: false, problems }
}
