/** Releases that a node has as archives: given by operators in its folder, or by peers, and passed on to peers. */
import { createWriteStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type FleetRelease, RELEASE_BYTES_MAX } from '@ringwall/ring'
import { readHeader, unpackRelease } from './release-archive.ts'
import type { Slot, Slots } from './slots.ts'

const PATH = /^\/release\/([0-9a-f]{64})$/
/** What an archive may have beyond its files: header, list, and what compression adds. */
const BEYOND_BYTES_MAX = 67_108_864

export interface ReleasePeers {
  /** Those to ask, in turn. */
  linked(): readonly string[]
  /** Undefined when it has none. @throws When it fails. */
  get(from: string, path: string): Promise<IncomingMessage | undefined>
}

export interface ReleaseShelfOptions {
  readonly slots: Slots
  readonly peers: ReleasePeers
  readonly say: (level: 'info' | 'warn', line: string) => void
}

export class ReleaseShelf {
  readonly #options: ReleaseShelfOptions
  /** By file, as it was when it was read; undefined: it is no release. */
  readonly #read = new Map<string, { readonly mark: string; readonly digest: string | undefined }>()

  constructor(options: ReleaseShelfOptions) {
    this.#options = options
  }

  /** Archives here that say they are this release. Whether they are is seen when they are unpacked. */
  async #here(digest: string): Promise<readonly string[]> {
    const found: string[] = []
    for (const file of await this.#options.slots.archives()) {
      const { size, mtimeMs, ino } = await stat(file).catch(() => ({ size: 0, mtimeMs: 0, ino: 0 }))
      const mark = `${size} ${mtimeMs} ${ino}`
      let known = this.#read.get(file)
      if (known?.mark !== mark) {
        known = { mark, digest: (await readHeader(file).catch(() => undefined))?.digest }
        this.#read.set(file, known)
      }
      if (known.digest === digest) found.push(file)
    }
    return found
  }

  /** Answers a peer; false when it asks for something else. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const digest = PATH.exec(request.url ?? '')?.[1]
    if (digest === undefined) return false
    const file = request.method === 'GET' ? (await this.#here(digest))[0] : undefined
    const handle = file === undefined ? undefined : await open(file).catch(() => undefined)
    if (handle === undefined) {
      response.writeHead(404).end()
      return true
    }
    try {
      const { size } = await handle.stat()
      response.writeHead(200, { 'content-length': size })
      await pipeline(handle.createReadStream({ autoClose: false }), response)
    } finally {
      await handle.close()
    }
    return true
  }

  /**
   * The release, unpacked and verified in the slot that is not current; undefined when nobody has it whole. What turns out to be something else is thrown
   * away, and said.
   */
  async unpack(release: Pick<FleetRelease, 'digest' | 'version' | 'bytes'>): Promise<Slot | undefined> {
    for (const file of await this.#here(release.digest)) {
      const slot = await this.#unpackFile(file, release.digest, file)
      if (slot !== undefined) return slot
    }
    for (const peer of this.#options.peers.linked()) {
      const file = await this.#fetch(peer, release)
      if (file === undefined) continue
      const slot = await this.#unpackFile(file, release.digest, peer)
      if (slot === undefined) continue
      const kept = join(this.#options.slots.releases, `${release.digest}.release`)
      await rename(file, kept)
      this.#options.say('info', `release ${release.version} came from ${peer}`)
      return slot
    }
    return undefined
  }

  async #unpackFile(file: string, digest: string, from: string): Promise<Slot | undefined> {
    const { slots, say } = this.#options
    const slot = await slots.clear()
    try {
      await unpackRelease(file, slots.path(slot), digest)
      return slot
    } catch (error) {
      await slots.clear()
      await rm(file, { force: true })
      say('warn', `a release of ${from} is refused: ${(error as Error).message}`)
      return undefined
    }
  }

  async #fetch(peer: string, { digest, bytes }: Pick<FleetRelease, 'digest' | 'bytes'>): Promise<string | undefined> {
    const { peers, slots, say } = this.#options
    const file = join(slots.releases, `${digest}.part`)
    const most = Math.min(bytes, RELEASE_BYTES_MAX) + BEYOND_BYTES_MAX
    try {
      const body = await peers.get(peer, `/release/${digest}`)
      if (body === undefined) return undefined
      await pipeline(body, atMost(most), createWriteStream(file))
      return file
    } catch (error) {
      await rm(file, { force: true })
      say('warn', `${peer} gave no whole release: ${(error as Error).message}`)
      return undefined
    }
  }
}

function atMost(bytesMax: number): Transform {
  let seen = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length
      if (seen > bytesMax) done(new Error(`more than ${bytesMax} bytes`))
      else done(null, chunk)
    },
  })
}
