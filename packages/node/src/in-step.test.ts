import assert from 'node:assert/strict'
import { test } from 'node:test'
import { every } from './in-step.ts'

test('what recurs does so in step, whenever it began, as seldom as it asked for, until it is ended', async () => {
  const passes: string[][] = []
  let now: string[] = []
  const run = (name: string) => () => void now.push(name)
  const wait = (ms: number) => new Promise((settle) => setTimeout(settle, ms))
  const ends: (() => void)[] = []
  await new Promise<void>((settle) => {
    ends.push(every(500, run('half')))
    void wait(70).then(() => ends.push(every(1_000, run('whole')), every(500, run('later'))))
    ends.push(
      every(500, () =>
        setImmediate(() => {
          passes.push(now)
          now = []
          if (passes.length === 4) settle()
        }),
      ),
    )
  })
  for (const end of ends) end()
  const whole = passes.slice(1).filter((names) => names.includes('whole')).length
  assert.ok(whole === 1 || whole === 2, JSON.stringify(passes))
  for (const names of passes.slice(1)) assert.deepEqual(names.filter((name) => name !== 'whole').sort(), ['half', 'later'])
  const keeping = setTimeout(() => {}, 700)
  await wait(600)
  clearTimeout(keeping)
  assert.deepEqual(now, [])
})
