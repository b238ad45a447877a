/**
 * Placements of objects' shards under random rings, failures, joins and leaves, from a seed: what the healers of all nodes do, step by step, in any
 * order, with nodes that come and go meanwhile. Held throughout: no object is lost as long as no more nodes are gone at a time than the layout
 * allows; never do enough shards lie outside of a bucket's regions; and once it is quiet every shard is where it belongs, and only there.
 *
 *     npm run sim:placement -- --runs 10000 [--seed N]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { placeShards } from '@ringwall/vault'
import { Random } from './random.ts'

const { values } = parseArgs({ options: { runs: { type: 'string', default: '10000' }, seed: { type: 'string' } } })

interface Node {
  readonly id: string
  readonly region: string
  isUp: boolean
  isMember: boolean
  /** Indexes on its disk. */
  readonly disk: Set<number>
}

interface Tally {
  steps: number
  moves: number
  failures: number
  degraded: number
}

function run(seed: number, tally: Tally): void {
  const random = new Random(seed)
  const next = (): number => random.next()
  const whole = (least: number, most: number): number => random.whole(least, most)
  const regions = Array.from({ length: whole(1, 4) }, (_, at) => `r${at}`)
  const shards = whole(2, 8)
  const data = whole(1, shards - 1)
  const residency = next() < 0.5 ? [] : regions.filter(() => next() < 0.5)
  const layout = { data, shards, residency }
  const version = `${seed}`
  let named = 0
  const make = (): Node => {
    named += 1
    return {
      id: `n${named}`,
      region: regions[whole(0, regions.length - 1)] as string,
      isUp: true,
      isMember: true,
      disk: new Set(),
    }
  }
  const nodes = Array.from({ length: whole(3, 12) }, make)
  const members = (): readonly Node[] => nodes.filter(({ isMember }) => isMember)
  // The same as long as the members are.
  let known: { readonly of: string; readonly place: readonly (string | undefined)[] } | undefined
  const placed = (): readonly (string | undefined)[] => {
    const now = members()
    const of = now.map(({ id }) => id).join()
    if (known?.of !== of) known = { of, place: placeShards(version, layout, now) }
    return known.place
  }
  const byId = (id: string | undefined): Node | undefined => nodes.find((node) => node.id === id)
  for (const [index, id] of placed().entries()) byId(id)?.disk.add(index)
  const first = placed().filter((id) => id !== undefined)
  assert.equal(new Set(first).size, first.length, 'two shards on one node')
  const inside = members().filter(({ region }) => residency.length === 0 || residency.includes(region)).length
  const possible = residency.length === 0 ? nodes.length : inside + Math.min(nodes.length - inside, data - 1)
  assert.equal(first.length, Math.min(shards, possible), 'a node without a shard, and a shard without a node')
  // Too few nodes hold too few shards: then nothing is acknowledged.
  if (first.length < data) return

  const available = (): Set<number> =>
    new Set(nodes.filter(({ isUp, isMember }) => isUp && isMember).flatMap(({ disk }) => [...disk]))
  const check = (what: string): void => {
    const lost = new Set(nodes.flatMap(({ disk }) => [...disk]))
    assert.ok(lost.size >= data, `${what}: lost`)
    if (residency.length === 0) return
    const outside = new Set(nodes.filter(({ region }) => !residency.includes(region)).flatMap(({ disk }) => [...disk]))
    assert.ok(outside.size < data, `${what}: ${outside.size} shards lie outside, ${data} are enough`)
  }
  /** As a healer does it, of one node. */
  const heal = (node: Node): void => {
    if (!node.isUp || !node.isMember) return
    const place = placed()
    const own = place.indexOf(node.id)
    const there = available()
    if (own >= 0 && !node.disk.has(own) && (there.has(own) || there.size >= data)) {
      node.disk.add(own)
      tally.moves += 1
    }
    for (const index of [...node.disk]) {
      const owner = byId(place[index])
      if (index !== own && owner?.isUp === true && owner.disk.has(index)) node.disk.delete(index)
    }
  }
  const healAll = (): void => {
    for (let rounds = 0; rounds < 4; rounds += 1) for (const node of nodes) heal(node)
  }
  for (let step = 0; step < 24; step += 1) {
    tally.steps += 1
    const up = members().filter(({ isUp }) => isUp)
    const down = members().filter(({ isUp }) => !isUp)
    const choice = next()
    // How many more may go at a time is what is there beyond what it takes: of those that hold what nobody else does.
    const victim = up[whole(0, Math.max(0, up.length - 1))]
    const survives = (node: Node): boolean => {
      const left = new Set(nodes.filter((one) => one !== node && one.isUp && one.isMember).flatMap(({ disk }) => [...disk]))
      return left.size >= data
    }
    if (choice < 0.25 && victim !== undefined && up.length > 1 && survives(victim)) {
      victim.isUp = false
      tally.failures += 1
      // Half of them with their disk.
      if (next() < 0.5) victim.disk.clear()
    } else if (choice < 0.4 && victim !== undefined && up.length > 2 && survives(victim)) {
      victim.isMember = false
      victim.isUp = false
      victim.disk.clear()
    } else if (choice < 0.55 && nodes.length < 24) nodes.push(make())
    else if (choice < 0.7 && down[0] !== undefined) down[0].isUp = true
    else for (const node of [...nodes].sort(() => next() - 0.5).slice(0, whole(1, nodes.length))) heal(node)
    check(`step ${step}`)
    assert.ok(available().size >= data, `step ${step}: cannot be read`)
  }
  for (const node of nodes) if (node.isMember) node.isUp = true
  healAll()
  check('at the end')
  const place = placed()
  for (const [index, id] of place.entries())
    if (id !== undefined) assert.ok(byId(id)?.disk.has(index), `shard ${index} is not on ${id}`)
  for (const node of members())
    for (const index of node.disk)
      if (place[index] !== undefined) assert.equal(place[index], node.id, `${node.id} still holds shard ${index}`)
  if (place.some((id) => id === undefined)) tally.degraded += 1
}

/** How much one more node moves: a positive control of the choice of rendezvous hashing. */
function movedByJoin(): number {
  const layout = { data: 4, shards: 6, residency: [] }
  const nodes = Array.from({ length: 12 }, (_, at) => ({ id: `n${at}`, region: `r${at % 3}` }))
  let moved = 0
  for (let object = 0; object < 2_000; object += 1) {
    const before = placeShards(`${object}`, layout, nodes)
    const after = placeShards(`${object}`, layout, [...nodes, { id: 'new', region: 'r0' }])
    moved += before.filter((id, index) => id !== after[index]).length
  }
  return moved / (2_000 * layout.shards)
}

const runs = Number(values.runs)
const base = values.seed === undefined ? 1 : Number(values.seed)
const tally: Tally = { steps: 0, moves: 0, failures: 0, degraded: 0 }
for (let at = 0; at < runs; at += 1) {
  try {
    run(base + at, tally)
  } catch (error) {
    process.stderr.write(
      `seed ${base + at}: ${(error as Error).message}\nagain: npm run sim:placement -- --runs 1 --seed ${base + at}\n`,
    )
    process.exit(1)
  }
}
process.stdout.write(
  `${runs} rings, ${tally.steps} steps, ${tally.failures} failures, ${tally.moves} shards made anew: nothing lost, no residency breached; ` +
    `${tally.degraded} ended with fewer nodes than shards. One more node among twelve moves ${(100 * movedByJoin()).toFixed(1)} % of the shards (${((100 * 1) / 13).toFixed(1)} % are the new one's)\n`,
)
