/** Which ring, as whom, through which node: from the options and the operator's context file. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ContextInvalid, NodeUnreachable, type OperatorContext, parseContext, RingwallClient } from '@ringwall/client'
import { UsageError } from './errors.ts'

export interface SessionOptions {
  readonly context?: string
  readonly node?: string
}

const PROBE_MS = 3_000

/** `--context`, `$RINGWALL_CONTEXT`, or `.ringwall/operator.json` here or in a folder above. */
export function findContext(given: string | undefined): string {
  const named = given ?? process.env.RINGWALL_CONTEXT
  if (named !== undefined && named !== '') return resolve(named)
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const candidate = join(folder, '.ringwall', 'operator.json')
    if (existsSync(candidate)) return candidate
    if (folder === dirname(folder)) break
  }
  throw new UsageError('no ring found from here: start one with ringwall up, or name an operator’s context: --context FILE')
}

export function readContext(given: string | undefined): OperatorContext {
  const file = findContext(given)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`${file}: the operator’s context cannot be read`)
  }
  try {
    return parseContext(text)
  } catch (error) {
    if (error instanceof ContextInvalid) throw new UsageError(`${file}: ${error.message}`)
    throw error
  }
}

/** A client of the named node, or of the first that answers. @throws {NodeUnreachable} Naming all that were tried. */
export async function openSession(options: SessionOptions): Promise<RingwallClient> {
  const context = readContext(options.context)
  const { node } = options
  if (node !== undefined) {
    const url = /^https?:\/\//.test(node) ? node : context.nodes.find(({ id }) => id === node)?.url
    if (url === undefined)
      throw new UsageError(`--node ${node}: the context lists ${context.nodes.map(({ id }) => id).join(', ')}; a URL works too`)
    return new RingwallClient({ baseUrl: url, operator: context })
  }
  const tried: string[] = []
  for (const { id, url } of context.nodes) {
    try {
      await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(PROBE_MS) }).then((response) => response.arrayBuffer())
      return new RingwallClient({ baseUrl: url, operator: context })
    } catch {
      tried.push(`${id} (${url})`)
    }
  }
  throw new NodeUnreachable(tried.join(', '), 'is the ring up? ringwall up starts one')
}
