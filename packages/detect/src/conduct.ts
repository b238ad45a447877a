/**
 * How nodes of the ring behave towards this one: what it noticed of each, by kind, as counts that decay. What is proven is a finding at once; what a flipped
 * bit, a slow disk or a restart may explain is a note at first, and a finding when it is a pattern. Each node judges by what it noticed itself.
 *
 * Pure and bounded: time is an argument, kinds are given, and of nodes those that were noticed last are kept.
 */

export interface ConductKind {
  /** Of MITRE ATT&CK. */
  readonly attack: readonly string[]
  readonly severity: 'low' | 'medium' | 'high'
  /** A count of so many is a finding. */
  readonly limit: number
  /** Half of a count is forgotten in so long. */
  readonly halfLifeMs: number
  /** What it means, for people. */
  readonly reason: string
}

const HOUR_MS = 3_600_000

export const CONDUCT = {
  equivocation: {
    attack: ['T1565.002'],
    severity: 'high',
    limit: 1,
    halfLifeMs: HOUR_MS,
    reason: 'signed two statements that contradict each other, and is evicted: it is faulty, or its key is in other hands',
  },
  expelled: {
    attack: ['T1195'],
    severity: 'high',
    limit: 1,
    halfLifeMs: HOUR_MS,
    reason: 'its own attestation says that it is not what it was',
  },
  ceremony: {
    attack: ['T1565.002'],
    severity: 'high',
    limit: 1,
    halfLifeMs: HOUR_MS,
    reason: 'signed a part of a ceremony that is wrong, as every node can check',
  },
  share: {
    attack: ['T1565.002'],
    severity: 'high',
    limit: 1,
    halfLifeMs: HOUR_MS,
    reason: 'answered with a wrong part of a signature, under its own signature',
  },
  partial: {
    attack: ['T1565.002'],
    severity: 'high',
    limit: 2,
    halfLifeMs: 24 * HOUR_MS,
    reason: 'answers openings of the vault with wrong parts',
  },
  forged: {
    attack: ['T1565.002'],
    severity: 'high',
    limit: 3,
    halfLifeMs: HOUR_MS,
    reason: 'sends votes or transactions in others’ names that these did not sign',
  },
  malformed: {
    attack: ['T1565.002'],
    severity: 'medium',
    limit: 10,
    halfLifeMs: HOUR_MS,
    reason: 'sends what no honest node sends',
  },
  muted: {
    attack: ['T1499'],
    severity: 'medium',
    limit: 3,
    halfLifeMs: HOUR_MS,
    reason: 'sends so much that it is not listened to, again and again',
  },
  shard: {
    attack: ['T1565.001'],
    severity: 'medium',
    limit: 5,
    halfLifeMs: 24 * HOUR_MS,
    reason: 'gives shards of objects that are not what was put',
  },
  verdict: {
    attack: ['T1553'],
    severity: 'medium',
    limit: 3,
    halfLifeMs: 24 * HOUR_MS,
    reason: 'refuses to vouch for attestation keys for which the others vouch',
  },
  denials: {
    attack: ['T1565.002'],
    severity: 'medium',
    limit: 1,
    halfLifeMs: HOUR_MS,
    reason:
      'has so many sources denied that no other node confirms that it is not believed early any more; or it alone meets an attack',
  },
  absent: {
    attack: ['T1489'],
    severity: 'low',
    limit: 3,
    halfLifeMs: 24 * HOUR_MS,
    reason: 'keeps out of ceremonies of the ring’s keys, one after the other',
  },
  silent: {
    attack: ['T1489'],
    severity: 'low',
    limit: 9,
    halfLifeMs: 120_000,
    reason: 'says nothing about the ledger while its link is up',
  },
  clock: {
    attack: ['T1565.002'],
    severity: 'low',
    limit: 9,
    halfLifeMs: 120_000,
    reason: 'its clock is far from those of most nodes',
  },
} as const satisfies Readonly<Record<string, ConductKind>>
export type ConductName = keyof typeof CONDUCT

export interface ConductSeen {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly node: string
  readonly kind: ConductName
  /** For how many it counts; 1 unless given. */
  readonly weight?: number
}

/** `note`: it was noticed and is no pattern yet. */
export interface ConductVerdict {
  readonly is: 'note' | 'finding'
  /** Noticed since this node began, or the count was last next to nothing. */
  readonly times: number
}

interface Count {
  value: number
  atMs: number
  times: number
  notedMs: number
  foundMs: number
}

const NODES_MAX = 256
/** Said again after so long. */
const REARM_MS = HOUR_MS
const DECAY_SLACK = 0.5
/** Less is nothing. */
const LEAST = 0.05

export class Conduct {
  /** By node, the one that was noticed longest ago first. */
  readonly #nodes = new Map<string, Map<ConductName, Count>>()

  get size(): number {
    return this.#nodes.size
  }

  /** What is to be said of it; undefined: nothing, as it was said lately. */
  observe({ atMs, node, kind, weight = 1 }: ConductSeen): ConductVerdict | undefined {
    const count = this.#count(node, kind)
    const { limit, halfLifeMs } = CONDUCT[kind]
    // A clock that goes back forgets nothing.
    const value = count.value * 0.5 ** (Math.max(0, atMs - count.atMs) / halfLifeMs)
    count.times = value < LEAST ? 1 : count.times + 1
    count.value = Math.min(1e6, value + weight)
    count.atMs = atMs
    const { times } = count
    // What was forgotten of the first ones meanwhile makes them no fewer.
    if (count.value >= (limit > 1 ? limit - DECAY_SLACK : limit)) {
      if (Math.abs(atMs - count.foundMs) < REARM_MS) return undefined
      count.foundMs = atMs
      return { is: 'finding', times }
    }
    if (Math.abs(atMs - count.notedMs) < REARM_MS) return undefined
    count.notedMs = atMs
    return { is: 'note', times }
  }

  /** It does well: what lasts begins anew. */
  clear(node: string, kind: ConductName): void {
    const count = this.#nodes.get(node)?.get(kind)
    if (count !== undefined) count.value = 0
  }

  #count(node: string, kind: ConductName): Count {
    const known = this.#nodes.get(node) ?? new Map<ConductName, Count>()
    this.#nodes.delete(node)
    this.#nodes.set(node, known)
    if (this.#nodes.size > NODES_MAX) this.#nodes.delete(this.#nodes.keys().next().value as string)
    let count = known.get(kind)
    if (count === undefined) {
      const never = Number.NEGATIVE_INFINITY
      count = { value: 0, atMs: never, times: 0, notedMs: never, foundMs: never }
      known.set(kind, count)
    }
    return count
  }
}
