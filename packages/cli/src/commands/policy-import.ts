/** `policy import openapi`: puts an OpenAPI document's requests into a policy, as `services.NAME.api`. */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { besides } from '@ringwall/node/policy-file'
import { formatProblems, POLICY_BYTES_MAX, PolicyFileInvalid, parsePolicyDocument, policyText } from '@ringwall/ring'
import { importOpenApi } from '@ringwall/waf/api'
import { Document, isCollection, isMap, isNode, isScalar, parseDocument, visit } from 'yaml'
import { QuietFailure, UsageError } from '../errors.ts'
import { printable } from '../format.ts'
import { write } from '../output.ts'

export interface PolicyImportOptions {
  readonly service: string
  readonly mode: 'enforce' | 'shadow' | 'off'
  readonly unknownQuery: 'deny' | 'pass'
  /** Instead of the servers' own. */
  readonly basePath: string | undefined
  /** The policy to change; undefined: print the part. */
  readonly policy: string | undefined
}

const DOCUMENT_BYTES_MAX = 16_777_216

export function policyImportOpenApi(file: string, options: PolicyImportOptions): void {
  const { api, notes } = importOpenApi(readDocument(file), baseOf(options.basePath))
  for (const { level, pointer, message } of notes) {
    process.stderr.write(`${file}: ${level}: ${printable(pointer)}: ${printable(message)}\n`)
  }
  if (api === undefined) {
    process.stderr.write('nothing was imported\n')
    throw new QuietFailure()
  }
  const { mode, unknownQuery, policy } = options
  const section = { mode, ...(unknownQuery === 'deny' ? {} : { unknownQuery }), paths: api.paths, schemas: api.schemas }
  const operations = Object.values(api.paths).reduce((sum, item) => sum + Object.keys(item).length, 0)
  const counts = `${operations} operations on ${Object.keys(api.paths).length} paths, ${Object.keys(api.schemas).length} schemas, ${notes.length} warnings`
  if (policy === undefined) {
    const part = new Document({ services: { [options.service]: { api: section } } }, { aliasDuplicateObjects: false })
    compactIn(part)
    write(part.toString({ lineWidth: 0, flowCollectionPadding: false }).trimEnd())
    process.stderr.write(`${counts}\n`)
    return
  }
  edit(policy, options.service, section)
  process.stderr.write(`${policy}: ${counts}; next: ringwall policy plan ${policy}\n`)
}

function baseOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  if (!/^\/[^?#{}]*$/.test(path)) throw new UsageError(`--base-path ${path}: expected a path that begins with /`)
  return path.replace(/\/+$/, '')
}

/** JSON or YAML. */
function readDocument(file: string): unknown {
  let text: string
  try {
    if (statSync(file).size > DOCUMENT_BYTES_MAX) throw new UsageError(`${file}: larger than ${DOCUMENT_BYTES_MAX} bytes`)
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${file}: the OpenAPI document cannot be read`)
  }
  try {
    return JSON.parse(text)
  } catch {
    // Then it is YAML, or nothing.
  }
  const document = parseDocument(text, { prettyErrors: true })
  const [error] = document.errors
  if (error !== undefined) throw new UsageError(`${file}: neither JSON nor YAML: ${error.message.split('\n')[0]}`)
  try {
    return document.toJS({ maxAliasCount: 1_000 })
  } catch {
    throw new UsageError(`${file}: too many aliases`)
  }
}

/** Replaces `services.NAME.api`; all else stays, comments included. Written only when the policy is valid then. */
function edit(file: string, service: string, section: unknown): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`${file}: the policy cannot be read; ringwall policy show > ${file} writes the one in force`)
  }
  const document = parseDocument(text)
  const [error] = document.errors
  if (error !== undefined) throw new UsageError(`${file}: ${error.message.split('\n')[0]}`)
  const services = document.get('services')
  if (!isMap(services) || !services.has(service)) {
    const known = isMap(services) ? services.items.map(({ key }) => String(key)).join(', ') : 'none'
    throw new UsageError(`${file}: there is no service ${service} (known here: ${known})`)
  }
  const changed = spliced(text, document, service, section) ?? rewritten(document, service, section)
  const bytes = Buffer.byteLength(changed)
  if (bytes > POLICY_BYTES_MAX) {
    throw new UsageError(
      `${file}: with this api it has ${bytes} bytes, at most ${POLICY_BYTES_MAX} are agreed on: import a part of it`,
    )
  }
  const parsed = parsePolicyDocument(wholeText(file, changed), file)
  if (!parsed.ok) {
    process.stderr.write(`${formatProblems(parsed.problems, `${file} as it would be`)}\nnothing was changed\n`)
    throw new QuietFailure()
  }
  const draft = `${file}.${process.pid}.tmp`
  writeFileSync(draft, changed, { mode: statSync(file).mode })
  renameSync(draft, file)
  const waf = parsed.policy.services[service]!.waf
  if (waf.oversize === 'pass') {
    process.stderr.write(
      `note: bodies of ${service} longer than ${waf.bodyBytesMax} bytes pass unchecked; waf.oversize: deny refuses them\n`,
    )
  }
}

/** With the files that it names put into it. */
function wholeText(file: string, source: string): string {
  try {
    return policyText(file, source, besides(file)).text
  } catch (error) {
    if (error instanceof PolicyFileInvalid) throw new UsageError(error.message)
    throw error
  }
}

/** The text with the api written into it and every other character as it was; undefined where that is not possible. */
function spliced(text: string, document: Document.Parsed, service: string, section: unknown): string | undefined {
  const map = document.getIn(['services', service])
  if (!isMap(map) || map.flow === true) return undefined
  const [first] = map.items
  const start = isScalar(first?.key) ? first.key.range?.[0] : undefined
  if (start === undefined) return undefined
  const indent = text.slice(text.lastIndexOf('\n', start) + 1, start)
  if (!/^ +$/.test(indent)) return undefined
  const part = document.createNode({ api: section }, { aliasDuplicateObjects: false })
  const fragment = new Document(part)
  compactIn(fragment)
  const lines = fragment
    .toString({ lineWidth: 0, flowCollectionPadding: false })
    .trimEnd()
    .replaceAll(/\n(?=.)/g, `\n${indent}`)
  const known = map.items.find(({ key }) => isScalar(key) && key.value === 'api')
  let changed: string
  if (known === undefined) {
    const last = map.items.at(-1)?.value
    const end = isNode(last) ? last.range?.[1] : undefined
    if (end === undefined) return undefined
    // Past what else stands on the line.
    const after = text[end - 1] === '\n' ? end : text.indexOf('\n', end) + 1
    changed = after === 0 ? `${text}\n${indent}${lines}\n` : `${text.slice(0, after)}${indent}${lines}\n${text.slice(after)}`
  } else {
    const from = isScalar(known.key) ? known.key.range?.[0] : undefined
    const to = isNode(known.value) ? known.value.range?.[1] : undefined
    if (from === undefined || to === undefined) return undefined
    changed = `${text.slice(0, from)}${lines}${text[to - 1] === '\n' ? '\n' : ''}${text.slice(to)}`
  }
  // Whatever a style of writing may have done: what is read must be what was meant.
  const wanted = document.clone() as Document
  wanted.setIn(['services', service, 'api'], section)
  const read = parseDocument(changed)
  return read.errors.length === 0 && isDeepStrictEqual(read.toJS(), wanted.toJS()) ? changed : undefined
}

/** Comments stay; how lists and the like are written may change. */
function rewritten(document: Document, service: string, section: unknown): string {
  document.setIn(['services', service, 'api'], document.createNode(section, { aliasDuplicateObjects: false }))
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

/** What is small stands on one line. */
function compactIn(document: Document): void {
  visit(document, {
    Collection(_key, collection) {
      if (isCollection(collection) && JSON.stringify(collection).length <= 80) {
        collection.flow = true
        return visit.SKIP
      }
      return undefined
    },
  })
}
