/** Virtual patches: rules for a single hole, with tests of their own, put into the policy for a time; shadow first, then enforced. */
import { readFileSync } from 'node:fs'
import type { RingwallClient } from '@ringwall/client'
import { isMap, isSeq, parse, parseDocument } from 'yaml'
import { UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { applyConfirmed, changeLine, refuseProblems } from './policy.ts'

const TTL_MS_MAX = 90 * 86_400_000

export interface PatchOptions {
  readonly ttlMs: number
  readonly reason: string
  readonly owner: string
  readonly mode: 'shadow' | 'enforce'
  readonly yes: boolean
  readonly dryRun: boolean
}

type Plain = Readonly<Record<string, unknown>>

const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A file's patch in the policy's form: `when` becomes a rule. */
export function patchOf(text: string, file: string): Plain & { readonly name: string } {
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 0 })
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message.split('\n', 1)[0]}`)
  }
  if (!isPlain(value) || typeof value.name !== 'string')
    throw new UsageError(`${file}: expected a patch: name, service, rules or when, tests`)
  const { when, ...patch } = value
  if (when === undefined) return { ...patch, name: value.name }
  if (patch.rules !== undefined) throw new UsageError(`${file}: has both rules and when: keep one`)
  return { ...patch, name: value.name, rules: rulesOf(when, value.name, file) }
}

const KNOWN = ['id', 'methods', 'path', 'variable', 'matches', 'unless', 'transformations', 'message']

/** The short form: all of it must hold. */
function rulesOf(when: unknown, name: string, file: string): string {
  const fail = (why: string): never => {
    throw new UsageError(`${file}: when: ${why}`)
  }
  if (!isPlain(when)) return fail('expected a map')
  const unknown = Object.keys(when).find((key) => !KNOWN.includes(key))
  if (unknown !== undefined) fail(`${unknown} is not known; known are ${KNOWN.join(', ')}`)
  const {
    id,
    methods = [],
    path,
    variable,
    matches,
    unless,
    transformations = ['urlDecodeUni'],
    message = `virtual patch ${name}`,
  } = when
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 1 || id > 999_999_999)
    fail('id: expected a number of its own, for reports')
  const texts = (value: unknown, key: string, pattern: RegExp): readonly string[] => {
    if (!Array.isArray(value) || !value.every((one) => typeof one === 'string' && pattern.test(one)))
      return fail(`${key}: expected a list of names`)
    return value as string[]
  }
  const quoted = (value: unknown, key: string): string => {
    if (typeof value !== 'string' || value === '' || /[\r\n]/.test(value)) return fail(`${key}: expected one line of text`)
    // In SecLang's double quotes, a quote is escaped; a backslash stays for the pattern.
    return value.replaceAll('"', '\\"')
  }
  const links: string[] = []
  const verbs = texts(methods, 'methods', /^[A-Z]{1,16}$/)
  if (verbs.length > 0) links.push(`REQUEST_METHOD "@rx ^(?:${verbs.join('|')})$"`)
  if (path !== undefined) links.push(`REQUEST_FILENAME "@rx ${quoted(path, 'path')}"`)
  if (typeof variable !== 'string' || !/^[!&A-Z][\w!&|:.-]{1,200}$/.test(variable))
    fail('variable: expected what to look at, such as ARGS:id or REQUEST_HEADERS:Range')
  if ((matches === undefined) === (unless === undefined)) fail('expected either matches or unless, a pattern')
  const steps = texts(transformations, 'transformations', /^[A-Za-z0-9]{1,40}$/)
    .map((step) => `,t:${step}`)
    .join('')
  links.push(
    matches === undefined ? `${variable} "!@rx ${quoted(unless, 'unless')}"` : `${variable} "@rx ${quoted(matches, 'matches')}"`,
  )
  return links
    .map((link, at) => {
      const head =
        at === 0 ? `id:${id},phase:2,deny,severity:CRITICAL,msg:'${quoted(message, 'message').replaceAll("'", "\\'")}',` : ''
      const last = at === links.length - 1
      return `${'  '.repeat(at)}SecRule ${link} "${head}t:none${last ? steps : ',chain'}"\n`
    })
    .join('')
}

export async function rulePatch(client: RingwallClient, file: string, options: PatchOptions): Promise<void> {
  if (options.ttlMs < 1_000 || options.ttlMs > TTL_MS_MAX)
    throw new UsageError('--ttl: expected 1s to 90d; a patch can be renewed')
  if (options.reason.trim() === '') throw new UsageError('--reason: say why; whoever looks after the rules reads it')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`${file}: the patch cannot be read`)
  }
  const { mode, owner, reason } = options
  const until = `${new Date(Math.floor((Date.now() + options.ttlMs) / 1_000) * 1_000).toISOString().slice(0, 19)}Z`
  const patch = { ...patchOf(text, file), mode, owner, reason, until }
  await change(client, options, (policy) => withPatch(policy, patch), `${patch.name} is in the policy until ${until}, ${mode}`)
}

/** @param edit Of the policy's text. */
async function change(
  client: RingwallClient,
  options: { readonly yes: boolean; readonly dryRun: boolean },
  edit: (policy: string) => string,
  done: string,
): Promise<void> {
  const { text, version } = await client.policy()
  const edited = edit(text)
  const plan = await client.policyPlan(edited)
  for (const { name, ok, expected, got } of plan.tests.filter((one) => one.name.startsWith('patch ')))
    process.stderr.write(
      `${ok ? paint('green', '✓') : paint('red', '✗')} ${printable(name)}${ok ? '' : `: expected ${expected}, got ${printable(got)}`}\n`,
    )
  if (!plan.valid) refuseProblems('the policy with this patch', plan.problems)
  for (const one of plan.changes) process.stderr.write(`${changeLine(one)}\n`)
  if (options.dryRun || plan.changes.length === 0) {
    process.stderr.write('nothing was changed\n')
    return
  }
  await applyConfirmed(client, edited, version, options.yes, done)
}

function edited(text: string, edit: (patches: Plain[]) => Plain[]): string {
  const document = parseDocument(text)
  if (!isMap(document.contents)) throw new UsageError('the policy in force cannot be edited: apply a file instead')
  const held = document.get('patches')
  const before = isSeq(held) ? (held.toJSON() as Plain[]) : []
  const after = edit(before)
  if (after.length === 0) document.delete('patches')
  else document.set('patches', document.createNode(after))
  return document.toString({ lineWidth: 0 })
}

function withPatch(text: string, patch: Plain & { readonly name: string }): string {
  return edited(text, (patches) => [...patches.filter(({ name }) => name !== patch.name), patch])
}

interface Held {
  readonly name: string
  readonly service: string
  readonly route?: string
  readonly mode?: string
  readonly owner: string
  readonly reason: string
  readonly until: string
  readonly rules: string
  readonly tests: readonly unknown[]
}

async function held(client: RingwallClient): Promise<readonly Held[]> {
  const value: unknown = parse((await client.policy()).text)
  return isPlain(value) && Array.isArray(value.patches) ? (value.patches as Held[]) : []
}

export async function patchList(client: RingwallClient, format: Format): Promise<void> {
  const patches = await held(client)
  const { rules } = patches.length === 0 ? { rules: [] } : await client.rules()
  const hits = new Map(rules.map((rule) => [rule.id, rule.hits]))
  const idsOf = ({ rules: text }: Held): readonly number[] => [...text.matchAll(/\bid:'?(\d+)/g)].map((match) => Number(match[1]))
  printList<Held>(
    format,
    patches,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'WHERE', value: ({ service, route }) => `${service}${route === undefined ? '' : ` ${route}`}` },
      { title: 'MODE', value: ({ mode = 'shadow' }) => mode },
      { title: 'RULES', value: (patch) => idsOf(patch).join(' ') },
      { title: 'HITS', value: (patch) => idsOf(patch).reduce((sum, id) => sum + (hits.get(id) ?? 0), 0) },
      { title: 'TESTS', value: ({ tests }) => tests.length },
      {
        title: 'LAPSES IN',
        value: ({ until }) => (Date.parse(until) <= Date.now() ? 'lapsed' : duration(Date.parse(until) - Date.now())),
      },
      { title: 'OWNER', value: ({ owner }) => printable(owner) },
      { title: 'REASON', value: ({ reason }) => printable(reason) },
    ],
    ({ name }) => name,
    'there are no patches',
  )
}

/** @param mode Undefined: out of the policy. */
export async function patchChange(
  client: RingwallClient,
  name: string,
  mode: 'shadow' | 'enforce' | undefined,
  options: { readonly yes: boolean; readonly dryRun: boolean },
): Promise<void> {
  if (!(await held(client)).some((patch) => patch.name === name))
    throw new UsageError(`no patch is called ${name}; ringwall rule patch ls lists them`)
  const edit = (patches: Plain[]): Plain[] =>
    mode === undefined
      ? patches.filter((patch) => patch.name !== name)
      : patches.map((patch) => (patch.name === name ? { ...patch, mode } : patch))
  await change(
    client,
    options,
    (text) => edited(text, edit),
    mode === undefined ? `${name} is out` : `${name} is ${mode === 'enforce' ? 'enforced' : 'in shadow'}`,
  )
}
