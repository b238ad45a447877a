/**
 * A program on this machine as the kernel shows it in /proc (proc(5)): the one that connected, with its binary and what that holds. Whatever is
 * read is read for the same process and the same binary: both are looked at again afterwards.
 *
 * The user is the boundary. Whoever runs as the same user as a program can make that program do anything, so that binary and hash tell apart
 * the programs of one user, and do not protect one from another.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, readlink, stat } from 'node:fs/promises'
import type { UnixFacts } from '@ringwall/ring'
import type { PeerCredentials } from './peer-credentials.ts'

/** Larger binaries have no hash here. */
const BINARY_BYTES_MAX = 536_870_912
const HASHES_MAX = 64
const CHUNK_BYTES = 1_048_576

interface Binary {
  /** Device and number: no other file has them while this one runs. */
  readonly file: string
  readonly path: string | undefined
}

export class ProgramGone extends Error {
  override readonly name = 'ProgramGone'
  readonly code = 'PROGRAM_GONE'
}

const hashes = new Map<string, string>()

export class Program {
  readonly peer: PeerCredentials
  readonly #startedAt: string
  readonly #binary: Binary | undefined
  #sha256: string | undefined

  private constructor(peer: PeerCredentials, startedAt: string, binary: Binary | undefined) {
    this.peer = peer
    this.#startedAt = startedAt
    this.#binary = binary
  }

  /** @throws {ProgramGone} When the process that connected is not there, or is of another user by now. */
  static async find(peer: PeerCredentials): Promise<Program> {
    if (peer.pid === 0) throw new ProgramGone('the process is in a PID namespace that this node does not see into')
    const startedAt = await startOf(peer)
    const binary = await binaryOf(peer.pid)
    const found = new Program(peer, startedAt, binary)
    if (!(await found.isThere())) throw new ProgramGone(`process ${peer.pid} became another one while it was looked at`)
    return found
  }

  /** @param withHash Whether the binary is to be read: it may be large. */
  async facts(withHash: boolean): Promise<UnixFacts> {
    if (withHash && this.#sha256 === undefined && this.#binary !== undefined)
      this.#sha256 = await hashOf(this.peer.pid, this.#binary.file)
    return { uid: this.peer.uid, gid: this.peer.gid, path: this.#binary?.path, sha256: this.#sha256 }
  }

  /** Is it the same process with the same binary still? */
  async isThere(): Promise<boolean> {
    try {
      if ((await startOf(this.peer)) !== this.#startedAt) return false
      return (await fileOf(this.peer.pid)) === this.#binary?.file
    } catch (error) {
      if (error instanceof ProgramGone) return false
      throw error
    }
  }
}

/** When the process began (field 22 of stat): a number that was given to another process shows by it. Users must be those of the connection. */
async function startOf({ pid, uid, gid }: PeerCredentials): Promise<string> {
  let text: string
  let status: string
  try {
    ;[text, status] = await Promise.all([readFile(`/proc/${pid}/stat`, 'latin1'), readFile(`/proc/${pid}/status`, 'latin1')])
  } catch {
    throw new ProgramGone(`process ${pid} is gone`)
  }
  // The name of the program, in brackets, may hold anything, brackets and lines too; what follows it does not.
  const startedAt = text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
  const effective = (name: string): number => Number(new RegExp(`\\n${name}:\\t\\d+\\t(\\d+)\\t`).exec(status)?.[1])
  if (startedAt === undefined || !/^\d+$/.test(startedAt)) throw new ProgramGone(`process ${pid} cannot be read`)
  if (effective('Uid') !== uid || effective('Gid') !== gid) throw new ProgramGone(`process ${pid} is of another user now`)
  return startedAt
}

/** Undefined when this node may not look: it takes root, or the same user. */
async function fileOf(pid: number): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(`/proc/${pid}/exe`, { bigint: true })
    return `${dev} ${ino}`
  } catch {
    return undefined
  }
}

async function binaryOf(pid: number): Promise<Binary | undefined> {
  const file = await fileOf(pid)
  if (file === undefined) return undefined
  try {
    const [path, root, mounts, ownMounts] = await Promise.all(
      [`/proc/${pid}/exe`, `/proc/${pid}/root`, `/proc/${pid}/ns/mnt`, '/proc/self/ns/mnt'].map((link) => readlink(link)),
    )
    // In a namespace or a root of its own, a program is called whatever it likes.
    return { file, path: root === '/' && mounts === ownMounts ? path : undefined }
  } catch {
    return { file, path: undefined }
  }
}

/** Of the binary that the process runs. Undefined when it is not that file any more, is too large, or cannot be read. */
async function hashOf(pid: number, file: string): Promise<string | undefined> {
  const opened = await open(`/proc/${pid}/exe`, 'r').catch(() => undefined)
  if (opened === undefined) return undefined
  try {
    const state = await stateOf(opened)
    if (state.file !== file || state.bytes > BINARY_BYTES_MAX) return undefined
    const known = hashes.get(state.content)
    if (known !== undefined) return known
    const hash = await readHash(opened)
    if (hash === undefined || (await stateOf(opened)).content !== state.content) return undefined
    hashes.set(state.content, hash)
    if (hashes.size > HASHES_MAX) hashes.delete(hashes.keys().next().value as string)
    return hash
  } catch {
    return undefined
  } finally {
    await opened.close()
  }
}

/** `content`: what changes whenever somebody writes to the file, and cannot be put back. */
async function stateOf(opened: FileHandle): Promise<{ readonly file: string; readonly content: string; readonly bytes: number }> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await opened.stat({ bigint: true })
  return { file: `${dev} ${ino}`, content: [dev, ino, size, mtimeNs, ctimeNs].join(' '), bytes: Number(size) }
}

async function readHash(opened: FileHandle): Promise<string | undefined> {
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; at <= BINARY_BYTES_MAX; ) {
    const { bytesRead } = await opened.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) return hash.digest('hex')
    at += bytesRead
    hash.update(chunk.subarray(0, bytesRead))
  }
  return undefined
}
