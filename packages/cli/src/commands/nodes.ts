/** Nodes that join a running ring, and nodes that leave it. */
import type { RingwallClient } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration } from '../format.ts'
import { parseRoles } from './invite.ts'
import { tellWaiting } from './waiting.ts'

interface InitOptions {
  readonly genesis: string
  readonly region: string
  readonly fabric: string
  readonly traffic: string
  readonly admin: string
  readonly directory: string
}

type Init = (options: InitOptions & { readonly id: string }) => { readonly publicKey: string }

export function nodeInit(init: Init, id: string, options: InitOptions): void {
  const { publicKey } = init({ id, ...options })
  process.stdout.write(`${publicKey}\n`)
  process.stderr.write(
    `made ${options.directory}. An operator lets it in with:\n  ringwall node add ${id} --key ${publicKey} --address ${options.fabric} --region ${options.region}\nStart it with:\n  ringwall node --config ${options.directory}/node.yaml\n`,
  )
}

export interface NodeAddOptions {
  readonly publicKey: string
  readonly address: string
  readonly region: string
  /** With commas. */
  readonly roles: string
  readonly reason: string
  readonly dryRun: boolean
}

export async function nodeAdd(client: RingwallClient, id: string, options: NodeAddOptions): Promise<void> {
  const { publicKey, address, region, reason, dryRun } = options
  const roles = parseRoles(options.roles)
  const what = `${id} in ${region} at ${address}, as ${roles.join(' and ')}`
  const node = { id, region, address, publicKey, roles }
  if (dryRun) {
    await client.rehearse({ type: 'node.add', node, reason })
    process.stderr.write(`would add ${what}\n`)
    return
  }
  const answer = await client.nodeAdd(node, reason)
  if ('height' in answer && tellWaiting(answer)) return
  if ('height' in answer)
    process.stderr.write(`added ${what}; certified at height ${answer.height} in ${duration(answer.elapsedMs)}\n`)
}

export interface NodeRemoveOptions {
  readonly reason: string
  readonly force: boolean
  readonly dryRun: boolean
}

/** Those who stay have to agree: whether they can is known to a node, not to the ring, so it is looked at before. */
export async function nodeRemove(client: RingwallClient, id: string, options: NodeRemoveOptions): Promise<void> {
  const { left, faults } = await whoStays(client, id, options.force)
  if (options.dryRun) {
    await client.rehearse({ type: 'node.remove', id, reason: options.reason })
    process.stderr.write(`would let ${id} go; ${left} validators stay, of which ${faults} may fail or lie\n`)
    return
  }
  const answer = await client.nodeRemove(id, options.reason)
  if ('height' in answer && tellWaiting(answer)) return
  if ('height' in answer) {
    const stay = `${left} validators stay, of which ${faults} may fail or lie`
    process.stderr.write(`${id} is out since height ${answer.height}; ${stay}. Stop it, and destroy its key\n`)
  }
}

/**
 * Validators that are left without the node, and how many of them may fail.
 *
 * @throws {UsageError} When there is no such node, or, without `force`, those who stay could not agree.
 */
export async function whoStays(
  client: RingwallClient,
  id: string,
  force: boolean,
): Promise<{ readonly left: number; readonly faults: number }> {
  const { nodes } = await client.nodes()
  const found = nodes.find((node) => node.id === id)
  if (found === undefined) throw new UsageError(`no node ${id}; there are ${nodes.map((node) => node.id).join(', ')}`)
  const left = nodes.filter((node) => node.id !== id && node.roles.includes('validator'))
  const down = left.filter(({ reachable }) => !reachable).map((node) => node.id)
  const faults = Math.floor((left.length - 1) / 3)
  if (found.roles.includes('validator') && down.length > faults && !force) {
    throw new UsageError(
      `of the ${left.length} validators that stay, ${left.length - faults} must agree, and ${down.join(', ')} cannot be reached: nothing would be agreed on until they are back. Bring them back first, or use --force`,
    )
  }
  return { left: left.length, faults: Math.max(0, faults) }
}
