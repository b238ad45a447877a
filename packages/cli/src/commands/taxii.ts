/** Clients of the TAXII server. The policy lists them, with hashes of their keys. */
import type { RingwallClient } from '@ringwall/client'
import { parseDocument } from 'yaml'
import { UsageError } from '../errors.ts'
import { type Format, printList, write } from '../output.ts'
import { changeListed, type ListChange, newKey } from './policy-list.ts'

interface Listed {
  readonly name: string
  readonly keyHash: string
  readonly read?: readonly string[]
  readonly write?: readonly string[]
}

interface AddOptions extends ListChange {
  /** Collections; undefined: all. */
  readonly read: readonly string[] | undefined
  readonly write: readonly string[]
}

/** Prints the key, once: nobody can show it again. */
export async function taxiiAdd(client: RingwallClient, name: string, options: AddOptions): Promise<void> {
  const { key, keyHash } = newKey()
  const { read, write: inboxes } = options
  const edit = (before: readonly Listed[]): readonly Listed[] => {
    if (before.some((one) => one.name === name))
      throw new UsageError(`there is a client ${name} already; ringwall taxii rm ${name} takes its key back`)
    const lists = { ...(read === undefined ? {} : { read }), ...(inboxes.length === 0 ? {} : { write: inboxes }) }
    return [...before, { name, keyHash, ...lists }]
  }
  if (!(await changeListed<Listed>(client, 'taxii', options, edit, `${name} is a client of the TAXII servers`))) return
  write(key)
  process.stderr.write('its key is above: the policy holds its hash alone. It asks by HTTP basic, at /taxii2/ of taxii.listen\n')
}

export async function taxiiRemove(client: RingwallClient, name: string, options: ListChange): Promise<void> {
  const edit = (before: readonly Listed[]): readonly Listed[] => {
    if (!before.some((one) => one.name === name))
      throw new UsageError(`no client is called ${name}; ringwall taxii ls lists them`)
    return before.filter((one) => one.name !== name)
  }
  await changeListed<Listed>(client, 'taxii', options, edit, `the key of ${name} is good for nothing any more`)
}

export async function taxiiList(client: RingwallClient, format: Format): Promise<void> {
  const { text } = await client.policy()
  const clients = ((parseDocument(text).toJS() as { readonly taxii?: readonly Listed[] }).taxii ?? []).map(
    ({ name, read, write: inboxes }) => ({ name, read: read ?? null, write: inboxes ?? [] }),
  )
  printList<(typeof clients)[number]>(
    format,
    clients,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'READS', value: ({ read }) => read?.join(', ') ?? 'all' },
      { title: 'WRITES', value: ({ write: inboxes }) => inboxes.join(', ') },
    ],
    ({ name }) => name,
    'the TAXII servers have no clients; ringwall taxii add NAME makes one',
  )
}
