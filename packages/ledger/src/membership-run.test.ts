import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runMembership } from './membership-run.ts'

for (const seed of [6, 12, 19, 24]) {
  test(`validators change under faults and load, and the ring stays one: seed ${seed}`, async (context) => {
    const lines: string[] = []
    try {
      const { epochs, acknowledged } = await runMembership(seed, (line) => lines.push(line))
      assert.ok(epochs > 0 && acknowledged > 0)
    } catch (error) {
      for (const line of lines) context.diagnostic(line)
      throw error
    }
  })
}
