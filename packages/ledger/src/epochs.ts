/**
 * Who agrees when. An epoch begins with a block, the genesis or a boundary, after which its validators agree; it ends with
 * the next boundary. From the genesis on, each boundary is believed because the validators before it certified it.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  type Block,
  type Certificate,
  epochDomain,
  genesisBlock,
  type JournalRecord,
  type Scheme,
  Voter,
  type VoterConfig,
  verifyCertificate,
} from '@ringwall/consensus'
import { type BlockRecord, nextOf, proves } from './block-record.ts'
import { Malformed } from './bytes.ts'
import { LedgerError } from './errors.ts'
import { DEFAULTS, type LedgerOptions } from './options.ts'
import { faultOf, type Validator } from './payload.ts'
import { ed25519Scheme } from './scheme.ts'
import type { Genesis } from './types.ts'

export interface Epoch {
  readonly number: number
  /** What its validators build on: final already. */
  readonly base: Block
  readonly validators: readonly Validator[]
  /** Goes into all that they sign, so that no vote counts in another epoch. */
  readonly domain: string
  readonly scheme: Scheme
  verifies(certificate: Certificate): boolean
}

export class Epochs {
  readonly #ring: string
  readonly #privateKey: KeyObject | undefined
  readonly #schemeOf: typeof ed25519Scheme
  readonly #epochs: Epoch[]
  readonly #boundaries: BlockRecord[] = []

  /** @throws {LedgerError} `LEDGER_CONFIG` when the genesis names no set of validators. */
  constructor(genesis: Genesis, privateKey: KeyObject | undefined, schemeOf: typeof ed25519Scheme = ed25519Scheme) {
    const { ring, validators } = genesis
    const fault = faultOf(validators)
    if (fault !== undefined) throw new LedgerError('LEDGER_CONFIG', `the genesis has ${fault}`)
    this.#ring = ring
    this.#privateKey = privateKey
    this.#schemeOf = schemeOf
    this.#epochs = [this.#begin(0, genesisBlock(ring), validators)]
  }

  get genesis(): Block {
    return (this.#epochs[0] as Epoch).base
  }

  get current(): Epoch {
    return this.#epochs.at(-1) as Epoch
  }

  /** The blocks that ended epochs, oldest first, each with its proof. */
  get boundaries(): readonly BlockRecord[] {
    return this.#boundaries
  }

  /** The epoch whose validators certify the block at `height`: a boundary belongs to the epoch that it ends. */
  at(height: number): Epoch {
    return this.#epochs.findLast(({ base }) => base.height < height) ?? (this.#epochs[0] as Epoch)
  }

  /** Id of the validator with index `proposer` among those who agree on the block at `height`. */
  nameOf(height: number, proposer: number): string {
    return this.at(height).validators[proposer]?.id ?? '?'
  }

  /**
   * Is the record certified by the validators of its height? Its certificate has to be there.
   */
  certifies(record: BlockRecord): boolean {
    const { certificate, block } = record
    return certificate !== undefined && proves(record) && this.at(block.height).verifies(certificate)
  }

  /**
   * A boundary ends the epoch of its height. Known ones are compared.
   *
   * @throws {Malformed} When it is none, or is not certified by the validators that it claims to end.
   */
  end(record: BlockRecord): Epoch {
    const { block } = record
    const next = nextOf(record)
    if (next === undefined) throw new Malformed(`block ${block.height} ends no epoch`)
    const known = this.#epochs.find(({ base, number }) => number > 0 && base.height === block.height)
    if (known !== undefined) {
      if (known.base.digest !== block.digest) throw new Malformed(`block ${block.height} is not the one that ended its epoch`)
      return known
    }
    if (block.height <= this.current.base.height) throw new Malformed(`block ${block.height} ended no epoch`)
    if (!this.certifies(record))
      throw new Malformed(`the end of an epoch, block ${block.height}, is not certified by its validators`)
    const epoch = this.#begin(this.#epochs.length, block, next)
    this.#epochs.push(epoch)
    this.#boundaries.push(record)
    return epoch
  }

  /** Forgets epochs that begin after `height`. */
  truncate(height: number): void {
    const kept = Math.max(1, this.#epochs.findLastIndex(({ base }) => base.height <= height) + 1)
    this.#epochs.length = kept
    this.#boundaries.length = kept - 1
  }

  /** Epochs that `others` knows beyond these. */
  adopt(others: Epochs): void {
    for (const record of others.boundaries.slice(this.#boundaries.length)) this.end(record)
  }

  #begin(number: number, base: Block, validators: readonly Validator[]): Epoch {
    const domain = epochDomain(this.#ring, number)
    const scheme = this.#schemeOf(validators, this.#privateKey)
    const config = { ring: domain, validators: validators.length }
    const verifies = (certificate: Certificate) => verifyCertificate(config, scheme, certificate)
    return { number, base, validators, domain, scheme, verifies }
  }
}

/**
 * Where `self` stands among the epoch's validators; undefined when it follows.
 *
 * @throws {LedgerError} `LEDGER_CONFIG` when it is one of them and the key is another's.
 */
export function selfIndex(epoch: Epoch, self: string, privateKey: KeyObject): number | undefined {
  const index = epoch.validators.findIndex(({ id }) => id === self)
  if (index === -1) return undefined
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  const expected = Buffer.from(epoch.validators[index]?.publicKey ?? []).toString('base64url')
  if (x === expected) return index
  throw new LedgerError('LEDGER_CONFIG', `the private key is not that of ${self} among the validators of the ring`)
}

/** Is `self` the only one who agrees? */
export function isAlone({ validators }: Epoch, self: string): boolean {
  return validators.length === 1 && validators[0]?.id === self
}

/** The voter of `epoch` that goes on after `tip`; undefined when this node is none of its validators. */
export function voterFor<S>(
  epoch: Epoch,
  options: LedgerOptions<S>,
  tip: BlockRecord,
  journal: readonly JournalRecord[],
): Voter | undefined {
  const self = selfIndex(epoch, options.self, options.privateKey)
  if (self === undefined) return undefined
  const { roundMs = DEFAULTS.roundMs, heartbeatMs = DEFAULTS.heartbeatMs } = options
  return voterOf(epoch, self, { roundMs, heartbeatMs }, tip, journal)
}

/** The voter of the validator at index `self` of `epoch`. */
export function voterOf(
  epoch: Epoch,
  self: number,
  timing: Pick<VoterConfig, 'roundMs' | 'heartbeatMs'>,
  { block, certificate }: BlockRecord,
  journal: readonly JournalRecord[],
): Voter {
  const config = { ...timing, ring: epoch.domain, validators: epoch.validators.length, self }
  const final = certificate === undefined || block.height <= epoch.base.height ? undefined : { block, certificate }
  if (final === undefined && journal.length === 0) return new Voter(config, epoch.scheme, epoch.base)
  return Voter.restore(config, epoch.scheme, final, journal, epoch.base)
}
