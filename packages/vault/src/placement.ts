/**
 * Which node holds which shard of an object: a function of the object's version, its bucket's rules and the nodes that there are, so that all
 * nodes come to the same without asking. Rendezvous hashing (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998):
 * a node that comes or goes moves about as many shards as it holds itself. Pure.
 *
 * Never two shards on one node. Regions are filled evenly, so that one that is lost takes as few shards as can be. Where a bucket must stay in
 * some regions, only its first k - 1 shards may lie outside of them: whatever nodes come and go, and whatever copies a move leaves for a while, all
 * that lies outside together is not enough to have an object.
 */
import { hash } from 'node:crypto'

export interface PlacedNode {
  readonly id: string
  readonly region: string
}

export interface Layout {
  /** Shards that are enough, and all. */
  readonly data: number
  readonly shards: number
  /** Empty: anywhere. */
  readonly residency: readonly string[]
}

const rank = (text: string): number => hash('sha256', text, 'buffer').readUIntBE(0, 6)

/** By index of the shard, the node that is to hold it; undefined where there are too few nodes. */
export function placeShards(
  version: string,
  { data, shards, residency }: Layout,
  nodes: readonly PlacedNode[],
): readonly (string | undefined)[] {
  const ranked = nodes
    .map((node) => ({
      ...node,
      rank: rank(`${version} ${node.id}`),
      isInside: residency.length === 0 || residency.includes(node.region),
    }))
    .sort((a, b) => b.rank - a.rank || (a.id < b.id ? -1 : 1))
  const chosen: typeof ranked = []
  const inRegion = new Map<string, number>()
  let outside = 0
  while (chosen.length < shards) {
    // Inside first; then the region with fewest; then by rank.
    let best: (typeof ranked)[number] | undefined
    for (const node of ranked) {
      if (chosen.includes(node) || (!node.isInside && outside >= data - 1)) continue
      if (best === undefined || before(node, best, inRegion)) best = node
    }
    if (best === undefined) break
    chosen.push(best)
    inRegion.set(best.region, (inRegion.get(best.region) ?? 0) + 1)
    if (!best.isInside) outside += 1
  }
  return matched(version, { data, shards }, chosen)
}

type Ranked = PlacedNode & { readonly rank: number; readonly isInside: boolean }

function before(a: Ranked, b: Ranked, inRegion: ReadonlyMap<string, number>): boolean {
  if (a.isInside !== b.isInside) return a.isInside
  const difference = (inRegion.get(a.region) ?? 0) - (inRegion.get(b.region) ?? 0)
  return difference === 0 ? a.rank > b.rank : difference < 0
}

/** Indexes to nodes, best pairs first: who stays in keeps its index, but for few. Who is outside has the first indexes to choose from, no others. */
function matched(
  version: string,
  { data, shards }: Pick<Layout, 'data' | 'shards'>,
  chosen: readonly Ranked[],
): readonly (string | undefined)[] {
  const placed: (string | undefined)[] = Array.from({ length: shards })
  const taken = new Set<string>()
  for (const isInside of [false, true]) {
    const pairs = chosen
      .filter((node) => node.isInside === isInside)
      .flatMap(({ id }) =>
        Array.from({ length: isInside ? shards : data - 1 }, (_, index) => ({
          id,
          index,
          rank: rank(`${version} ${index} ${id}`),
        })),
      )
    pairs.sort((a, b) => b.rank - a.rank || a.index - b.index)
    for (const { id, index } of pairs) {
      if (placed[index] !== undefined || taken.has(id)) continue
      placed[index] = id
      taken.add(id)
    }
  }
  return placed
}

/** What a bucket gets whose rules do not say: as many shards as there are nodes, up to six, of which any two (four of six) are enough. */
export function usualLayout(nodes: number): { readonly data: number; readonly shards: number; readonly durableNodes: number } {
  const shards = Math.min(6, Math.max(2, nodes))
  const data = shards === 6 ? 4 : shards >= 4 ? 2 : 1
  return { data, shards, durableNodes: Math.min(shards, data + 1) }
}
