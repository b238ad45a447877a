/** The short version of `npm run e2e:sealed-disk`. */
import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { eventually, TestRing } from './local-ring.ts'
import { imageOf, plant, remove, ringName, sealByRing, search, timedRestart, tryStart } from './sealed-disk-scene.ts'

const CANARIES = { policy: 'canary-policy-7d1f', trace: 'canary-trace-93ac' }
const ALL = Object.values(CANARIES)
const images: string[] = []
let ring: TestRing | undefined
after(async () => {
  remove(...images)
  await ring?.destroy()
})

test('a disk that the ring opens gives a thief nothing, serves again after a restart, and is dead once its node is wiped', async () => {
  ring = await TestRing.start({ extra: ['--seal', 'ring'] })
  const name = ringName(ring)
  await plant(ring, CANARIES)
  // The control: the key file opens it still.
  const before = imageOf(ring, 4)
  images.push(before)
  assert.deepEqual([...(await search(before, name, 4, ALL)).canaries.keys()].sort(), ALL)
  await sealByRing(ring)
  await ring.kill(4)
  const taken = imageOf(ring, 4)
  images.push(taken)
  const found = await search(taken, name, 4, ALL)
  assert.deepEqual([...found.canaries], [])
  assert.match(found.locked ?? '', /the ring releases/)
  await timedRestart(ring, 4)
  // Wiped while it is there: it erases itself and says so.
  const wiped = ring.cli('node', 'wipe', 'n4', '--reason', 'test')
  assert.equal(wiped.code, 0, wiped.stderr)
  assert.match(wiped.stderr, /n4 has erased \d+ files/)
  const { wipes, disks } = await ring.client(1).disks()
  assert.deepEqual([wipes.map(({ id }) => id), disks.map(({ id }) => id)], [['n4'], ['n1', 'n2', 'n3']])
  // The image of before, on the same machine with all its keys, is refused for ever.
  await eventually('n4 is gone', () =>
    fetch(`http://127.0.0.1:${ring?.traffic(4)}/`).then(
      () => false,
      () => true,
    ),
  )
  cpSync(taken, join(ring.data, 'n4'), { recursive: true })
  const { code, said } = await tryStart(join(ring.data, 'n4', 'node.yaml'), 20_000)
  assert.equal(code, 1, said)
  assert.match(said, /DISK_GONE: n\d.* do not open the disk of n4/)
})
