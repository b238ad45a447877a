/**
 * SIGKILL at any moment loses nothing that was acknowledged.
 *
 *     node e2e/crash.ts --kills 1000 [--nodes 4] [--spares 2] [--rekeys 1] [--data DIR]
 *
 * Starts validators (a ring of one, or one process a node over real links) that submit transactions without pause,
 * kills one at a random moment, starts it again, and checks that each transaction it acknowledged is on its disk.
 * With spares, validators are added and let go all the while. With rekeys each start seals the disk anew, under another key. Ends by verifying every hash, link, certificate and
 * execution offline. Exit 0: nothing lost; 1: something was.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCrashes } from '../packages/ledger/src/crash-run.ts'
import { readOptions, text, whole } from '../tools/options.ts'

const { kills, nodes, spares, rekeys, data } = readOptions({
  kills: whole(1_000, 1, 1_000_000),
  nodes: whole(1, 1, 16),
  spares: whole(0, 0, 16),
  rekeys: whole(0, 0, 1),
  data: text(undefined),
})
const directory = data ?? (await mkdtemp(join(tmpdir(), 'ringwall-crash-')))
const startedMs = performance.now()
const progress = (line: string) => console.log(`${Math.round((performance.now() - startedMs) / 1000)} s  ${line}`)
const summary = await runCrashes({ directory, kills, nodes, spares, rekeys: rekeys === 1, random: Math.random, progress })
const { acknowledged, changes, lost, restarts, height, problems } = summary
console.log(
  `kills=${summary.kills} restarts=${restarts} acknowledged=${acknowledged} changes=${changes} height=${height} lost=${lost.length}`,
)
for (const id of lost.slice(0, 20)) console.log(`lost ${id}`)
for (const problem of problems) console.log(`problem ${problem}`)
const good = lost.length === 0 && problems.length === 0
if (good && data === undefined) await rm(directory, { recursive: true })
else if (!good) console.log(`the directories are kept in ${directory}`)
process.exit(good ? 0 : 1)
