import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Decoder } from './decoder.ts'
import { DECODERS } from './decoders.ts'
import { inputOf } from './mutator.ts'
import { runDecoder } from './run.ts'

const INPUTS = 1_500

for (const decoder of DECODERS) {
  test(`${decoder.name}: refuses only as declared, within bounds, and takes one spelling`, async () => {
    const { faults, accepted, refused } = await runDecoder(decoder, 1, Math.max(40, Math.round((INPUTS * decoder.weight) / 4)))
    assert.deepEqual(faults, [])
    assert.ok(accepted > 0, 'it took nothing')
    assert.ok(refused > 0 || decoder.name.startsWith('waf: r'), 'it refused nothing')
  })
}

test('the same seed gives the same input, and other seeds others', () => {
  const [decoder] = DECODERS as [Decoder]
  const inputs = new Set<string>()
  for (let seed = 1; seed <= 200; seed += 1) {
    const hex = Buffer.from(inputOf(seed, decoder)).toString('hex')
    assert.equal(Buffer.from(inputOf(seed, decoder)).toString('hex'), hex)
    inputs.add(hex)
  }
  assert.ok(inputs.size > 100)
  const samples = decoder.samples.map((sample) => Buffer.from(sample).toString('hex'))
  for (let seed = 1; seed <= 2_000; seed += 1) inputOf(seed, decoder)
  assert.deepEqual(
    decoder.samples.map((sample) => Buffer.from(sample).toString('hex')),
    samples,
  )
})

test('what must not happen is seen: a wrong error, another encoding, too much time, too much memory', async () => {
  const base: Decoder = {
    name: 'planted',
    weight: 1,
    samples: [new Uint8Array([1, 2, 3])],
    tokens: [],
    bytesMax: 64,
    tries: () => true,
    isDeclared: () => false,
  }
  const faultsOf = async (changed: Partial<Decoder>): Promise<string> =>
    (await runDecoder({ ...base, ...changed }, 1, 1)).faults.map(({ what }) => what).join()
  assert.equal(await faultsOf({}), '')
  assert.match(await faultsOf({ tries: () => (undefined as unknown as Uint8Array).length > 0 }), /TypeError/)
  assert.match(
    await faultsOf({
      tries: (input) => {
        input[0] = 77
        return true
      },
    }),
    /wrote to its input/,
  )
  const spin = (): boolean => {
    let sum = 1
    for (let i = 0; i < 500_000_000; i += 1) sum = Math.imul(sum, 31) + i
    return sum !== 0
  }
  assert.match(await faultsOf({ tries: spin }), /ms of CPU/)
  const held: Uint8Array[] = []
  assert.match(await faultsOf({ tries: () => held.push(new Uint8Array(40_000_000)) > 0 }), /bytes of buffers/)
})
