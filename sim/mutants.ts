/**
 * Faults planted in the voter, one at a time: the checkers of the simulation have to find each. A checker that never fires
 * proves nothing.
 *
 *     node sim/mutants.ts [--seeds N]
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Mutation } from './validator.ts'

interface SourceMutant {
  readonly name: string
  readonly file: string
  readonly find: string
  readonly put: string
}

/** Of `packages/consensus/src`. */
const IN_THE_VOTER: readonly SourceMutant[] = [
  {
    name: 'a quorum of 2f',
    file: 'quorum.ts',
    find: 'return validators - faultsOf(validators)',
    put: 'return 2 * faultsOf(validators)',
  },
  {
    name: 'nullified rounds are finalized too',
    file: 'voter.ts',
    find: "if (kind === 'finalize' && own.nullify !== undefined) return",
    put: '',
  },
  {
    name: 'finalized rounds are nullified too',
    file: 'voter.ts',
    find: "if (kind === 'nullify' && own.finalize !== undefined) return",
    put: '',
  },
  {
    name: 'a proposal skips rounds without proof',
    file: 'voter.ts',
    find: 'nullifications.length !== block.round - parentRound - 1',
    put: 'false',
  },
  {
    name: 'half a quorum certifies',
    file: 'certificate.ts',
    find: 'signatures.length < quorumOf(config.validators)',
    put: 'signatures.length < quorumOf(config.validators) / 2',
  },
  {
    name: 'signatures in certificates are not looked at',
    file: 'certificate.ts',
    find: 'return signatures.every(',
    put: 'return true || signatures.every(',
  },
  {
    name: 'certificates are not checked',
    file: 'voter.ts',
    find: 'if (!verifyCertificate(this.#config, this.#scheme, certificate)) {',
    put: 'if (false) {',
  },
  {
    name: 'votes need no good signature',
    file: 'voter.ts',
    find: 'if (!this.#scheme.verify(signer, signingBytes(kind, this.#config.ring, round, digest), signature)) {',
    put: 'if (false) {',
  },
  {
    name: 'anybody leads any round',
    file: 'voter.ts',
    find: 'leaderOf(round, this.#config.validators) !== proposer ||',
    put: '',
  },
  {
    name: 'the parent of a proposal needs no certificate',
    file: 'voter.ts',
    find: '!this.#isCertified(parentCertificate)',
    put: 'false',
  },
  {
    name: 'a nullification counts for any round',
    file: 'voter.ts',
    find: 'certificate.round === parentRound + 1 + i &&',
    put: '',
  },
  {
    name: 'a restarted leader forgets what it proposed',
    file: 'voter.ts',
    find: 'if (block.proposer === this.#config.self) this.#signedIn(block.round).proposal = proposal',
    put: '',
  },
  {
    name: 'a restarted validator forgets its votes',
    file: 'voter.ts',
    find: 'this.#signedIn(vote.round)[vote.kind] = vote',
    put: '',
  },
  {
    name: 'a body is believed by its name',
    file: 'voter.ts',
    find: 'const { digest } = makeBlock(block, this.#scheme.hash)',
    put: 'const { digest } = block',
  },
  { name: 'a round ends without its timer', file: 'voter.ts', find: "this.#sign('nullify', round, undefined)", put: '' },
]

const IN_THE_SHELL: readonly { readonly name: string; readonly mutation: Mutation }[] = [
  { name: 'votes are forgotten in a crash', mutation: { forgetsJournal: true } },
  { name: 'blocks are valid without being looked at', mutation: { acceptsAnything: true } },
  { name: 'votes are sent before they are on disk', mutation: { sendsBeforeSync: true } },
  { name: 'any signature is good under a transaction', mutation: { takesAnySignature: true } },
]

const root = resolve(import.meta.dirname, '..')
const { values } = parseArgs({ options: { seeds: { type: 'string', default: '15000' } } })

/** A copy of what the simulation needs, with the consensus package changed. */
function plant({ file, find, put }: SourceMutant, home: string): void {
  rmSync(home, { recursive: true, force: true })
  mkdirSync(join(home, 'node_modules', '@ringwall'), { recursive: true })
  cpSync(join(root, 'sim'), join(home, 'sim'), { recursive: true })
  cpSync(join(root, 'packages', 'consensus'), join(home, 'consensus'), { recursive: true })
  symlinkSync('../../consensus', join(home, 'node_modules', '@ringwall', 'consensus'))
  const path = join(home, 'consensus', 'src', file)
  const source = readFileSync(path, 'utf8')
  if (source.split(find).length !== 2)
    throw new Error(`${file} has not exactly one ${JSON.stringify(find)}: bring the list of mutants up to date`)
  writeFileSync(path, source.replace(find, put))
}

let survivors = 0
function report(name: string, seed: number | undefined, what: string): void {
  if (seed === undefined) survivors += 1
  process.stdout.write(
    `${seed === undefined ? 'SURVIVES' : 'dies    '} ${name.padEnd(44)} ${seed === undefined ? '' : `seed ${seed}: ${what.slice(0, 90)}`}\n`,
  )
}

const home = join(root, '.cache', 'mutant')
for (const mutant of IN_THE_VOTER) {
  plant(mutant, home)
  const script = `
    import { runSchedule } from '${join(home, 'sim', 'schedule.ts')}'
    for (let seed = 1; seed <= ${Number(values.seeds)}; seed += 1) {
      const { violation } = runSchedule(seed, { nodes: 4 + (seed % 2) * 3 })
      if (violation !== undefined) { console.log(JSON.stringify({ seed, violation })); break }
    }`
  const run = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: home,
    encoding: 'utf8',
    timeout: 300_000,
  })
  const found = run.stdout.trim() === '' ? undefined : (JSON.parse(run.stdout) as { seed: number; violation: string })
  if (run.status !== 0 && found === undefined)
    throw new Error(`${mutant.name}: the simulation did not run: ${run.stderr.slice(0, 500)}`)
  report(mutant.name, found?.seed, found?.violation ?? '')
}
rmSync(home, { recursive: true, force: true })

const { runSchedule } = await import('./schedule.ts')
for (const { name, mutation } of IN_THE_SHELL) {
  let seed: number | undefined
  let what = ''
  for (let at = 1; at <= Number(values.seeds) && seed === undefined; at += 1) {
    const { violation } = runSchedule(at, { nodes: 4 + (at % 2) * 3, mutation })
    if (violation !== undefined) [seed, what] = [at, violation]
  }
  report(name, seed, what)
}
process.stdout.write(`${survivors} survive\n`)
process.exitCode = survivors === 0 ? 0 : 1
