/** The part of a drill that runs in a network of its own: restores, starts nodes, uses them, and ends them. Prints a `DrillAnswer` as JSON. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { RingwallClient } from '@ringwall/client'
import type { DrilledNode, DrillImage } from '@ringwall/node'
import { UsageError } from '../errors.ts'
import { readContext } from '../session.ts'
import { isLiteral, RTO_MS_MAX } from './drill.ts'
import { operatorSession, readSecrets } from './vault-session.ts'

const PAUSE_MS = 200
const OBJECT_BYTES_MAX = 1_073_741_824

export interface DrillSpec {
  readonly images: readonly DrillImage[]
  readonly shares: readonly string[]
  readonly context: string
  readonly secret: string | undefined
  readonly object: { readonly path: string; readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  readonly scratch: string | undefined
}

export interface DrillAnswer {
  readonly nodes: number
  /** Until images were opened, verified and written. */
  readonly openedMs: number
  /** From there until a block was agreed on that no image has. */
  readonly upMs: number
  readonly totalMs: number
  /** Of the newest image. */
  readonly imageHeight: number
  readonly height: number
  readonly secret: { readonly name: string; readonly version: number; readonly bytes: number } | null
  readonly object: { readonly path: string; readonly bytes: number } | null
  readonly problems: readonly string[]
}

export async function drillInside(specFile: string): Promise<void> {
  const spec = JSON.parse(readFileSync(specFile, 'utf8')) as DrillSpec & { readonly scratch: string; readonly hosts: string }
  const reachable = Object.keys(networkInterfaces()).filter((name) => name !== 'lo')
  // The nodes that are started here have the keys of living ones.
  if (reachable.length > 0) throw new UsageError(`a drill runs in a network of its own, and this one has ${reachable.join(', ')}`)
  const { restoreForDrill } = await import('@ringwall/node')
  const startedMs = performance.now()
  const nodes = spec.images.map((image, at) => restoreForDrill(image, spec.shares, spec.scratch, at))
  const openedMs = performance.now() - startedMs
  nameNodes(nodes, spec.hosts)
  const children = nodes.map(start)
  const problems: string[] = []
  try {
    const context = contextOf(spec, nodes)
    const up = await upAgain(spec, nodes, context)
    const upMs = performance.now() - startedMs - openedMs
    const secret = spec.secret === undefined ? null : await within(() => openSecret(context, spec.secret as string))
    const object = spec.object === undefined ? null : await within(() => readObject(nodes, spec.object as Wanted))
    for (const [name, result] of [
      ['secret', secret],
      ['object', object],
    ] as const)
      if (result instanceof Error) problems.push(`the ${name} could not be had: ${result.message}`)
    const answer: DrillAnswer = {
      nodes: nodes.length,
      openedMs: Math.round(openedMs),
      upMs: Math.round(upMs),
      totalMs: Math.round(performance.now() - startedMs),
      ...up,
      secret: secret instanceof Error ? null : secret,
      object: object instanceof Error ? null : object,
      problems,
    }
    process.stdout.write(JSON.stringify(answer))
  } catch (error) {
    for (const node of nodes) process.stderr.write(`${node.node}: ${lastWords(node)}\n`)
    throw error
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
}

/** The addresses that the ring knows its nodes by are loopback's here. */
function nameNodes(nodes: readonly DrilledNode[], hosts: string): void {
  const lines = ['127.0.0.1 localhost']
  for (const [at, { fabric }] of nodes.entries()) {
    const { host } = fabric
    if (!isLiteral(host)) lines.push(`127.77.${at >> 8}.${(at & 255) + 1} ${host}`)
    else if (!host.startsWith('127.') && host !== '::1')
      spawnSync('ip', ['addr', 'add', `${host}/${host.includes(':') ? 128 : 32}`, 'dev', 'lo'])
  }
  // In place: it is what is mounted over /etc/hosts.
  writeFileSync(hosts, '')
  appendFileSync(hosts, `${lines.join('\n')}\n`)
}

const logOf = ({ config }: DrilledNode): string => join(config, '..', 'output.log')

function start(node: DrilledNode): ChildProcess {
  const log = openSync(logOf(node), 'w', 0o600)
  const args = [...process.execArgv, process.argv[1] as string, 'node', '--config', node.config]
  const child = spawn(process.execPath, args, { stdio: ['ignore', log, log] })
  closeSync(log)
  return child
}

function lastWords(node: DrilledNode): string {
  return readFileSync(logOf(node), 'utf8').trim().split('\n').at(-1)?.slice(0, 500) ?? ''
}

function contextOf(
  { context, scratch }: { readonly context: string; readonly scratch: string },
  nodes: readonly DrilledNode[],
): string {
  const file = join(scratch, 'operator.json')
  const restored = nodes.map(({ node, admin }) => ({ id: node, url: `http://${admin}` }))
  writeFileSync(file, JSON.stringify({ format: 'ringwall/context/1', ...readContext(context), nodes: restored }), { mode: 0o600 })
  return file
}

/** Waits until the restored nodes have agreed on something new. */
async function upAgain(
  spec: DrillSpec,
  nodes: readonly DrilledNode[],
  contextFile: string,
): Promise<{ readonly imageHeight: number; readonly height: number }> {
  const operator = readContext(contextFile)
  const clients = operator.nodes.map(({ url }) => new RingwallClient({ baseUrl: url, operator }))
  const deadline = performance.now() + RTO_MS_MAX
  const locked = new Set(nodes.filter(({ isLocked }) => isLocked))
  let first: number | undefined
  let reason = 'nothing answers'
  while (performance.now() < deadline) {
    for (const node of locked) if (await unlocks(node, spec.shares)) locked.delete(node)
    const answers = await Promise.allSettled(clients.map((client) => client.status()))
    const ledgers = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.ledger] : []))
    const refused = answers.find((answer) => answer.status === 'rejected')
    if (refused !== undefined) reason = (refused.reason as Error).message
    const quorum = ledgers[0]?.quorum ?? Number.POSITIVE_INFINITY
    if (ledgers.length >= quorum) {
      const height = Math.max(...ledgers.map((ledger) => ledger.height))
      first ??= height
      // What agreed on the next block is a quorum that goes on.
      if (height > first && ledgers.filter((ledger) => ledger.height > (first as number)).length >= quorum)
        return { imageHeight: first, height }
      reason = `${ledgers.length} nodes answer, and none has agreed on a block after ${first}`
    }
    await sleep(PAUSE_MS)
  }
  throw new Error(`the restored nodes did not agree within ${RTO_MS_MAX / 60_000} minutes: ${reason}`)
}

/** With the operators' shares, as `ringwall node unlock` does. */
async function unlocks({ config }: DrilledNode, shares: readonly string[]): Promise<boolean> {
  const { unlockNode } = await import('@ringwall/node')
  for (const share of shares) {
    const missing = await unlockNode(config, share).then(
      (answer) => answer.missing,
      () => undefined,
    )
    if (missing === 0) return true
    if (missing === undefined) return false
  }
  return false
}

/** Again and again, as keys are taken up and nodes find each other. */
async function within<T>(work: () => Promise<T>): Promise<T | Error> {
  const deadline = performance.now() + RTO_MS_MAX / 5
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > deadline) return error as Error
      await sleep(PAUSE_MS)
    }
  }
}

async function openSecret(context: string, name: string): Promise<NonNullable<DrillAnswer['secret']>> {
  const session = operatorSession({ context })
  const [client] = session.clients
  const { secrets: listed } = await client.vaultSecrets({ path: name })
  const version = listed.find((one) => one.name === name)?.version
  if (version === undefined) throw new Error(`the restored ring has no secret ${name}`)
  const { secrets } = await readSecrets(session, [{ name, version }])
  return { name, version, bytes: secrets[0]?.secret.length ?? 0 }
}

type Wanted = NonNullable<DrillSpec['object']>

/** By S3, through the first restored node that has it. */
async function readObject(nodes: readonly DrilledNode[], wanted: Wanted): Promise<NonNullable<DrillAnswer['object']>> {
  const { BucketClient } = await import('@ringwall/node')
  const at = wanted.path.indexOf('/')
  const [bucket, key] = [wanted.path.slice(0, at), wanted.path.slice(at + 1)]
  const place = { endpoint: `http://${nodes[0]?.s3}`, region: 'us-east-1', bucket, pathStyle: true, ca: undefined }
  const client = new BucketClient({ place, credentials: () => wanted })
  try {
    let size: number | undefined
    for await (const listed of client.list(key)) if (listed.key === key) size = listed.bytes
    if (size === undefined) throw new Error(`${wanted.path} is not listed`)
    if (size > OBJECT_BYTES_MAX) throw new Error(`${wanted.path} has ${size} bytes: name one of at most ${OBJECT_BYTES_MAX}`)
    let bytes = 0
    if (size > 0) for await (const chunk of (await client.get(key, 0, size)) ?? []) bytes += (chunk as Buffer).length
    if (bytes !== size) throw new Error(`${bytes} of ${size} bytes of ${wanted.path} came`)
    return { path: wanted.path, bytes }
  } finally {
    client.stop()
  }
}
