/**
 * Who is at the other end of a Unix socket, as the kernel noted it when the connection was made (SO_PEERCRED, unix(7)). Node does not ask for
 * it, so that a program of the system does: it is given the connection, asks and ends, and reads and writes nothing.
 *
 * Needs Linux on x64 or arm64, with /usr/bin/perl or /usr/bin/python3. One runs at a time, and not all the time, whatever arrives.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import type { Socket } from 'node:net'
import { setPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

export interface PeerCredentials {
  /** As this process sees it; 0 for one that it cannot see. */
  readonly pid: number
  /** Effective, when it connected. */
  readonly uid: number
  readonly gid: number
}

export class PeerUnknown extends Error {
  override readonly name = 'PeerUnknown'
  readonly code = 'PEER_UNKNOWN'
}

/** SOL_SOCKET and SO_PEERCRED of asm-generic/socket.h; `struct ucred` is three integers of 32 bits. The connection is descriptor 3. */
const HELPERS = [
  {
    file: '/usr/bin/perl',
    args: ['-e', 'open(my $s,"+<&=",3) or exit 2;my $c=getsockopt($s,1,17) or exit 3;print join(" ",unpack("lLL",$c))'],
  },
  {
    file: '/usr/bin/python3',
    args: [
      '-I',
      '-S',
      '-c',
      'import socket,struct;print(*struct.unpack("=iII",socket.socket(fileno=3).getsockopt(1,17,12)),end="")',
    ],
  },
] as const
const ANSWER = /^(\d{1,10}) (\d{1,10}) (\d{1,10})$/
const ANSWER_MS_MAX = 3_000
const WAITING_MAX = 128
/** Between two: whoever connects all the time takes a part of one processor, not all of it. */
const PAUSE_MS = 10
/** Of the node's own threads are served first. */
const NICE = 10

/** What is missing for it on this machine; undefined when all is there. */
export function peerCredentialsLack(): string | undefined {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64'))
    return `it needs Linux on x64 or arm64, this is ${process.platform} on ${process.arch}`
  return helper() === undefined ? `it needs ${HELPERS.map(({ file }) => file).join(' or ')}: install one of them` : undefined
}

function helper(): (typeof HELPERS)[number] | undefined {
  return HELPERS.find(({ file }) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

export class PeerInquiry {
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()

  /** @param socket Accepted, and not read from yet. @throws {PeerUnknown} */
  of(socket: Socket): Promise<PeerCredentials> {
    if (this.#waiting >= WAITING_MAX) return Promise.reject(new PeerUnknown(`${WAITING_MAX} connections wait already`))
    this.#waiting += 1
    const asked = this.#last
      .then(() => ask(socket))
      .finally(() => {
        this.#waiting -= 1
      })
    this.#last = asked.catch(() => {}).then(() => delay(PAUSE_MS))
    return asked
  }
}

function ask(socket: Socket): Promise<PeerCredentials> {
  const { promise, resolve, reject } = Promise.withResolvers<PeerCredentials>()
  const found = helper()
  const { fd } = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle ?? {}
  if (found === undefined || socket.destroyed || fd === undefined || fd < 0) {
    reject(new PeerUnknown(found === undefined ? 'the program that asks the kernel is gone' : 'the connection is closed'))
    return promise
  }
  // As descriptor 3: Node makes those up to 2 blocking, and with the child's the node's own.
  const child = spawn(found.file, found.args, { stdio: ['ignore', 'pipe', 'ignore', fd], env: {}, cwd: '/' })
  let said = ''
  const timer = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS_MAX)
  child.on('error', (cause) => {
    clearTimeout(timer)
    reject(new PeerUnknown(`${found.file} does not start: ${cause.message}`))
  })
  child.on('spawn', () => {
    try {
      setPriority(child.pid as number, NICE)
    } catch {
      // It has ended already.
    }
  })
  child.stdout?.on('data', (chunk: Buffer) => {
    if (said.length < 64) said += chunk.toString('latin1')
  })
  child.on('close', (code) => {
    clearTimeout(timer)
    const [, pid, uid, gid] = ANSWER.exec(said) ?? []
    if (code === 0 && pid !== undefined) resolve({ pid: Number(pid), uid: Number(uid), gid: Number(gid) })
    else reject(new PeerUnknown(`${found.file} gave no answer (it ended with ${code})`))
  })
  return promise
}
