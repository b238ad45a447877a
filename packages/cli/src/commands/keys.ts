/** The ring's keys: how they stands, new shares, another key. */
import type { Key, RingwallClient } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne, write } from '../output.ts'
import { tellWaiting } from './waiting.ts'

const KEY_ID_CHARS_SHOWN = 16

export async function keyList(client: RingwallClient, format: Format): Promise<void> {
  const { keys } = await client.keys()
  printList<Key>(
    format,
    keys,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'STATE', value: stateOf },
      { title: 'KEY', value: ({ keyId }) => keyId?.slice(0, KEY_ID_CHARS_SHOWN) ?? '-' },
      { title: 'NEEDS', value: ({ threshold, holders }) => (threshold === 0 ? '-' : `${threshold} of ${holders.length}`) },
      { title: 'HAND-OVERS', value: ({ handOvers }) => handOvers },
      { title: 'FAULTS', value: ({ faults }) => faults.length },
      { title: 'HOLDERS', value: ({ holders }) => holders.join(' '), wide: true },
    ],
    ({ name }) => name,
    'the ring has no keys',
  )
}

/** As it is written in a policy. */
export async function keySaml(client: RingwallClient, format: Format): Promise<void> {
  const held = await client.samlKey()
  printOne(format, held, ({ node, certificate }) => `- { node: ${node}, certificate: ${certificate} }`, held.node)
}

function stateOf({ name, state, ceremony }: Key): string {
  if (state === 'none') return name === 'signing' ? 'none: a ring of one' : 'none: the vault was never opened'
  return ceremony === null ? state : `${state}, ${ceremony.phase}`
}

export async function keyShow(client: RingwallClient, format: Format, name: string | undefined): Promise<void> {
  const { keys } = await client.keys()
  if (name === undefined) {
    if (format === 'table' || format === 'wide') write(keys.map(describe).join('\n'))
    else printList<Key>(format, keys, [], ({ name: one }) => one, 'the ring has no keys')
    return
  }
  const key = keys.find((one) => one.name === name)
  if (key === undefined) throw new UsageError(`no key ${name}; there is ${keys.map((one) => one.name).join(', ')}`)
  printOne(format, key, describe, key.name)
}

function describe(key: Key): string {
  const { ceremony, former } = key
  const lines = [
    `${key.name}: ${stateOf(key)}`,
    `  key id       ${key.keyId ?? '-'}`,
    `  public key   ${key.publicKey ?? '-'} (${key.name === 'signing' ? 'Ed25519' : 'ristretto255'})`,
    `  ${key.name === 'signing' ? 'signed by   ' : 'opened by   '} ${key.threshold === 0 ? '-' : `${key.threshold} of ${key.holders.join(', ')}`}`,
    `  made         ${key.madeAtMs === null ? '-' : time(key.madeAtMs)}; ${key.handOvers} hand-overs and refreshes since`,
  ]
  if (ceremony !== null)
    lines.push(`  ceremony     ${ceremony.attempt}, ${ceremony.phase}; waits for ${ceremony.waitingFor.join(', ') || 'nobody'}`)
  if (key.asked !== 'nothing') lines.push(`  asked for    ${key.asked}`)
  for (const { keyId, untilMs } of former)
    lines.push(`  former       ${keyId}, verifies for another ${duration(untilMs - Date.now())}`)
  for (const { party, fault, ceremony: attempt, node } of key.faults)
    lines.push(
      `  fault        ${printable(party)}: ${fault} ${attempt === null ? `in ${key.name === 'signing' ? 'a signature' : 'an opening'}, seen by ${node}` : `in ceremony ${attempt}`}`,
    )
  return lines.join('\n')
}

export async function keyChange(
  client: RingwallClient,
  what: 'refresh' | 'rotate',
  name: string,
  reason: string,
  dryRun: boolean,
): Promise<void> {
  if (name !== 'signing' && name !== 'sealing') throw new UsageError(`no key ${printable(name)}; there is signing, sealing`)
  const comes = what === 'refresh' ? `new shares of the ${name} key` : `another ${name} key`
  if (dryRun) {
    await client.rehearse({ type: what === 'refresh' ? 'key.refresh' : 'key.rotate', key: name, reason })
    process.stderr.write(`would ask for ${comes}\n`)
    return
  }
  const answer = await (what === 'refresh' ? client.keyRefresh(reason, { key: name }) : client.keyRotate(reason, { key: name }))
  if (!('height' in answer) || tellWaiting(answer)) return
  process.stderr.write(`asked for ${comes} at height ${answer.height}; ringwall key ls shows how it stands\n`)
}
