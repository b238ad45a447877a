/**
 * What recurs in a node does so in step: a node that nobody asks anything wakes twice a second for all of it. Timers that begin when their owners do
 * would wake it for each, and waking is most of what such a node does.
 */

const STEP_MS = 500

interface Recurring {
  readonly steps: number
  readonly run: () => void
}

const recurring = new Set<Recurring>()
let timer: NodeJS.Timeout | undefined
let step = 0

/**
 * Runs it again and again; alone it keeps no process alive.
 * @param ms In steps of half a second. The first time is at most so long from now.
 * @returns Ends it.
 */
export function every(ms: number, run: () => void): () => void {
  const one = { steps: Math.max(1, Math.round(ms / STEP_MS)), run }
  recurring.add(one)
  if (timer === undefined) arm()
  return () => void recurring.delete(one)
}

/** On the same grid each time: what runs late is not late for good. */
function arm(): void {
  const leftMs = STEP_MS - (performance.now() % STEP_MS)
  // A timer may be a little early.
  timer = setTimeout(pass, Math.ceil(leftMs < STEP_MS / 4 ? leftMs + STEP_MS : leftMs)).unref()
}

function pass(): void {
  timer = undefined
  if (recurring.size === 0) return
  // First, so that what throws ends itself alone.
  arm()
  step += 1
  for (const { steps, run } of recurring) if (step % steps === 0) run()
}
