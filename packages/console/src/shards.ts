/** How the shards of objects stand, in words: of one node, and of the ring. */
import type { VaultNode } from '@ringwall/client'
import { counted, duration, percent, size } from './format.ts'

export type Level = 'good' | 'warn' | 'bad'

export interface Told {
  readonly level: Level
  readonly text: string
}

export interface Progress {
  readonly bytes: number
  readonly of: number
}

/** `96.0 MiB of 384.0 MiB (25 %)` */
export const progressText = ({ bytes, of }: Progress): string => `${size(bytes)} of ${size(of)} (${percent(bytes, of)} %)`

/** All that a node makes anew now; undefined: nothing. */
export function mendedOn({ standing }: VaultNode): Progress | undefined {
  if (standing === null) return undefined
  const { mending, repairing } = standing
  if (mending !== null) return { bytes: mending.bytes, of: mending.ofBytes }
  return repairing === null ? undefined : { bytes: repairing.bytes, of: repairing.of }
}

/** Nodes that say that this one's shards are made anew elsewhere. */
export const awayBy = (nodes: readonly VaultNode[], id: string): readonly string[] =>
  nodes.filter(({ standing }) => standing?.away.includes(id) === true).map(({ id: teller }) => teller)

/** Of one node. @param nowMs Unix milliseconds. */
export function stateOf(node: VaultNode, nowMs: number): Told {
  const { standing } = node
  if (standing === null) return { level: 'bad', text: 'does not answer' }
  const { storeAway, missing, waiting, passedAtMs, uncompared } = standing
  if (storeAway !== null) return { level: 'bad', text: `store away for ${duration(nowMs - storeAway.sinceMs)}` }
  const mended = mendedOn(node)
  if (mended !== undefined) return { level: 'warn', text: `repairing, ${percent(mended.bytes, mended.of)} %` }
  if (waiting > 0) return { level: 'warn', text: `${waiting} waiting` }
  if (missing > 0) return { level: 'warn', text: `${missing} to repair` }
  if (passedAtMs === null) return { level: 'warn', text: 'not looked yet' }
  return { level: 'good', text: uncompared > 0 ? `whole; ${uncompared} still to compare` : 'whole' }
}

const named = (nodes: readonly VaultNode[]): string => nodes.map(({ id }) => id).join(', ')

/** Of the ring, in one line: the gravest decides how it is shown. */
export function verdict(nodes: readonly VaultNode[], versions: number): Told {
  const sum = (pick: (standing: NonNullable<VaultNode['standing']>) => number): number =>
    nodes.reduce((all, { standing }) => all + (standing === null ? 0 : pick(standing)), 0)
  const silent = nodes.filter(({ standing }) => standing === null)
  const storeless = nodes.filter(({ standing }) => standing !== null && standing.storeAway !== null)
  const mended = nodes.flatMap((node) => mendedOn(node) ?? [])
  const waiting = sum((standing) => standing.waiting)
  const missing = sum((standing) => Math.max(0, standing.missing - standing.waiting))
  const unseen = nodes.filter(({ standing }) => standing?.passedAtMs === null)
  const parts: string[] = []
  const out = [...silent, ...storeless]
  if (mended.length > 0) {
    const all = mended.reduce((one, two) => ({ bytes: one.bytes + two.bytes, of: one.of + two.of }))
    parts.push(`Repairing on ${counted(mended.length, 'node')}: ${progressText(all)}.`)
  } else if (missing > 0) parts.push(`${counted(missing, 'shard')} to repair.`)
  if (waiting > 0) parts.push(`${counted(waiting, 'shard')} waiting.`)
  if (silent.length > 0) parts.push(`No answer from ${named(silent)}.`)
  if (storeless.length > 0) parts.push(`Shards out of reach on ${named(storeless)}.`)
  if (unseen.length > 0) parts.push(`Not looked yet: ${named(unseen)}.`)
  const right = nodes.length - out.length
  if (out.length > 0 && right > 0 && mended.length + missing + waiting + unseen.length === 0)
    parts.unshift(`Whole on ${counted(right, 'node')}.`)
  if (parts.length === 0) {
    const shards = sum((standing) => standing.shards)
    const held = `${counted(shards, 'shard')} of ${counted(versions, 'version')}`
    return { level: 'good', text: versions === 0 ? 'No objects yet.' : `All whole: ${held} on ${counted(nodes.length, 'node')}.` }
  }
  return { level: out.length > 0 ? 'bad' : 'warn', text: parts.join(' ') }
}

/** What keeps something from being whole: node and why. */
export interface Obstacle extends Told {
  readonly node: string
  readonly version: string | undefined
}

export function obstacles(nodes: readonly VaultNode[], nowMs: number): readonly Obstacle[] {
  return nodes.flatMap((node): readonly Obstacle[] => {
    const { id, standing } = node
    const why = standing === null ? (node.reason ?? 'unknown') : standing.storeAway?.reason
    if (standing === null || why !== undefined) {
      const { level, text } = stateOf(node, nowMs)
      const tellers = awayBy(nodes, id)
      const isAway = tellers.length === 0 ? '' : `; its shards are made anew elsewhere, say ${tellers.join(', ')}`
      return [{ node: id, version: undefined, level, text: `${text}: ${why}${isAway}` }]
    }
    const told = standing.waits.map(({ version, reason }): Obstacle => ({ node: id, version, level: 'warn', text: reason }))
    const more = standing.waiting - told.length
    if (told.length === 0 || more <= 0) return told
    return [...told, { node: id, version: undefined, level: 'warn', text: `and ${more} more waiting` }]
  })
}

/** A node whose shards were wrong or missing when others asked for them. */
export interface Accused {
  readonly party: string
  readonly wrong: number
  readonly missing: number
  readonly lastAtMs: number
  /** Who says so. */
  readonly by: readonly string[]
}

/** The last first. */
export function accused(nodes: readonly VaultNode[]): readonly Accused[] {
  const all = new Map<string, Accused>()
  for (const { id, standing } of nodes)
    for (const { party, wrong, missing, lastAtMs } of standing?.culprits ?? []) {
      const known = all.get(party) ?? { party, wrong: 0, missing: 0, lastAtMs: 0, by: [] }
      all.set(party, {
        party,
        wrong: known.wrong + wrong,
        missing: known.missing + missing,
        lastAtMs: Math.max(known.lastAtMs, lastAtMs),
        by: [...known.by, id],
      })
    }
  return [...all.values()].sort((a, b) => b.lastAtMs - a.lastAtMs)
}
