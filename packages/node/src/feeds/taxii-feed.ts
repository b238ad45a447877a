/**
 * A collection of a TAXII 2.1 server as the source of a set of indicators: asked for what was added since (section 5.4), page by page, which
 * is kept on disk; now and then for all of it, since what was deleted there nobody is told of. What is kept stands while the server is away.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'
import { pageName, pageNumber, pagesIn, removePage, writePage } from '../taxii/pages.ts'
import { nestingOf, parseMoment, TAXII_TYPE } from '../taxii/protocol.ts'
import { entryOf, StixInvalid } from '../taxii/stix-object.ts'
import { askFeed, type FeedAnswer } from './ask-feed.ts'
import { FeedPulls, type FeedStatus } from './feed-pulls.ts'

export interface TaxiiFeedConfig {
  readonly name: string
  /** Of the collection, with a slash at its end. */
  readonly url: URL
  /** Of HTTP basic; undefined for none. */
  readonly credentials: { readonly user: string; readonly secret: string } | undefined
  /** PEM. */
  readonly ca: string | undefined
  readonly everyMs: number
  /** All of it is asked for so often. */
  readonly wholeMs: number
  /** Objects that are kept. */
  readonly objectsMax: number
}

export interface TaxiiFeedOptions {
  readonly config: TaxiiFeedConfig
  /** Of the pages. */
  readonly folder: string
  readonly seal: DiskSeal | undefined
  readonly log: (level: 'info' | 'warn', line: string) => void
  /** There are other pages than before. */
  readonly onChange: () => void
  /** Asks the server; the real one unless given. */
  readonly ask?: (path: string) => Promise<FeedAnswer>
}

const ANSWER_MS_MAX = 30_000
const ANSWER_BYTES_MAX = 16 * 1_048_576
const NESTING_MAX = 64
const LIMIT = 1_000
/** Of one pull. */
const PAGES_MAX = 5_000
const PULL_CHARS_MAX = 512 * 1_048_576
const WAIT_MS_MAX = 3_600_000
const STATE = '.state.json'

const State = z.strictObject({
  format: z.literal('ringwall/taxii-feed/1'),
  /** Whose pages they are: another collection begins anew. */
  url: z.string(),
  /** Up to which all is known, as the server said it; empty: it did not say. */
  after: z.string(),
  /** Number of the first page that counts. */
  first: z.int().min(1),
  wholeMs: z.number(),
  count: z.int().min(0),
  leftOut: z.int().min(0),
  full: z.int().min(0),
})

type FeedState = z.output<typeof State>

const Envelope = z.object({
  more: z.boolean().optional(),
  next: z.string().min(1).max(2_000).optional(),
  objects: z.array(z.unknown()).optional(),
})

interface Page {
  readonly envelope: z.output<typeof Envelope>
  /** As the server says it; empty when it does not. */
  readonly addedLast: string
  readonly length: number
}

/** What of an indicator counts; the rest of it is not kept. */
const KEPT = [
  'type',
  'spec_version',
  'id',
  'created',
  'modified',
  'name',
  'pattern',
  'pattern_type',
  'confidence',
  'valid_from',
  'valid_until',
  'revoked',
]

export class TaxiiFeed {
  readonly #options: TaxiiFeedOptions
  readonly #pulls: FeedPulls
  #state: FeedState | undefined

  constructor(options: TaxiiFeedOptions) {
    const { name, everyMs } = options.config
    this.#options = options
    this.#pulls = new FeedPulls({ name, everyMs, waitMsMax: WAIT_MS_MAX, log: options.log })
  }

  /** Takes up what was kept, and pulls from then on. */
  async start(): Promise<void> {
    await this.open()
    this.#pulls.start((nowMs) => this.pull(nowMs))
  }

  stop(): Promise<void> {
    return this.#pulls.stop()
  }

  status(): FeedStatus {
    const { name, url } = this.#options.config
    return {
      name,
      url: url.href,
      ...this.#pulls.status(),
      held: this.#state?.count ?? 0,
      refused: this.#state?.full ?? 0,
      leftOut: this.#state?.leftOut ?? 0,
    }
  }

  async open(): Promise<void> {
    const { folder, seal, config, log } = this.#options
    const state = await readState(folder, seal).catch((error: Error) => {
      log('warn', `feed ${config.name}: ${error.message}; all is asked for again`)
      return undefined
    })
    if (state?.url === config.url.href) {
      this.#state = state
      await this.#removePages((number) => number < state.first)
    } else if (state !== undefined) await rm(folder, { recursive: true, force: true })
  }

  /** One pull. */
  async pull(nowMs: number): Promise<void> {
    const { config, onChange } = this.#options
    await this.#pulls.run(nowMs, async () => {
      const state = this.#state
      const isWhole = state === undefined || state.after === '' || nowMs - state.wholeMs >= config.wholeMs
      if (await (isWhole ? this.#pullAll(nowMs) : this.#pullNews(state))) onChange()
    })
  }

  /** Beside what is kept; when it is complete, what was before goes. Meanwhile both stand. */
  async #pullAll(nowMs: number): Promise<boolean> {
    const { folder, seal, config } = this.#options
    const last = (await pagesIn(folder)).at(-1)
    const first = last === undefined ? 1 : pageNumber(last) + 1
    const nothing = { after: '', count: 0, leftOut: 0, full: 0 }
    const fresh = { format: 'ringwall/taxii-feed/1', url: config.url.href, first, wholeMs: nowMs, ...nothing } as const
    try {
      const state = await this.#pages(first, fresh)
      await writeState(folder, state, seal)
      this.#state = state
    } catch (error) {
      await this.#removePages((number) => number >= first)
      throw error
    }
    await this.#removePages((number) => number < first)
    return true
  }

  async #removePages(fits: (number: number) => boolean): Promise<void> {
    const { folder } = this.#options
    for (const name of await pagesIn(folder)) if (fits(pageNumber(name))) await removePage(folder, name)
  }

  async #pullNews(before: FeedState): Promise<boolean> {
    const { folder, seal } = this.#options
    const last = (await pagesIn(folder)).at(-1)
    const state = await this.#pages(last === undefined ? 1 : pageNumber(last) + 1, before)
    this.#state = state
    if (state.after === before.after && state.count === before.count) return false
    // Pages first: what is asked for twice is known already, what is not asked for is lost.
    await writeState(folder, state, seal)
    return state.count !== before.count
  }

  /** Goes through the pages of the server, and writes those in which there is something. */
  async #pages(first: number, before: FeedState): Promise<FeedState> {
    const { config, folder, seal } = this.#options
    let { after, count, leftOut, full } = before
    let chars = 0
    let next: string | undefined
    for (let [asked, number] = [0, first]; asked < PAGES_MAX; asked += 1) {
      const query = new URLSearchParams({ 'match[type]': 'indicator', limit: String(LIMIT) })
      const from = next === undefined ? after : before.after
      if (from !== '') query.set('added_after', from)
      if (next !== undefined) query.set('next', next)
      const { envelope, addedLast, length } = await this.#page(`objects/?${query}`)
      chars += length
      if (chars > PULL_CHARS_MAX) throw new Error(`${config.url.host} answers with more than ${PULL_CHARS_MAX} characters`)
      const objects: { readonly added: number; readonly text: string }[] = []
      for (const object of envelope.objects ?? []) {
        const kept = keptOf(object)
        if (kept === undefined) leftOut += 1
        else if (count >= config.objectsMax) full += 1
        else {
          count += 1
          objects.push({ added: 0, text: kept })
        }
      }
      if (objects.length > 0) {
        await writePage(folder, pageName(number), objects, seal)
        number += 1
      }
      const isFurther = addedLast !== '' && addedLast !== after
      if (addedLast !== '') after = addedLast
      if (envelope.more !== true) return { ...before, after, count, leftOut, full }
      // A server that says that there is more has to say where. Medallion's `next` names a session, and stays the same.
      const isStuck = envelope.next === undefined ? !isFurther : envelope.next === next && envelope.objects === undefined
      if (isStuck)
        throw new Error(
          `${config.url.host} says that there is more, and not where: neither next nor X-TAXII-Date-Added-Last goes on`,
        )
      next = envelope.next
    }
    throw new Error(`${config.url.host} answers in more than ${PAGES_MAX} pages`)
  }

  async #page(path: string): Promise<Page> {
    const { url } = this.#options.config
    const { status, headers, text } = await (this.#options.ask ?? ((one) => this.#ask(one)))(path)
    if (status !== 200) {
      const after = Number(headers['retry-after'])
      if (after > 0) this.#pulls.wait(after * 1_000)
      const hint =
        status === 401 || status === 403
          ? ': user and secret are not good there'
          : status === 404
            ? ': there is no such collection'
            : ''
      throw new Error(`${url.host} answers ${status}${hint}`)
    }
    const type = headers['content-type'] ?? ''
    if (!/^application\/taxii\+json\s*(;|$)/i.test(type))
      throw new Error(`${url.host} answers in ${type.slice(0, 60) || 'no type'}: expected ${TAXII_TYPE}`)
    if (nestingOf(text) > NESTING_MAX) throw new Error(`${url.host} answers in JSON of more than ${NESTING_MAX} levels`)
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      throw new Error(`${url.host} answers what is no JSON`)
    }
    const parsed = Envelope.safeParse(value)
    if (!parsed.success)
      throw new Error(`${url.host}: /${parsed.error.issues[0]?.path.join('/')}: expected an envelope with objects, more and next`)
    const last = headers['x-taxii-date-added-last']
    const isMoment = typeof last === 'string' && parseMoment(last) !== undefined
    return { envelope: parsed.data, addedLast: isMoment ? last : '', length: text.length }
  }

  #ask(path: string): Promise<FeedAnswer> {
    const { url, credentials, ca } = this.#options.config
    const basic =
      credentials === undefined ? undefined : Buffer.from(`${credentials.user}:${credentials.secret}`).toString('base64')
    const headers = { accept: TAXII_TYPE, ...(basic === undefined ? {} : { authorization: `Basic ${basic}` }) }
    const limits = { bytesMax: ANSWER_BYTES_MAX, timeoutMs: ANSWER_MS_MAX, signal: this.#pulls.signal }
    return askFeed(new URL(path, url), { headers, ca, ...limits })
  }
}

/** JSON of an indicator that can be loaded; undefined for what else a server may hold. */
function keptOf(object: unknown): string | undefined {
  try {
    const { type, text } = entryOf(object, 0)
    if (type !== 'indicator') return undefined
    const whole = JSON.parse(text) as Readonly<Record<string, unknown>>
    return JSON.stringify(Object.fromEntries(KEPT.flatMap((name) => (Object.hasOwn(whole, name) ? [[name, whole[name]]] : []))))
  } catch (error) {
    if (error instanceof StixInvalid) return undefined
    throw error
  }
}

/** @throws When it is there, and is none. */
async function readState(folder: string, seal: DiskSeal | undefined): Promise<FeedState | undefined> {
  const path = join(folder, STATE)
  const bytes = await readFileSealed(path, seal, 65_536)
  if (bytes === undefined) return undefined
  const parsed = State.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')))
  if (!parsed.success) throw new Error(`${path} cannot be read`)
  return parsed.data
}

async function writeState(folder: string, state: FeedState, seal: DiskSeal | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFileSealed(join(folder, STATE), JSON.stringify(state), seal)
}
