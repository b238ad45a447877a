/** A node's disk: opens it at start, by what this machine has or by what the ring releases, and brings it under the seal that is configured. */
import { randomBytes } from 'node:crypto'
import { DiskSeal, type DiskSealOptions, STORAGE_KEY_BYTES } from '@ringwall/store'
import { StartError } from '../errors.ts'
import { Seal } from '../signing/sealed-file.ts'
import { type DiskFile, diskFileOf, readDiskFile, removeDiskFile, writeDiskFile } from './disk-file.ts'
import { type LocalSecrets, lockLocally, unlockLocally, unwrapKey, wrapKey } from './local-lock.ts'
import { leftInTheClear, resealFolder } from './reseal.ts'

/** `off`: in the clear. `local`: under what this machine has. `ring`: under a key that the ring releases; until it has one, as `local`. */
export type DiskMode = 'off' | 'local' | 'ring'

export const PASSPHRASE_VARIABLE = 'RINGWALL_DISK_PASSPHRASE'
const EARLIER = 'earlier storage key'

export interface OpenDiskOptions {
  readonly data: string
  readonly mode: DiskMode
  readonly local: LocalSecrets
  /** Has the ring release the storage key. @throws {StartError} `DISK_LOCKED`. */
  readonly release: (held: NonNullable<DiskFile['ring']>) => Promise<Uint8Array>
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** By what the disk's key is had now. */
export type DiskLock = 'none' | 'local' | 'passphrase' | 'ring'

export class Disk {
  readonly #data: string
  #file: DiskFile | undefined
  readonly #secrets: readonly Uint8Array[]
  /** Could all whole files be brought under the key in force? */
  readonly #isWhole: boolean
  readonly #capsuleAtStart: string | undefined
  /** For the threads of this node. */
  readonly options: DiskSealOptions | undefined
  readonly seal: DiskSeal | undefined

  constructor(
    data: string,
    file: DiskFile | undefined,
    options: DiskSealOptions | undefined,
    secrets: readonly Uint8Array[],
    isWhole = true,
  ) {
    this.#data = data
    this.#file = file
    this.options = options
    this.#secrets = secrets
    this.#isWhole = isWhole
    this.#capsuleAtStart = file?.ring?.capsule
    this.seal = options === undefined ? undefined : new DiskSeal(options)
  }

  get lock(): DiskLock {
    if (this.#file === undefined || this.options?.current === undefined) return 'none'
    if (this.#file.ring !== null) return 'ring'
    return this.#file.local?.passphrase === true ? 'passphrase' : 'local'
  }

  /** Under the ring's sealing key; undefined while it is not. */
  get capsule(): string | undefined {
    return this.#file?.ring?.capsule
  }

  /** 32 bytes for something that keeps its own format; undefined where nothing is sealed. */
  get current(): Uint8Array | undefined {
    return this.options?.current
  }

  /** Everything is open, and so under the key in force: earlier ones are let go of, and what is in the clear is refused from the next start on. */
  async settled(): Promise<void> {
    const file = this.#file
    if (file === undefined || !this.#isWhole) return
    if (this.options?.current === undefined) {
      await removeDiskFile(this.#data)
      this.#file = undefined
      // A key that the ring keeps by now has these for earlier ones.
    } else if (file.ring?.capsule === this.#capsuleAtStart && (file.clear || file.earlier.length > 0))
      await this.#write({ ...file, clear: false, earlier: [] })
  }

  /**
   * From the next start on another key seals, which the ring releases; those of now are kept under it until then. Nothing that this
   * machine has opens the disk any more.
   *
   * @param storageKey The next one. @param wrapped It, under the capsule's key.
   */
  async handToRing(capsule: string, wrapped: string, storageKey: Uint8Array): Promise<void> {
    const file = this.#file
    if (file === undefined) throw new Error('the disk is not sealed')
    const earlier = this.#secrets.map((secret) => wrapKey(storageKey, secret, EARLIER))
    await this.#write({ ...file, local: null, ring: { capsule, wrapped }, earlier })
  }

  /** From the next start on this machine opens the disk, as before the ring did. */
  async handToMachine(local: LocalSecrets): Promise<void> {
    const file = this.#file
    const [current, ...earlier] = this.#secrets
    if (file === undefined || current === undefined) throw new Error('the disk is not sealed')
    const wrapped = earlier.map((secret) => wrapKey(current, secret, EARLIER))
    await this.#write({ ...file, local: lockLocally(local, current), ring: null, earlier: wrapped })
  }

  async #write(file: DiskFile): Promise<void> {
    await writeDiskFile(this.#data, file)
    this.#file = file
  }
}

/**
 * The keys of a folder that is sealed; undefined when it was never.
 *
 * @param release Undefined where the ring cannot be asked. @throws {StartError} `DISK_LOCKED`: what is missing, and what to do.
 */
export async function unlockDisk(
  data: string,
  local: LocalSecrets,
  release: OpenDiskOptions['release'] | undefined,
): Promise<{ readonly file: DiskFile; readonly storageKey: Uint8Array; readonly earlier: readonly Uint8Array[] } | undefined> {
  const file = readDiskFile(data)
  if (file === undefined) return undefined
  if (file.ring !== null && release === undefined)
    throw new StartError('DISK_LOCKED', `${data} takes a key that the ring releases: this command cannot ask for it`)
  const storageKey = file.ring === null || release === undefined ? localKey(data, file, local) : await release(file.ring)
  const earlier = file.earlier.map((wrapped) => {
    const secret = unwrapKey(storageKey, wrapped, EARLIER)
    if (secret !== undefined) return secret
    const what = `${diskFileOf(data)} was changed`
    throw new StartError('DISK_LOCKED', `${what}: restore it, or empty ${data} and have the node join anew`)
  })
  return { file, storageKey, earlier }
}

/** @throws {StartError} `DISK_LOCKED`: what is missing, and what to do. */
export async function openDisk({ data, mode, local, release, log }: OpenDiskOptions): Promise<Disk> {
  const unlocked = await unlockDisk(data, local, release)
  const root = data
  if (unlocked === undefined) {
    if (mode === 'off') return new Disk(data, undefined, undefined, [])
    const current = randomBytes(STORAGE_KEY_BYTES)
    const lock = lockLocally(local, current)
    const file: DiskFile = { format: 'ringwall/disk/1', local: lock, ring: null, earlier: [], clear: true }
    // On disk before anything is sealed under it.
    await writeDiskFile(data, file)
    return prepared(data, file, { root, current, earlier: [], acceptsPlain: true }, local, log)
  }
  const { file: found, storageKey, earlier } = unlocked
  const keys = [storageKey, ...earlier]
  if (mode === 'off') {
    const file = { ...found, clear: true }
    await writeDiskFile(data, file)
    return prepared(data, file, { root, current: undefined, earlier: keys, acceptsPlain: true }, local, log)
  }
  // A passphrase that was set since, or a disk that the ring is no longer to open: the key is another one from here on.
  const isOther = found.ring === null ? found.local?.passphrase !== (local.passphrase !== undefined) : mode === 'local'
  const acceptsPlain = found.clear
  if (!isOther) return prepared(data, found, { root, current: storageKey, earlier, acceptsPlain }, local, log)
  const current = randomBytes(STORAGE_KEY_BYTES)
  const wrapped = keys.map((secret) => wrapKey(current, secret, EARLIER))
  const file = { ...found, local: lockLocally(local, current), ring: null, earlier: wrapped }
  await writeDiskFile(data, file)
  return prepared(data, file, { root, current, earlier: keys, acceptsPlain }, local, log)
}

function localKey(data: string, file: DiskFile, local: LocalSecrets): Uint8Array {
  const lock = file.local
  if (lock === null) throw new Error('not a local lock')
  if (lock.passphrase && local.passphrase === undefined)
    throw new StartError('DISK_LOCKED', `${data} is sealed under a passphrase: start the node with ${PASSPHRASE_VARIABLE} set`)
  const key = unlockLocally(local, lock)
  if (key !== undefined) return key
  const what = lock.passphrase ? `with this key file and the passphrase in ${PASSPHRASE_VARIABLE}` : 'with this key file'
  throw new StartError(
    'DISK_LOCKED',
    `${data} does not open ${what}: set the right one, or empty the folder and have the node join anew`,
  )
}

async function prepared(
  data: string,
  file: DiskFile,
  options: DiskSealOptions,
  local: LocalSecrets,
  log: OpenDiskOptions['log'],
): Promise<Disk> {
  const { current, earlier = [] } = options
  const secrets = [current, ...earlier].filter((one) => one !== undefined)
  if (!file.clear && earlier.length === 0) return new Disk(data, file, options, secrets)
  const seal = new DiskSeal(options)
  const failed = await resealFolder(data, seal, new Seal(local.privateKey, local.context, seal))
  for (const line of failed) log('warn', `not sealed anew: ${line}`)
  const left = current === undefined ? [] : await leftInTheClear(data)
  if (file.clear && left.length > 0)
    log('warn', `kept aside before the disk was sealed, and in the clear: ${left.join(', ')}; remove them when they have served`)
  return new Disk(data, file, options, secrets, failed.length === 0)
}
