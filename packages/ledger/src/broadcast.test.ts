import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Certificate, genesisBlock, type Message } from '@ringwall/consensus'
import { Broadcast, voterMessage } from './broadcast.ts'
import { Peers } from './peers.ts'
import { parseTransactions } from './spread.ts'
import { TAG } from './tags.ts'
import { linksTo } from './test-links.ts'

const { digest } = genesisBlock('ring')
const certificate: Certificate = {
  kind: 'finalize',
  round: 7,
  digest,
  signatures: [{ signer: 0, signature: new Uint8Array(64) }],
}
const message: Message = { kind: 'certificate', certificate }

/** Peers n2, n3 (validators beside n1, which is this node) and e1, which follows. @param down Whose link takes nothing. */
function broadcast(down: readonly string[] = []) {
  const sent: { readonly to: string; readonly bytes: Uint8Array }[] = []
  let isStopped = false
  const out = new Broadcast({
    fabric: {
      send: (to, _channel, bytes) => {
        if (down.includes(to)) return false
        sent.push({ to, bytes })
        return true
      },
    },
    peers: new Peers(() => linksTo(['n2', 'n3', 'e1'])),
    validators: () => ['n1', 'n2', 'n3'],
    isStopped: () => isStopped,
  })
  const names = (): string[] => sent.splice(0).map(({ to }) => to)
  return { out, sent, names, stop: () => (isStopped = true) }
}

const turn = (): Promise<void> => new Promise((settle) => setImmediate(settle))

test('the voter speaks to validators alone, and says of which epoch it is', () => {
  const { out, sent } = broadcast()
  out.send('all', 3, message)
  assert.deepEqual(
    sent.map(({ to }) => to),
    ['n2', 'n3'],
  )
  assert.equal(voterMessage(sent[0]!.bytes)?.epoch, 3)
})

test('a certificate that went to all goes to one of them again only when its link did not take it, or is another one since', () => {
  const { out, names } = broadcast(['n3'])
  out.send('all', 0, message)
  assert.deepEqual(names(), ['n2'])
  out.send(1, 0, message)
  assert.deepEqual(names(), [], 'it is on its way')
  out.relinked('n2')
  out.send(1, 0, message)
  assert.deepEqual(names(), ['n2'])
  out.send(1, 0, { kind: 'certificate', certificate: { ...certificate, round: 8 } })
  assert.deepEqual(names(), ['n2'], 'of another round')
})

test('transactions of one turn travel in one message, to validators, and none after the ledger has stopped', async () => {
  const { out, sent, names, stop } = broadcast()
  out.spread([Uint8Array.of(1)])
  out.spread([Uint8Array.of(2), Uint8Array.of(3)])
  assert.equal(sent.length, 0)
  await turn()
  assert.equal(sent[0]?.bytes[0], TAG.txs)
  assert.deepEqual(
    parseTransactions(sent[0]!.bytes.subarray(1)).map((tx) => tx[0]),
    [1, 2, 3],
  )
  assert.deepEqual(names(), ['n2', 'n3'])
  out.spread([Uint8Array.of(4)])
  stop()
  await turn()
  assert.deepEqual(names(), [])
})

test('those who follow hear of each block; validators need not', () => {
  const { out, sent } = broadcast()
  out.announce({ epoch: 0, height: 7, digest, certificate, closing: [] })
  assert.deepEqual(
    sent.map(({ to, bytes }) => [to, bytes[0]]),
    [['e1', TAG.tip]],
  )
})

test('what is no message of a voter is none', () => {
  assert.equal(voterMessage(new Uint8Array(0)), undefined)
  assert.equal(voterMessage(Uint8Array.of(TAG.txs, 0, 0, 0, 0, 1)), undefined)
  assert.equal(voterMessage(Uint8Array.of(TAG.voter, 0, 0, 0, 1)), undefined, 'an epoch, and nothing')
  assert.deepEqual(voterMessage(Uint8Array.of(TAG.voter, 0, 0, 1, 0, 9)), { epoch: 256, encoded: Uint8Array.of(9) })
})
