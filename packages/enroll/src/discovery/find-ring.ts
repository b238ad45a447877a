/**
 * Where nodes of a ring may be, besides where the voucher says: DNS (`_ringwall._tcp`, RFC 2782) and multicast DNS on the link (RFC 6762). What is found is
 * a place to try and nothing more: whoever answers there has to show a key that the voucher names, so that a false answer costs a try.
 */
import { createSocket, type Socket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { type DnsMessage, DnsType, encodeDns, parseDns } from './dns-message.ts'

const SERVICE = '_ringwall._tcp'
const ON_LINK = `${SERVICE}.local`
const GROUP = '224.0.0.251'
const PORT = 5_353
const FOUND_MAX = 8
const DOMAINS_MAX = 3
const DNS_MS = 2_000
const LINK_MS = 1_000
/** A responder sends so many answers a second. */
const ANSWERS_MAX = 20

export interface Link {
  readonly group?: string
  readonly port?: number
  /** Address of the interface; the system's choice unless given. */
  readonly through?: string
}

/** HOST:PORT. From the name servers of the machine, for the domains that it searches. Empty when nobody knows any. */
export async function findByDns(
  domains: readonly string[] = searched(),
  servers?: readonly string[],
): Promise<readonly string[]> {
  const resolver = new Resolver({ timeout: DNS_MS, tries: 1 })
  if (servers !== undefined) resolver.setServers(servers)
  const found = await Promise.all(
    domains.slice(0, DOMAINS_MAX).map((domain) => resolver.resolveSrv(`${SERVICE}.${domain}`).catch(() => [])),
  )
  const ordered = found.flat().sort((a, b) => a.priority - b.priority || b.weight - a.weight)
  return unique(ordered.map(({ name, port }) => `${name}:${port}`))
}

/** What `resolv.conf` names after `search` or `domain`. */
export function searched(file = '/etc/resolv.conf'): readonly string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    return lines
      .flatMap((line) => /^(?:search|domain)\s+(.+)$/.exec(line.trim())?.[1]?.split(/\s+/) ?? [])
      .filter((name) => name !== '.')
  } catch {
    return []
  }
}

/** HOST:PORT of nodes that say on the link that they are there. Waits a second for them; empty where there is no multicast. */
export function findOnLink({ group = GROUP, port = PORT, through }: Link = {}, waitMs = LINK_MS): Promise<readonly string[]> {
  const found: string[] = []
  return new Promise((settle) => {
    const socket = createSocket('udp4')
    const end = (): void => {
      socket.close()
      settle(unique(found))
    }
    const timer = setTimeout(end, waitMs)
    socket.on('error', () => {
      clearTimeout(timer)
      end()
    })
    socket.on('message', (bytes) => {
      if (found.length < FOUND_MAX * 2) found.push(...addressesIn(bytes))
    })
    // From a port of its own, so that answers come to it alone (section 6.7).
    socket.bind(0, through, () => {
      try {
        if (through !== undefined) socket.setMulticastInterface(through)
        const query: DnsMessage = { id: 0, isAnswer: false, questions: [{ name: ON_LINK, type: DnsType.PTR }], records: [] }
        socket.send(encodeDns(query), port, group)
      } catch {
        // Nothing on this machine takes multicast: nothing is found.
      }
    })
  })
}

function addressesIn(bytes: Buffer): readonly string[] {
  const message = readMessage(bytes)
  if (message === undefined || !message.isAnswer) return []
  const names = message.records.flatMap((one) => (one.type === 'PTR' && one.name === ON_LINK ? [one.target] : []))
  return message.records.flatMap((one) => {
    if (one.type !== 'SRV' || !names.includes(one.name) || one.port === 0) return []
    const host = message.records.find((other) => other.type === 'A' && other.name === one.target)
    return host?.type === 'A' ? [`${host.address}:${one.port}`] : []
  })
}

function readMessage(bytes: Buffer): DnsMessage | undefined {
  try {
    return parseDns(bytes)
  } catch {
    return undefined
  }
}

const unique = (all: readonly string[]): readonly string[] => [...new Set(all)].slice(0, FOUND_MAX)

/** Says on the link where a node is, to whoever asks. */
export class LinkResponder {
  readonly #link: Link
  readonly #answer: (id: number, question: DnsMessage['questions']) => Buffer
  #socket: Socket | undefined
  #window = { sinceMs: 0, count: 0 }

  /** @param address IPv4 and port that others reach the node at. */
  constructor(node: string, address: { readonly host: string; readonly port: number }, link: Link = {}) {
    const [instance, host] = [`${node}.${ON_LINK}`, `${node}-ringwall.local`]
    this.#link = link
    this.#answer = (id, questions) =>
      encodeDns({
        id,
        isAnswer: true,
        questions,
        records: [
          { type: 'PTR', name: ON_LINK, target: instance },
          { type: 'SRV', name: instance, target: host, port: address.port },
          { type: 'A', name: host, address: address.host },
        ],
      })
  }

  /** Rejects when the port cannot be shared, or nothing takes multicast. */
  start(): Promise<void> {
    const { group = GROUP, port = PORT, through } = this.#link
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    this.#socket = socket
    return new Promise((settle, refuse) => {
      socket.once('error', refuse)
      socket.bind(port, () => {
        try {
          socket.addMembership(group, through)
          if (through !== undefined) socket.setMulticastInterface(through)
        } catch (error) {
          socket.close()
          this.#socket = undefined
          return refuse(error as Error)
        }
        socket.on('error', () => {})
        socket.on('message', (bytes, from) => this.#heard(socket, bytes, from.address, from.port))
        settle()
      })
    })
  }

  stop(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  #heard(socket: Socket, bytes: Buffer, address: string, port: number): void {
    const message = readMessage(bytes)
    const asked =
      message?.questions.filter(({ name, type }) => name === ON_LINK && (type === DnsType.PTR || type === DnsType.ANY)) ?? []
    if (message === undefined || message.isAnswer || asked.length === 0) return
    const nowMs = performance.now()
    if (nowMs - this.#window.sinceMs >= 1_000) this.#window = { sinceMs: nowMs, count: 0 }
    this.#window.count += 1
    if (this.#window.count > ANSWERS_MAX) return
    const { group = GROUP, port: shared = PORT } = this.#link
    const isLegacy = port !== shared
    // To who asks from a port of its own the answer repeats id and question (section 6.7); to others it is for everybody.
    const answer = isLegacy ? this.#answer(message.id, asked.slice(0, 1)) : this.#answer(0, [])
    socket.send(answer, isLegacy ? port : shared, isLegacy ? address : group, () => {})
  }
}
