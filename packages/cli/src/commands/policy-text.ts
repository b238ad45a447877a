/**
 * A policy as it is proposed: one text. Cedar policies that stand in a file of their own (`authorization: { file: shop.cedar }` of a
 * service) are put in its place, and what is wrong is told by the file and line that people wrote it in.
 */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { PolicyProblem } from '@ringwall/client'
import { CEDAR_CHARS_MAX } from '@ringwall/ring'
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { UsageError } from '../errors.ts'

/** Where a line of the whole text comes from; `indent` is what was put before it. */
interface Origin {
  readonly file: string
  readonly line: number
  readonly indent: number
}

export interface PolicyText {
  readonly text: string
  /** The place of a problem, in the file that has it. */
  placeOf(problem: Pick<PolicyProblem, 'line' | 'column'>): {
    readonly file: string
    readonly line: number
    readonly column: number
  }
}

/** A line of the policy that names a file. */
interface Inclusion {
  readonly line: number
  readonly column: number
  readonly file: string
}

/** @throws {UsageError} When a file cannot be read, or stands where it cannot be put. */
export function policyText(file: string, source: string): PolicyText {
  const inclusions = new Map(inclusionsOf(file, source).map((inclusion) => [inclusion.line, inclusion]))
  if (inclusions.size === 0) return { text: source, placeOf: (problem) => ({ file, ...problem }) }
  const lines: string[] = []
  const origins: Origin[] = []
  for (const [index, line] of source.split('\n').entries()) {
    const inclusion = inclusions.get(index + 1)
    origins.push({ file, line: index + 1, indent: 0 })
    if (inclusion === undefined) {
      lines.push(line)
      continue
    }
    const named = join(dirname(file), inclusion.file)
    const indent = inclusion.column - 1 + 2
    const included = readCedar(named).replace(/\r\n/g, '\n').replace(/\n+$/, '')
    lines.push(`${line.slice(0, inclusion.column - 1)}policies: ${included === '' ? '""' : '|2'}`)
    if (included === '') continue
    for (const [at, text] of included.split('\n').entries()) {
      lines.push(text === '' ? '' : `${' '.repeat(indent)}${text}`)
      origins.push({ file: named, line: at + 1, indent })
    }
  }
  return {
    text: lines.join('\n'),
    placeOf: ({ line, column }) => {
      const origin = origins[line - 1]
      if (origin === undefined) return { file, line, column }
      return { file: origin.file, line: origin.line, column: Math.max(1, column - origin.indent) }
    },
  }
}

function inclusionsOf(file: string, source: string): readonly Inclusion[] {
  const counter = new LineCounter()
  const document = parseDocument(source, { lineCounter: counter, prettyErrors: false, uniqueKeys: false })
  const services: unknown = document.errors.length > 0 ? undefined : document.get('services')
  if (!isMap(services)) return []
  return services.items.flatMap(({ key, value }) => {
    const authorization: unknown = isMap(value) ? value.get('authorization') : undefined
    const pair = isMap(authorization)
      ? authorization.items.find((each) => isScalar(each.key) && each.key.value === 'file')
      : undefined
    if (!isMap(authorization) || pair === undefined || !isScalar(pair.key) || !isScalar(pair.value)) return []
    const { line, col } = counter.linePos(pair.key.range?.[0] ?? 0)
    const where = `${file}:${line}:${col}: services.${String(key)}.authorization.file`
    if (typeof pair.value.value !== 'string' || pair.value.value === '')
      throw new UsageError(`${where}: expected the name of a file`)
    if (authorization.has('policies')) throw new UsageError(`${where}: keep policies or file, not both`)
    if (authorization.flow === true || (value as { flow?: boolean }).flow === true)
      throw new UsageError(`${where}: give file a line of its own, without braces around it`)
    return [{ line, column: col, file: pair.value.value }]
  })
}

function readCedar(file: string): string {
  try {
    // A character has at most four bytes.
    if (statSync(file).size > CEDAR_CHARS_MAX * 4) throw new UsageError(`${file}: longer than ${CEDAR_CHARS_MAX} characters`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${file}: the Cedar policies cannot be read; the name is taken from where the policy stands`)
  }
}
