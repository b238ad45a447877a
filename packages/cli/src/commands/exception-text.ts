/** Exceptions written into the text of a policy and taken out of it; every other character stays as somebody wrote it. */
import { isDeepStrictEqual } from 'node:util'
import type { ExceptionScope } from '@ringwall/client'
import { type Document, isMap, isScalar, isSeq, parse, parseDocument, type YAMLSeq } from 'yaml'
import { UsageError } from '../errors.ts'

export interface Exception extends ExceptionScope {
  readonly name: string
  readonly owner: string
  readonly reason: string
  readonly until: string
}

type Plain = Readonly<Record<string, unknown>>

/** The policy with these exceptions added, or renewed where it has some of the same name. */
export function withExceptions(text: string, exceptions: readonly Exception[]): string {
  const before = heldIn(text)
  const wanted = [...before]
  for (const exception of exceptions) {
    const value = plain(exception)
    const at = wanted.findIndex(({ name }) => name === exception.name)
    if (at < 0) wanted.push(value)
    else wanted[at] = value
  }
  const names = exceptions.map(({ name }) => name)
  const cut = cutOut(text, names)
  const lines = exceptions.map((exception) => `- ${flow(plain(exception))}`)
  return checked(added(cut, lines), text, wanted)
}

/** The policy without these. */
export function withoutExceptions(text: string, names: readonly string[]): string {
  const wanted = heldIn(text).filter(({ name }) => !names.includes(String(name)))
  return checked(cutOut(text, names), text, wanted)
}

function plain({ name, rule, service, route, path, variable, owner, reason, until }: Exception): Plain {
  const where = { ...(route === undefined ? {} : { route }), ...(path === undefined ? {} : { path }) }
  return { name, rule, service, ...where, variable, owner, reason, until }
}

function flow(value: Plain): string {
  return `{ ${Object.entries(value)
    .map(([key, one]) => `${key}: ${JSON.stringify(one)}`)
    .join(', ')} }`
}

function heldIn(text: string): readonly Plain[] {
  const value: unknown = parse(text)
  const held = typeof value === 'object' && value !== null && 'exceptions' in value ? value.exceptions : []
  if (!Array.isArray(held)) throw new UsageError('exceptions in the policy in force is no list: apply a file instead')
  return held as readonly Plain[]
}

function listIn(document: Document): YAMLSeq | undefined {
  const held = document.get('exceptions')
  return isSeq(held) ? held : undefined
}

const endOfLine = (text: string, at: number): number => {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end + 1
}
const startOfLine = (text: string, at: number): number => text.lastIndexOf('\n', at - 1) + 1

/** The lines of these exceptions; with the last one, the key. */
function cutOut(text: string, names: readonly string[]): string {
  const document = parseDocument(text)
  const list = listIn(document)
  if (list === undefined || list.flow === true || !isMap(document.contents)) return text
  const ranges: (readonly [number, number])[] = []
  for (const item of list.items) {
    if (!isMap(item) || !item.range || !names.includes(String(item.get('name')))) continue
    ranges.push([startOfLine(text, item.range[0]), endOfLine(text, Math.max(item.range[0], item.range[1] - 1))])
  }
  if (ranges.length === list.items.length && ranges.length > 0) {
    const pair = document.contents.items.find(({ key }) => isScalar(key) && key.value === 'exceptions')
    const key = pair?.key
    if (isScalar(key) && key.range) ranges.unshift([startOfLine(text, key.range[0]), endOfLine(text, key.range[0])])
  }
  return ranges.reduceRight((left, [from, to]) => left.slice(0, from) + left.slice(to), text)
}

function added(text: string, lines: readonly string[]): string {
  const list = listIn(parseDocument(text))
  const whole = text === '' || text.endsWith('\n') ? text : `${text}\n`
  const last = list?.items.at(-1)
  if (list !== undefined && list.flow !== true && isMap(last) && last.range) {
    const at = endOfLine(whole, Math.max(last.range[0], last.range[1] - 1))
    const line = whole.slice(startOfLine(whole, last.range[0]))
    const indent = /^[ ]*/.exec(line)![0]
    return whole.slice(0, at) + lines.map((one) => `${indent}${one}\n`).join('') + whole.slice(at)
  }
  return `${whole}exceptions:\n${lines.map((one) => `  ${one}\n`).join('')}`
}

/** The edited text if it says what it should and nothing else changed; else the document written anew. */
function checked(edited: string, original: string, wanted: readonly Plain[]): string {
  const whole: Record<string, unknown> = { ...(parse(original) as Record<string, unknown>) }
  delete whole.exceptions
  const meant = wanted.length === 0 ? whole : { ...whole, exceptions: wanted }
  const document = parseDocument(edited)
  if (document.errors.length === 0 && isSame(document.toJS() as Plain, meant)) return edited
  const anew = parseDocument(original)
  if (!isMap(anew.contents)) throw new UsageError('the policy in force cannot be edited: apply a file instead')
  if (wanted.length === 0) anew.delete('exceptions')
  else anew.set('exceptions', anew.createNode(wanted))
  return anew.toString({ lineWidth: 0 })
}

function isSame(found: Plain, meant: Plain): boolean {
  const sorted = (value: Plain): Plain => {
    const held = value.exceptions
    if (!Array.isArray(held)) return value
    const byName = (a: Plain, b: Plain): number => (String(a.name) < String(b.name) ? -1 : 1)
    return { ...value, exceptions: (held as Plain[]).toSorted(byName) }
  }
  return isDeepStrictEqual(sorted(found), sorted(meant))
}
