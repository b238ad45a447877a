/**
 * `npm run model:consensus`: checks models/simplex.pml with spin, exhaustively, then each of its mutants, which have to fail. Needs
 * spin and a C compiler (Debian: spin, gcc), about 1.5 GB of memory and some minutes.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const MODEL = resolve(import.meta.dirname, 'simplex.pml')
const MUTANTS = ['SMALL_QUORUM', 'NOTARIZE_TWICE', 'FINALIZE_AFTER_NULLIFY', 'SKIP_WITHOUT_PROOF']

function run(directory: string, command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: directory, encoding: 'utf8', maxBuffer: 1 << 26 })
  if (error !== undefined) throw new Error(`${command}: ${error.message}; on Debian: apt-get install spin gcc`)
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.slice(0, 500)}`)
  return stdout
}

/** Runs the verifier. -DHC4: states are kept as 64-bit hashes (Wolper and Leroy), so that they fit into memory. */
function verify(mutant: string | undefined): { readonly errors: number; readonly states: number; readonly complete: boolean } {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-model-'))
  try {
    run(directory, 'spin', ['-a', ...(mutant === undefined ? [] : [`-D${mutant}`]), MODEL])
    run(directory, 'gcc', ['-O3', '-w', '-DSAFETY', '-DHC4', '-DNOREDUCE', '-DMEMLIM=4000', '-o', 'pan', 'pan.c'])
    const said = run(directory, join(directory, 'pan'), ['-E', '-m100000', '-w26'])
    const number = (pattern: RegExp): number => Number(pattern.exec(said)?.[1] ?? Number.NaN)
    return {
      errors: number(/errors: (\d+)/),
      states: number(/(\d+) states, stored/),
      complete: !/Search not completed|max search depth too small/.test(said),
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

let isGood = true
for (const mutant of [undefined, ...MUTANTS]) {
  const { errors, states, complete } = verify(mutant)
  const held = mutant === undefined ? errors === 0 && complete : errors > 0
  isGood &&= held
  const verdict = mutant === undefined ? (held ? 'holds' : 'DOES NOT HOLD') : held ? 'fails, as it has to' : 'SURVIVES'
  process.stdout.write(`${(mutant ?? 'Simplex').padEnd(26)} ${verdict.padEnd(20)} ${states} states\n`)
}
process.exitCode = isGood ? 0 : 1
