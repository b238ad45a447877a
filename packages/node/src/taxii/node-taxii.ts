/** TAXII at a node: its collections, who may read and write them, and their server. */

import { createHash, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import type { Denial, View } from '@ringwall/ring'
import type { DiskSeal } from '@ringwall/store'
import type { IndicatorSettings } from '../indicators/indicator-loader.ts'
import type { IndicatorStore } from '../indicators/indicator-store.ts'
import { DERIVED_MAX, DerivedShelf, derivedOfDenials, derivedOfSet } from './derived.ts'
import { Inbox } from './inbox.ts'
import { uuidOf } from './protocol.ts'
import type { ObjectShelf } from './shelf.ts'
import { type TaxiiCaller, type TaxiiCollection, type TaxiiConfig, TaxiiServer } from './taxii-server.ts'

/** The collection of what the ring denies. */
export const DENIALS = 'denials'
const FOLLOW_MS_MIN = 1_000

export interface NodeTaxiiOptions {
  readonly config: TaxiiConfig
  readonly data: string
  readonly ring: string
  readonly sets: readonly IndicatorSettings[]
  readonly indicators: IndicatorStore
  readonly seal: DiskSeal | undefined
  readonly view: () => View
  /** Grows whenever denials may have changed. */
  readonly version: () => number
  /** Of a bearer token: the operator's name. */
  readonly operator: (token: string) => string | undefined
  readonly say: (level: 'info' | 'warn', line: string) => void
}

/** @throws {StartError} When it cannot listen. And when what was posted cannot be read. */
export async function startTaxii(options: NodeTaxiiOptions): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const { config, ring, view, say } = options
  const collections = await collectionsOf(options)
  const server = new TaxiiServer({
    config,
    title: `Ringwall ring ${ring.slice(0, 12)}`,
    collections,
    client: (name, key) => clientOf(view(), name, key),
    operator: (token) => {
      const name = options.operator(token)
      return name === undefined ? undefined : { name: `operator:${name}`, mayRead: () => true, mayWrite: () => true }
    },
    say,
  })
  const port = await server.start()
  return { port, stop: () => server.stop() }
}

async function collectionsOf(options: NodeTaxiiOptions): Promise<readonly TaxiiCollection[]> {
  const { ring, sets, indicators, config, seal, data, say } = options
  const collections: TaxiiCollection[] = [
    {
      id: uuidOf(ring, DENIALS),
      alias: DENIALS,
      title: 'Denials of the ring',
      description: 'Addresses and prefixes that the ring denies, as it agreed.',
      shelf: followed(new DerivedShelf(ring, DENIALS, Date.now()), options),
      inbox: undefined,
    },
  ]
  for (const { name, format, indicatorsMax: objectsMax } of sets) {
    if (format === 'inbox') {
      const onChange = (): void => void indicators.look()
      const inbox = await Inbox.open({ folder: join(data, 'taxii', name), seal, objectsMax, onChange })
      const description = 'What clients post; it takes effect at this node, as the policy says.'
      collections.push({ id: uuidOf(ring, name), alias: name, title: name, description, shelf: () => inbox.shelf, inbox })
    } else if (config.share.includes(name)) {
      const shelf = sharedShelf(new DerivedShelf(ring, name, Date.now()), name, indicators, say)
      const description = `Addresses and prefixes of the set ${name} of this node.`
      collections.push({ id: uuidOf(ring, name), alias: name, title: name, description, shelf, inbox: undefined })
    }
  }
  return collections
}

/** Follows when it is asked, as long as something may have changed. */
function followed(derived: DerivedShelf, { view, version, say }: NodeTaxiiOptions): () => ObjectShelf {
  let [at, nextMs, endsMs, isFull] = [-1, 0, 0, false]
  return () => {
    const nowMs = Date.now()
    if (nowMs < nextMs || (at === version() && nowMs < endsMs)) return derived.shelf
    nextMs = nowMs + FOLLOW_MS_MIN
    at = version()
    const denials: readonly Denial[] = view().denials.list(nowMs)
    endsMs = denials.reduce((first, { expiresAtMs }) => Math.min(first, expiresAtMs), Number.POSITIVE_INFINITY)
    const fits = derived.follow(derivedOfDenials(denials), nowMs)
    if (!fits && !isFull) say('warn', `TAXII: more than ${DERIVED_MAX} denials: the collection stays as it was`)
    isFull = !fits
    return derived.shelf
  }
}

function sharedShelf(
  derived: DerivedShelf,
  name: string,
  indicators: IndicatorStore,
  say: NodeTaxiiOptions['say'],
): () => ObjectShelf {
  let followedParts: unknown
  return () => {
    const parts = indicators.shared().find(([set]) => set === name)?.[1]
    if (parts === undefined || parts === followedParts) return derived.shelf
    followedParts = parts
    if (!derived.follow(derivedOfSet(parts), Date.now()))
      say('warn', `TAXII: the set ${name} has more than ${DERIVED_MAX} indicators: the collection stays as it was`)
    return derived.shelf
  }
}

/** Takes as long whoever it is. */
function clientOf(view: View, name: string, key: string): TaxiiCaller | undefined {
  const given = Buffer.from(`sha256:${createHash('sha256').update(key).digest('hex')}`)
  let found: TaxiiCaller | undefined
  for (const client of view.policy.taxii) {
    if (!timingSafeEqual(given, Buffer.from(client.keyHash)) || client.name !== name) continue
    const { read, write } = client
    found = {
      name,
      mayRead: (alias) => read === undefined || read.includes(alias),
      mayWrite: (alias) => write.includes(alias),
    }
  }
  return found
}
