/**
 * What binds a disk to a machine: facts that the operating system tells of it, hashed together. The ring stores a hash of that hash, so that neither the
 * ledger nor the disk says what it is.
 *
 * It is no more than that: whoever runs as root on the machine can read the facts and tell them elsewhere. The id in `/etc/machine-id` lies on the system's
 * disk; the number of the board does not, where the kernel shows it (root alone may read it).
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const FACTS = ['/etc/machine-id', '/sys/class/dmi/id/product_uuid', '/sys/class/dmi/id/board_serial'] as const

export interface Machine {
  /** Files that told something. */
  readonly facts: readonly string[]
  /** 32 bytes. */
  readonly proof: Uint8Array
}

export function machineFacts(context: string, read: (path: string) => string | undefined = readFact): Machine {
  const hash = createHash('sha256').update(`RINGWALL_MACHINE_V1\n${context}\n`)
  const facts: string[] = []
  for (const path of FACTS) {
    const text = read(path)
    if (text === undefined || text === '') continue
    facts.push(path)
    hash.update(`${path}\n${text}\n`)
  }
  return { facts, proof: new Uint8Array(hash.digest()) }
}

function readFact(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim().slice(0, 200)
  } catch {
    return undefined
  }
}

/** What the ring knows a proof by. */
export function machineVerifier(proof: Uint8Array): string {
  return createHash('sha256').update(proof).digest('base64url')
}
