/** Objects: how the nodes that hold them stand, and the access keys that clients of S3 have. */
import { ApiError, type RingwallClient, type VaultObjects } from '@ringwall/client'
import { accessKeyName } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { accessKeyPublic, makeAccessKey, sealSecret } from '@ringwall/vault'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { agreedFacts, type VaultSession } from './vault-session.ts'
import { tellWaiting } from './waiting.ts'

interface Row extends VaultObjects {
  readonly reason?: string
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

function size(bytes: number): string {
  const at = bytes === 0 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1_024 ** at).toFixed(at === 0 ? 0 : 1)} ${UNITS[at]}`
}

const percent = (done: number, of: number): number => Math.floor((100 * done) / Math.max(1, of))

function doing({ repairing, mending, missing, waiting, waits, passedAtMs, reason, storeAway }: Row): string {
  if (reason !== undefined) return reason
  if (storeAway != null)
    return `its bucket is away for ${duration(Date.now() - storeAway.sinceMs)}: ${printable(storeAway.reason)}`
  const all =
    mending == null
      ? undefined
      : `${mending.shards} of ${mending.ofShards} made, ${percent(mending.bytes, mending.ofBytes)} % in all`
  if (repairing !== null) {
    const one = `makes shard ${repairing.index} of ${repairing.version.slice(0, 8)} anew, ${percent(repairing.bytes, repairing.of)} %`
    return mending == null || mending.ofShards < 2 ? one : `${one}; ${all}`
  }
  if (all !== undefined) return `makes shards anew; ${all}`
  if (waiting > 0) return `${waiting} wait: ${printable(waits?.[0]?.reason ?? 'for other nodes')}`
  if (missing > 0) return `${missing} to make anew`
  return passedAtMs === null ? 'not looked yet' : 'whole'
}

/** Of every node that the context lists: each says how its own shards stand. */
export async function vaultStatus({ clients }: VaultSession, format: Format): Promise<void> {
  const rows = await Promise.all(
    clients.map(async (client): Promise<Row | undefined> => {
      try {
        return await client.vaultObjects()
      } catch (error) {
        if (error instanceof ApiError) throw error
        return undefined
      }
    }),
  )
  const there = rows.filter((row) => row !== undefined)
  const silent = rows.length - there.length
  if (silent > 0) process.stderr.write(`ringwall: ${silent} of ${rows.length} nodes do not answer\n`)
  printList<Row>(
    format,
    there,
    [
      { title: 'NODE', value: ({ node }) => node },
      { title: 'SHARDS', value: ({ shards }) => shards },
      { title: 'BYTES', value: ({ bytes }) => size(bytes) },
      { title: 'STATE', value: doing },
      { title: 'LOOKED', value: ({ passedAtMs }) => (passedAtMs === null ? '-' : `${duration(Date.now() - passedAtMs)} ago`) },
      { title: 'REPAIRED', value: ({ repaired }) => repaired },
      { title: 'CORRUPT', value: ({ corrupt }) => corrupt },
      { title: 'FAULTS', value: ({ faults }) => faults },
      { title: 'AWAY', value: ({ away }) => (away.length === 0 ? '-' : away.map(printable).join(' ')) },
      { title: 'STORE', value: ({ store }) => printable(store ?? 'folder'), wide: true },
      { title: 'MOVED', value: ({ moved }) => moved, wide: true },
      { title: 'ERASED', value: ({ erased }) => erased, wide: true },
      { title: 'VERSIONS', value: ({ versions, versionsMax }) => `${versions} of ${versionsMax}`, wide: true },
    ],
    ({ node }) => node,
    'no node answers',
  )
}

export async function accessKeyAdd(session: VaultSession, format: Format, identity: string, reason: string): Promise<void> {
  const facts = await agreedFacts(session)
  const { id, secret } = makeAccessKey()
  const label = { ring: session.ring, name: accessKeyName(id), version: 1, sealedAtMs: Date.now(), expiresAtMs: 0 }
  const sealed = sealSecret(facts.publicKey, label, Buffer.from(secret))
  const answer = await facts.answering[0].submit({
    type: 'access.put',
    capsule: encodeBase64url(sealed.capsule),
    ciphertext: encodeBase64url(sealed.ciphertext),
    id,
    identity,
    publicKey: accessKeyPublic(secret),
    reason,
  })
  if ('height' in answer && tellWaiting(answer)) return
  process.stderr.write('the secret is shown this once\n')
  printOne(
    format,
    { accessKeyId: id, secretAccessKey: secret, identity },
    () => `AWS_ACCESS_KEY_ID=${id}\nAWS_SECRET_ACCESS_KEY=${secret}`,
    id,
  )
}

export async function accessKeyList(client: RingwallClient, format: Format): Promise<void> {
  const { accessKeys } = await client.vaultObjects()
  printList(
    format,
    accessKeys,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'IDENTITY', value: ({ identity }) => printable(identity) },
      { title: 'SINCE', value: ({ atMs }) => time(atMs) },
      { title: 'BY', value: ({ by }) => printable(by) },
    ],
    ({ id }) => id,
    'no access keys',
  )
}

export async function accessKeyRemove(client: RingwallClient, id: string, reason: string): Promise<void> {
  const answer = await client.submit({ type: 'access.remove', id, reason })
  if ('height' in answer && tellWaiting(answer)) return
  process.stderr.write(`${id} is no access key any more\n`)
}
