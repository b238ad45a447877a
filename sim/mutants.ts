/**
 * `npm run sim:mutants`: faults planted in the voter, in what changes the validators and in the shell, one at a time (`planted.ts`); the
 * checkers of the simulation have to find each.
 */

import { join } from 'node:path'
import { readOptions, text, whole } from '../tools/options.ts'
import { huntAll, one, type ShellMutant, type SourceMutant } from './planted.ts'
import type { Mutation } from './validator.ts'

const inVoter = (name: string, file: string, find: string, put: string): SourceMutant => one(name, 'consensus', file, find, put)

const IN_THE_VOTER: readonly SourceMutant[] = [
  inVoter('a quorum of 2f', 'quorum.ts', 'return validators - faultsOf(validators)', 'return 2 * faultsOf(validators)'),
  inVoter('nullified rounds are finalized too', 'voter.ts', "if (kind === 'finalize' && own.nullify !== undefined) return", ''),
  inVoter('finalized rounds are nullified too', 'voter.ts', "if (kind === 'nullify' && own.finalize !== undefined) return", ''),
  inVoter(
    'a proposal skips rounds without proof',
    'voter.ts',
    'nullifications.length !== block.round - parentRound - 1',
    'false',
  ),
  inVoter(
    'half a quorum certifies',
    'certificate.ts',
    'signatures.length < quorumOf(config.validators)',
    'signatures.length < quorumOf(config.validators) / 2',
  ),
  inVoter(
    'signatures in certificates are not looked at',
    'certificate.ts',
    'return signatures.every(',
    'return true || signatures.every(',
  ),
  inVoter(
    'certificates are not checked',
    'voter.ts',
    'if (!verifyCertificate(this.#config, this.#scheme, certificate)) {',
    'if (false) {',
  ),
  inVoter(
    'votes need no good signature',
    'voter.ts',
    'if (!this.#scheme.verify(signer, signingBytes(kind, this.#config.ring, round, digest), signature)) {',
    'if (false) {',
  ),
  inVoter('anybody leads any round', 'voter.ts', 'leaderOf(round, this.#config.validators) !== proposer ||', ''),
  inVoter('the parent of a proposal needs no certificate', 'voter.ts', '!this.#isCertified(parentCertificate)', 'false'),
  inVoter('a nullification counts for any round', 'voter.ts', 'certificate.round === parentRound + 1 + i &&', ''),
  inVoter(
    'a restarted leader forgets what it proposed',
    'voter.ts',
    'if (block.proposer === this.#config.self) this.#signedIn(block.round).proposal = proposal',
    '',
  ),
  inVoter('a restarted validator forgets its votes', 'voter.ts', 'this.#signedIn(vote.round)[vote.kind] = vote', ''),
  inVoter(
    'a body is believed by its name',
    'voter.ts',
    'const { digest } = makeBlock(block, this.#scheme.hash)',
    'const { digest } = block',
  ),
  inVoter('a round ends without its timer', 'voter.ts', "this.#sign('nullify', round, undefined)", ''),
]

const IN_THE_EPOCHS: readonly SourceMutant[] = [
  one(
    'a vote of one epoch is one in all',
    'consensus',
    'certificate.ts',
    'return epoch === 0 ? ring : ',
    'return epoch >= 0 ? ring : ',
  ),
  one(
    'closing blocks may carry transactions',
    'ledger',
    'chain.ts',
    "if (txs.length > 0 || next !== undefined) return 'it holds transactions, and its epoch has ended'",
    '',
  ),
  one('a block may name any next validators', 'ledger', 'chain.ts', 'if (!sameValidators(next, named)) {', 'if (false) {'),
  one(
    'the journal of an epoch comes after the block that begins it',
    'ledger',
    'hand-over.ts',
    "{ kind: 'journal', epoch: next },\n    { kind: 'blocks', records },",
    "{ kind: 'blocks', records },\n    { kind: 'journal', epoch: next },",
  ),
  one(
    'the journal of the ended epoch goes before its last block is kept',
    'ledger',
    'hand-over.ts',
    "{ kind: 'blocks', records },\n    { kind: 'remove-journals', before: next },",
    "{ kind: 'remove-journals', before: next },\n    { kind: 'blocks', records },",
  ),
  one(
    'signatures in evidence are not looked at',
    'ring',
    'nodes.ts',
    'if (!verify(key, message, decodeBase64url(signature))) {',
    'if (false) {',
  ),
  one('any two statements are evidence', 'ring', 'nodes.ts', 'if (!contradict(first, second))', 'if (false)'),
]

const IN_THE_SHELL: readonly ShellMutant<Mutation>[] = [
  { name: 'votes are forgotten in a crash', mutation: { forgetsJournal: true } },
  { name: 'blocks are valid without being looked at', mutation: { acceptsAnything: true } },
  { name: 'votes are sent before they are on disk', mutation: { sendsBeforeSync: true } },
  { name: 'any signature is good under a transaction', mutation: { takesAnySignature: true } },
  { name: 'an epoch is spoken in before its first block is on disk', mutation: { speaksBeforeBoundary: true } },
]

const { seeds, only } = readOptions({ seeds: whole(15_000), only: text(undefined) })

await huntAll<Mutation>({
  inPackages: [...IN_THE_VOTER, ...IN_THE_EPOCHS],
  inTheShell: IN_THE_SHELL,
  packages: ['consensus', 'ledger', 'ring'],
  only,
  script: (sim, mutation) => `
    import { runSchedule } from ${JSON.stringify(join(sim, 'schedule.ts'))}
    for (let seed = 1; seed <= ${seeds}; seed += 1) {
      const { violation } = runSchedule(seed, { nodes: 4 + (seed % 2) * 3, mutation: ${mutation} })
      if (violation !== undefined) { console.log(JSON.stringify({ seed, violation })); break }
    }`,
})
